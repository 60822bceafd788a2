package mercure

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// serveSubscribe answers with an event stream.
func (s *Server) serveSubscribe(w http.ResponseWriter, r *http.Request) {
	sub, lastID, err := s.readSubscribe(w, r)
	var f failure
	if errors.As(err, &f) {
		s.fail(w, f)
		return
	}
	h := w.Header()
	h["Content-Type"] = []string{"text/event-stream"}
	h["Cache-Control"] = []string{"private, no-cache, no-store, must-revalidate, max-age=0"}
	h["X-Accel-Buffering"] = []string{"no"}
	if r.Method == http.MethodHead {
		return
	}
	s.gate.RLock()
	if s.stopping {
		s.gate.RUnlock()
		s.sendAway(w, lastID)
		return
	}
	s.streams.Add(1)
	s.gate.RUnlock()
	defer s.streams.Done()
	if err := s.admit(sub, lastID, h); errors.Is(err, errMoved) {
		s.sendAway(w, lastID)
		return
	} else if err != nil {
		errors.As(err, &f)
		s.fail(w, f)
		return
	}
	defer s.leave(sub)
	if s.cfg.Subscriptions {
		s.announce(r.Context(), sub, true)
	}
	s.stats.ended(sub.stream(r.Context(), newEventWriter(w, r, s.limits.Load().WriteTimeout)))
}

// sendAway answers a client whose stream cannot begin here. An EventSource that is answered with an error never comes back. This one does,
// and misses nothing.
func (s *Server) sendAway(w http.ResponseWriter, lastID string) {
	b := appendRetry(nil, s.partingRetry())
	if lastID == "" {
		b = appendID(b, s.latestID())
	}
	_, _ = w.Write(append(b, '\n'))
}

// latestID is where a stream stands that has everything; empty when no stream can go on from there.
func (s *Server) latestID() string {
	if s.history == nil {
		return ""
	}
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	return s.registry.lastID
}

// leave is the end of a subscriber.
func (s *Server) leave(sub *subscriber) {
	s.registry.remove(sub)
	if s.cfg.Subscriptions {
		s.announce(context.Background(), sub, false)
	}
}

// readSubscribe reads what a client wants, and whether it may.
func (s *Server) readSubscribe(w http.ResponseWriter, r *http.Request) (sub *subscriber, lastID string, err error) {
	query, err := s.parameters(w, r)
	if err != nil {
		return nil, "", err
	}
	g, _, f := s.authenticate(r, s.verifiers.Load().subscribers, query.Get)
	switch {
	case f != nil:
		return nil, "", *f
	case g == nil && !s.cfg.Anonymous:
		return nil, "", failure{status: http.StatusUnauthorized, text: "subscribing needs a token"}
	}
	selectors, err := s.readSelectors(query)
	if err != nil {
		return nil, "", err
	}
	sub = &subscriber{
		server: s, id: newID(), selectors: selectors, grants: g, ip: clientOf(r), began: s.now(),
		wake: make(chan struct{}, 1),
	}
	if lastID = r.Header.Get("Last-Event-ID"); lastID == "" {
		lastID = query.Get(s.lastIDParameter())
	}
	if lastID == "" && s.cfg.Protocol == 0 {
		lastID = query.Get("Last-Event-ID") // what it was called before 0.14
	}
	return sub, lastID, nil
}

func (s *Server) lastIDParameter() string {
	if s.cfg.Protocol == 1 {
		return "last_event_id"
	}
	return "lastEventID"
}

func (s *Server) lastIDHeader() string {
	if s.cfg.Protocol == 1 {
		return "Mercure-Last-Event-ID"
	}
	return "Last-Event-ID"
}

// parameters are those of the query, and with the method QUERY those of the body.
func (s *Server) parameters(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, failure{status: http.StatusBadRequest, text: "the query cannot be read"}
	}
	if r.Method != "QUERY" {
		return query, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, failure{status: http.StatusUnsupportedMediaType, text: "the body must be application/x-www-form-urlencoded"}
	}
	body, err := readBody(w, r, int64(s.cfg.Limits.Body))
	if err != nil {
		return nil, err
	}
	more, err := url.ParseQuery(body)
	if err != nil {
		return nil, failure{status: http.StatusBadRequest, text: "the body is no form"}
	}
	for name, values := range more { // those of the query come first
		query[name] = append(query[name], values...)
	}
	return query, nil
}

// readSelectors makes the selectors of a query.
func (s *Server) readSelectors(query url.Values) ([]*selector, error) {
	var list []*selector
	cost := 0
	add := func(kind matchType, texts []string) error {
		if len(list)+len(texts) > s.cfg.Limits.Selectors {
			return failure{status: http.StatusBadRequest, text: "there are more selectors than limits.selectors allows"}
		}
		for _, text := range texts {
			switch {
			case len(text) > s.cfg.Limits.Topic:
				return failure{status: http.StatusBadRequest, text: "a selector is longer than limits.topic allows"}
			case text == "" || !cleanText(text):
				return failure{status: http.StatusBadRequest, text: "selectors must be UTF-8 without control characters, and not empty"}
			}
			sel, err := s.selectors.parse(kind, text)
			if err != nil {
				return failure{status: http.StatusBadRequest, text: "a selector cannot be read: " + err.Error()}
			}
			if cost += sel.cost; cost > maxSelectorCost {
				return failure{status: http.StatusBadRequest, text: "the selectors are more complicated than one subscriber's may be"}
			}
			if !slices.ContainsFunc(list, func(have *selector) bool { return have.kind == sel.kind && have.text == sel.text }) {
				list = append(list, sel)
			}
		}
		return nil
	}
	if s.cfg.Protocol == 0 {
		if err := add(matchSelector, query["topic"]); err != nil {
			return nil, err
		}
	} else {
		for name, texts := range query {
			var kind matchType
			switch {
			case name == "match" || name == "match_exact":
				kind = matchExact
			case name == "match_urlpattern":
				kind = matchURL
			case len(name) >= 5 && strings.EqualFold(name[:5], "match"):
				return nil, failure{status: http.StatusBadRequest, text: "names that begin with match are selectors, and the hub knows match, match_exact and match_urlpattern"}
			default:
				continue
			}
			if err := add(kind, texts); err != nil {
				return nil, err
			}
		}
	}
	if len(list) == 0 {
		name := "topic"
		if s.cfg.Protocol == 1 {
			name = "match or match_urlpattern"
		}
		return nil, failure{status: http.StatusBadRequest, text: name + " is missing: nothing is subscribed to"}
	}
	return list, nil
}

// authenticate finds out what the bearer of a request may do. Without a credential both results are nil.
func (s *Server) authenticate(r *http.Request, v *verifier, query func(string) string) (*grants, credential, *failure) {
	cred, err := s.credentialOf(r, query)
	if err != nil {
		status := http.StatusUnauthorized
		if s.cfg.Protocol == 1 {
			status = http.StatusBadRequest
		}
		return nil, cred, &failure{status: status, text: err.Error(), code: "invalid_request", token: true}
	}
	if cred.token == "" {
		return nil, cred, nil
	}
	g, err := v.verify(cred.token)
	if err != nil {
		s.stats.badTokens.Add(1)
		text := "the token is not valid"
		if s.cfg.Protocol == 0 {
			text += ": " + err.Error()
		}
		return nil, cred, &failure{status: http.StatusUnauthorized, text: text, code: "invalid_token", token: true}
	}
	return g, cred, nil
}

// admit applies the limits of connections, finds the place that the client stands at, and lets updates come.
func (s *Server) admit(sub *subscriber, lastID string, h http.Header) error {
	place, found, oldest, err := s.locate(lastID)
	if errors.Is(err, errMoved) {
		return err
	}
	if err != nil {
		s.log.Error("mercure: the history cannot be read", "error", err)
		return failure{status: http.StatusInternalServerError, text: "the history cannot be read"}
	}
	r, l := s.registry, s.limits.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case l.Connections > 0 && len(r.subs) >= l.Connections:
		return failure{status: http.StatusServiceUnavailable, text: "too many subscribers"}
	case l.PerIP > 0 && sub.ip.IsValid() && r.ips[sub.ip] >= l.PerIP:
		return failure{status: http.StatusTooManyRequests, text: "too many subscribers from this address"}
	case l.PerUser > 0 && sub.user() != "" && r.users[sub.user()] >= l.PerUser:
		return failure{status: http.StatusTooManyRequests, text: "too many streams of this user"}
	}
	r.ips[sub.ip]++
	if sub.user() != "" {
		r.users[sub.user()]++
	}
	latest, latestID := r.add(sub)
	sub.place = latest
	s.stats.opened.Add(1)
	if lastID == "" {
		return nil
	}
	answer := earliest
	switch {
	case s.history == nil:
		if latestID != "" && s.isWhole(latest) {
			answer = latestID
		}
	case found:
		if sub.place = place; s.isWhole(place) {
			answer = lastID
		}
	default:
		sub.place = oldest
	}
	if sub.behind = s.history != nil && sub.place < latest; sub.behind {
		sub.signal()
	}
	h.Set(s.lastIDHeader(), answer)
	return nil
}

// locate finds the place of an id, and that before the oldest update.
func (s *Server) locate(lastID string) (place uint64, found bool, oldest uint64, err error) {
	if lastID == "" || s.history == nil {
		return 0, false, 0, nil
	}
	if lastID != earliest && len(lastID) <= s.cfg.Limits.Topic {
		if place, found, err = s.history.place(lastID); found || err != nil {
			return place, found, 0, err
		}
	}
	oldest, err = s.history.beforeOldest()
	return 0, false, oldest, err
}

// clientOf is the address whose streams are counted together: of IPv6 one network of 64 bits.
func clientOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}
