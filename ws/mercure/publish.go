package mercure

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// patienceForPublish is how long one update may wait for the disk.
const patienceForPublish = 10 * time.Second

// servePublish answers POST.
func (s *Server) servePublish(w http.ResponseWriter, r *http.Request) {
	u, err := s.readPublish(w, r)
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), patienceForPublish)
		defer cancel()
		err = s.publish(ctx, u)
	}
	var f failure
	switch {
	case err == nil:
	case errors.As(err, &f):
		s.fail(w, f)
		return
	default:
		s.fail(w, failure{status: http.StatusServiceUnavailable, text: "the update was not published: " + err.Error()})
		return
	}
	s.stats.published.Add(1)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, u.id)
}

// readPublish checks who asks before what is asked.
func (s *Server) readPublish(w http.ResponseWriter, r *http.Request) (*update, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, failure{status: http.StatusBadRequest, text: "the query cannot be read"}
	}
	g, cred, f := s.authenticate(r, s.verifiers.Load().publishers, query.Get)
	if f != nil {
		return nil, *f
	}
	if g == nil {
		return nil, failure{status: http.StatusUnauthorized, text: "publishing needs a token"}
	}
	if cred.cookie && !s.mayPublishFrom(r) {
		return nil, failure{status: http.StatusForbidden, text: "a page of this origin may not publish with a cookie: see publish_origins"}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, failure{status: http.StatusUnsupportedMediaType, text: "the body must be application/x-www-form-urlencoded"}
	}
	body, err := readBody(w, r, int64(s.cfg.Limits.Body))
	if err != nil {
		return nil, err
	}
	u, err := s.parseForm(body)
	if err != nil {
		return nil, err
	}
	if !g.mayPublish(u.topics) {
		return nil, failure{status: http.StatusForbidden, text: "the token does not allow publishing to all of the topics", code: "insufficient_scope", token: true}
	}
	return u, nil
}

func readBody(w http.ResponseWriter, r *http.Request, most int64) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return "", failure{status: http.StatusRequestEntityTooLarge, text: "the body is larger than limits.body of the hub"}
	case err != nil:
		return "", failure{status: http.StatusBadRequest, text: "the body cannot be read"}
	}
	return string(body), nil
}

// parseForm reads the fields of a publication.
func (s *Server) parseForm(body string) (*update, error) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, failure{status: http.StatusBadRequest, text: "the body is no form"}
	}
	_, private := form["private"]
	return s.newUpdate(Update{
		Topics: form["topic"], Data: form.Get("data"), Private: private, ID: form.Get("id"), Type: form.Get("type"), Retry: form.Get("retry"),
	})
}

// Update is what is to be published.
type Update struct {
	Topics  []string `json:"topics"` // the first is the canonical one
	Data    string   `json:"data"`
	Private bool     `json:"private"`
	ID      string   `json:"id"`    // empty: one is made
	Type    string   `json:"type"`  // of the event
	Retry   string   `json:"retry"` // milliseconds after which clients that lose the stream come back
}

// newUpdate checks what is to be published, whoever does it.
func (s *Server) newUpdate(in Update) (*update, error) {
	bad := func(status int, text string) (*update, error) { return nil, failure{status: status, text: text} }
	limits := &s.cfg.Limits
	switch {
	case len(in.Topics) == 0:
		return bad(http.StatusBadRequest, "topic is missing")
	case len(in.Topics) > limits.Topics:
		return bad(http.StatusRequestEntityTooLarge, "there are more topics than limits.topics allows")
	case !utf8.ValidString(in.Data):
		return bad(http.StatusBadRequest, "data is not UTF-8")
	case len(in.ID) > limits.Topic || len(in.Type) > limits.Topic:
		return bad(http.StatusRequestEntityTooLarge, "id or type is longer than limits.topic allows")
	case !cleanText(in.ID) || !cleanText(in.Type):
		return bad(http.StatusBadRequest, "id and type must be UTF-8 without control characters")
	case strings.HasPrefix(in.ID, "#") || in.ID == earliest:
		return bad(http.StatusBadRequest, "id must not begin with #, nor be earliest")
	case in.Retry != "" && !validRetry(in.Retry):
		return bad(http.StatusBadRequest, "retry must be a number of milliseconds")
	case s.cfg.Protocol == 1 && in.Type == reservedType:
		return bad(http.StatusBadRequest, "type mercure is what the hub publishes itself")
	}
	for _, t := range in.Topics {
		switch {
		case len(t) > limits.Topic:
			return bad(http.StatusRequestEntityTooLarge, "a topic is longer than limits.topic allows")
		case t == "" || !cleanText(t):
			return bad(http.StatusBadRequest, "topics must be UTF-8 without control characters, and not empty")
		case s.reserved(t):
			return bad(http.StatusBadRequest, "topics below the path of the hub are its own")
		case s.cfg.Protocol == 1 && t == "*":
			return bad(http.StatusBadRequest, "* is no topic: it stands for all")
		}
	}
	u := &update{id: in.ID, topics: slices.Clone(in.Topics), data: in.Data, event: in.Type, retry: in.Retry, private: in.Private}
	if u.id == "" {
		u.id = newID()
	}
	return u, nil
}

const (
	earliest     = "earliest"
	reservedType = "mercure" // of the hub's own events, with protocol 1
)

// cleanText reports whether a text is UTF-8 without characters that cannot be seen.
func cleanText(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, c := range text {
		if c < 0x20 || c >= 0x7f && c < 0xa0 || c >= 0xa0 && unicode.Is(unicode.Cf, c) {
			return false
		}
	}
	return true
}

// reserved reports whether a topic is below the path of the hub, where its own updates are: nobody else may tell who is subscribed.
func (s *Server) reserved(topic string) bool {
	u, err := url.Parse(topic)
	if err != nil {
		return strings.Contains(topic, s.cfg.Path+"/subscriptions")
	}
	p := u.Path // decoded
	if u.Opaque != "" {
		return false
	}
	if u.Scheme == "" && u.Host == "" && !strings.HasPrefix(p, "/") {
		p = path.Dir(s.cfg.Path) + "/" + p // relative to the hub
	}
	p = path.Clean(strings.ReplaceAll(p, "\\", "/"))
	own := s.cfg.Path
	if s.cfg.Protocol == 0 {
		own += "/subscriptions" // as far as 0.x hubs are strict
	}
	return p == own || strings.HasPrefix(p, own+"/")
}
