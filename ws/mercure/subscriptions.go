package mercure

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// document is a subscription as others see it.
type document struct {
	Context    string          `json:"@context,omitempty"`
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Topic      string          `json:"topic,omitempty"` // protocol 0
	MatchType  matchType       `json:"match_type,omitempty"`
	Match      string          `json:"match,omitempty"`
	Subscriber string          `json:"subscriber"`
	Active     bool            `json:"active"`
	Payload    json.RawMessage `json:"payload,omitempty"`
	LastID     string          `json:"lastEventID,omitempty"` // of a single one, protocol 0
}

// jsonContext is what protocol 0 has as @context.
const jsonContext = "https://mercure.rocks/"

func (s *Server) describe(sub *subscriber, sel *selector, active bool) document {
	d := document{Subscriber: sub.id, Active: active, Payload: sub.grants.payloadOf(sel)}
	if s.cfg.Protocol == 1 {
		d.Type, d.MatchType, d.Match = "subscription", sel.kind, sel.text
		d.ID = s.cfg.Path + "/subscriptions/" + string(sel.kind) + "/" + escape(sel.text) + "/" + escape(sub.id)
		return d
	}
	d.Type, d.Topic = "Subscription", sel.text
	d.ID = s.cfg.Path + "/subscriptions/" + escape(sel.text) + "/" + escape(sub.id)
	return d
}

// escape is the simple expansion of RFC 6570: all but unreserved characters are encoded.
func escape(text string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
	}
	return b.String()
}

// announce publishes that the subscriptions of a client have begun or ended. They wait for a place behind other updates, so that the two come in
// this order.
func (s *Server) announce(ctx context.Context, sub *subscriber, active bool) {
	for _, sel := range sub.selectors {
		d := s.describe(sub, sel, active)
		u := &update{id: newID(), topics: []string{d.ID}, private: true}
		if s.cfg.Protocol == 1 {
			u.event = reservedType
		} else {
			d.Context = jsonContext
		}
		text, err := json.Marshal(d)
		if err != nil {
			s.stats.historyErrors.Add(1) // a payload that is no JSON: it was read from JSON
			continue
		}
		u.data = string(text)
		if err := s.tell(ctx, u); err != nil {
			return
		}
	}
}

// tell publishes without waiting until it is stored.
func (s *Server) tell(ctx context.Context, u *update) error {
	t, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leaveTurn()
	switch {
	case t.forward != nil:
		return t.forward(ctx, u.encode())
	case s.space != nil:
		if s.share(ctx, &publication{update: u}) != nil {
			s.stats.fleetErrors.Add(1)
		}
		return nil
	}
	select {
	case s.incoming <- &publication{update: u}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.run.done:
		return errParting
	}
}

// serveSubscriptions answers who is subscribed: to anything, to a selector, or one subscription.
func (s *Server) serveSubscriptions(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		s.fail(w, failure{status: http.StatusMethodNotAllowed, text: "subscriptions can only be read"})
		return
	}
	parts, topic, ok := s.subscriptionPath(r.URL.EscapedPath())
	if !ok {
		s.fail(w, failure{status: http.StatusNotFound, text: "there is nothing here"})
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.fail(w, failure{status: http.StatusBadRequest, text: "the query cannot be read"})
		return
	}
	g, _, f := s.authenticate(r, s.verifiers.Load().subscribers, query.Get)
	switch {
	case f != nil:
		s.fail(w, *f)
		return
	case g == nil:
		s.fail(w, failure{status: http.StatusUnauthorized, text: "subscriptions are shown to those with a token"})
		return
	case !g.mayRead([]string{topic}):
		s.fail(w, failure{status: http.StatusForbidden, text: "the token does not allow subscribing to " + topic, code: "insufficient_scope", token: true})
		return
	}
	s.answerSubscriptions(w, r, parts, topic)
}

// subscriptionPath splits a path into type (protocol 1), selector and subscriber, and spells it as topics of events are.
func (s *Server) subscriptionPath(escaped string) (parts []string, topic string, ok bool) {
	topic = s.cfg.Path + "/subscriptions"
	_, rest, found := strings.Cut(escaped, "/subscriptions")
	if !found {
		return nil, "", false
	}
	if rest == "" {
		return nil, topic, true
	}
	for _, part := range strings.Split(rest[1:], "/") {
		text, err := url.PathUnescape(part)
		if err != nil || text == "" {
			return nil, "", false
		}
		parts = append(parts, text)
		topic += "/" + escape(text)
	}
	if s.cfg.Protocol == 0 {
		parts = append([]string{string(matchSelector)}, parts...)
	}
	return parts, topic, len(parts) == 2 || len(parts) == 3
}

func (s *Server) answerSubscriptions(w http.ResponseWriter, r *http.Request, parts []string, topic string) {
	list, lastID := s.subscriptionsOf(parts)
	h := w.Header()
	h.Set("Content-Type", "application/ld+json")
	if s.cfg.Protocol == 1 {
		h.Set("Content-Type", "application/json")
		h.Set("Link", "<"+s.cfg.URL+`>; rel="mercure"; last-event-id="`+linkValue(lastID)+`"; type="mercure"; content-type="application/json"`)
	} else {
		h.Set("Link", "<"+s.cfg.Path+`>; rel="mercure"`)
	}
	h.Set("ETag", `"`+linkValue(lastID)+`"`)
	h.Set("Cache-Control", "must-revalidate")
	if len(parts) == 3 {
		if len(list) == 0 {
			h.Del("Link")
			h.Del("ETag")
			s.fail(w, failure{status: http.StatusNotFound, text: "there is no such subscription"})
			return
		}
		if s.cfg.Protocol == 0 {
			list[0].Context, list[0].LastID = jsonContext, lastID
		}
		serveDocument(w, r, list[0])
		return
	}
	type collection struct {
		Context       string     `json:"@context,omitempty"`
		ID            string     `json:"id"`
		Type          string     `json:"type"`
		LastID        string     `json:"lastEventID,omitempty"`
		Subscriptions []document `json:"subscriptions"`
	}
	c := collection{ID: topic, Type: "subscriptions", Subscriptions: list}
	if s.cfg.Protocol == 0 {
		c.Context, c.Type, c.LastID = jsonContext, "Subscriptions", lastID
	}
	serveDocument(w, r, c)
}

// serveDocument answers with JSON, or with 304 to who has that already.
func serveDocument(w http.ResponseWriter, r *http.Request, document any) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(document); err != nil { // payloads were JSON in a token
		http.Error(w, "500 internal server error", http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body.Bytes()))
}

// linkValue is an id inside of quotation marks.
func linkValue(id string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(id) }

// subscriptionsOf lists what parts mean: nothing, type and selector, or these and a subscriber.
func (s *Server) subscriptionsOf(parts []string) (list []document, lastID string) {
	r := s.registry
	r.mu.Lock()
	var subs []*subscriber
	if len(parts) == 3 {
		if sub := r.byID[parts[2]]; sub != nil {
			subs = append(subs, sub)
		}
	} else {
		for sub := range r.subs {
			subs = append(subs, sub)
		}
	}
	lastID = r.lastID
	r.mu.Unlock()
	if lastID == "" {
		lastID = earliest
	}
	list = []document{}
	for _, sub := range subs {
		for _, sel := range sub.selectors {
			if parts == nil || string(sel.kind) == parts[0] && sel.text == parts[1] {
				list = append(list, s.describe(sub, sel, true))
			}
		}
	}
	return list, lastID
}
