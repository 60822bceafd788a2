// Package pusher speaks the Pusher Channels protocol, version 7: what pusher-js, Laravel Echo and the server libraries of Pusher
// expect of a server, over the hub of package ws.
//
//	GET  /app/KEY?protocol=7            a WebSocket of a front end
//	POST /apps/ID/events                the HTTP API of back ends: publish, list channels and users, end connections
//	POST https://the.application/…      webhooks: what happens on channels, told to back ends
//	ws.Publish, ws.PublishBatch, …      the same API for PHP workers, by RPC
//
// A [Server] has an app for each application of the section: keys, limits, a space of the hub. The app is the Protocol of its
// connections. Channels are those of the hub; their names say what they are ("private-…"), and the app adds who may subscribe.
package pusher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/ws"
)

// Options are what a Server needs from its surroundings.
type Options struct {
	Hub    *ws.Hub
	Logger *slog.Logger

	// Limits of connections, apart from those that apps have. Begin with ws.DefaultLimits.
	Limits ws.Limits
}

// Server is all apps.
type Server struct {
	hub     *ws.Hub
	log     *slog.Logger
	client  *http.Client // of webhooks
	section atomic.Pointer[section]
	forward atomic.Pointer[Forward] // not nil: another process tells webhooks

	connections atomic.Int64

	mu      sync.Mutex // held while parts are started and stopped; guards stopped
	stopped bool

	work    context.Context // of everything that runs beside connections
	abort   context.CancelFunc
	running sync.WaitGroup
	hooks   sync.WaitGroup
}

// section is what a reload replaces as a whole.
type section struct {
	cfg   Config
	apps  []*app // by name
	byID  map[string]*app
	byKey map[string]*app
	lobby *ws.Endpoint // of those who ask for an app that is not there
}

// New checks the configuration and starts nothing.
func New(cfg Config, opts Options) (*Server, error) {
	s := &Server{
		hub: opts.Hub, log: opts.Logger,
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	s.work, s.abort = context.WithCancel(context.Background())
	s.section.Store(&section{})
	swap, err := s.prepare(cfg, opts.Limits)
	if err != nil {
		return nil, err
	}
	swap()
	return s, nil
}

// Change checks a new configuration of a server that runs and returns what puts it in force, which does nothing after Stop. Connections
// that are there stay, with the limits of a connection (ws.limits, timeouts) that they came with; all else holds for them, too. An app that
// is no longer there, or has another id, sends its connections away: ask NeedsRestart before.
func (s *Server) Change(cfg Config, limits ws.Limits) (commit func(), err error) {
	swap, err := s.prepare(cfg, limits)
	if err != nil {
		return nil, err
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stopped {
			return
		}
		before := s.section.Load()
		hooks := before.hooks()
		swap()
		now := s.section.Load()
		for _, a := range now.apps {
			if before.app(a.name) != a {
				s.run(a)
			}
		}
		for _, a := range before.apps {
			if now.app(a.name) == a {
				continue
			}
			a.retire()
			if !slices.ContainsFunc(now.apps, func(b *app) bool { return b.space == a.space }) { // the id may be another's now
				s.hub.Forget(a.space)
			}
		}
		for _, h := range now.hooks() {
			if !slices.Contains(hooks, h) {
				s.runHook(h)
			}
		}
		for _, h := range hooks {
			if !slices.Contains(now.hooks(), h) {
				h.stop() // when what waits is sent
			}
		}
	}, nil
}

// prepare makes all of a configuration that is new. What it returns swaps the sections.
func (s *Server) prepare(cfg Config, limits ws.Limits) (swap func(), err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	old := s.section.Load()
	next := &section{cfg: cfg, byID: map[string]*app{}, byKey: map[string]*app{}}
	changed := map[*app]*rules{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Apps)) {
		c := cfg.Apps[name]
		a := old.app(name)
		if a != nil && a.cfg().id(name) == c.id(name) {
			changed[a], err = a.newRules(c, limits)
		} else {
			a, err = newApp(name, c, limits, s)
		}
		if err != nil {
			return nil, fmt.Errorf("apps.%s: %w", name, err)
		}
		next.apps = append(next.apps, a)
		next.byID[c.id(name)], next.byKey[c.Key] = a, a
	}
	next.lobby, err = ws.NewEndpoint(ws.EndpointConfig{
		Space: s.hub.Space(Lobby), Protocol: lobby{s}, Limits: limits, Logger: s.log, Origins: []string{"*"},
	})
	return func() {
		s.section.Store(next)
		for a, r := range changed {
			a.obey(r)
		}
		for _, a := range next.apps {
			a.space.Handle(ws.Handlers{Departed: a.departed, Roster: a.roster})
		}
	}, err
}

// app returns the app of that name, or nil.
func (s *section) app(name string) *app {
	i := slices.IndexFunc(s.apps, func(a *app) bool { return a.name == name })
	if i < 0 {
		return nil
	}
	return s.apps[i]
}

func (s *section) hooks() (all []*hook) {
	for _, a := range s.apps {
		all = append(all, a.rules.Load().hooks...)
	}
	return all
}

// Start begins to send webhooks and counts.
func (s *Server) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.section.Load()
	for _, a := range now.apps {
		s.run(a)
	}
	for _, h := range now.hooks() {
		s.runHook(h)
	}
	return nil
}

func (s *Server) run(a *app) {
	ctx, end := context.WithCancel(s.work)
	a.end = end
	s.running.Go(func() { a.counts.run(ctx) })   // ends with the app, or Stop
	s.running.Go(func() { a.patience.run(ctx) }) // ends with the app, or Stop
}

func (s *Server) runHook(h *hook) {
	s.hooks.Go(func() { h.run(s.work) }) // ends when it was told to stop and has nothing left, or Stop has no more time
}

// Stop sends the webhooks that wait, while ctx lasts. The hub has closed the connections before.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	now := s.section.Load()
	for _, h := range now.hooks() {
		h.stop()
	}
	sent := make(chan struct{})
	go func() { // ends with the webhooks, which abort ends
		s.hooks.Wait()
		close(sent)
	}()
	select {
	case <-sent:
	case <-ctx.Done():
	}
	s.abort()
	<-sent
	s.running.Wait()
	s.client.CloseIdleConnections()

	var errs []error
	for _, h := range now.hooks() {
		if n := h.left(); n > 0 {
			errs = append(errs, fmt.Errorf("app %s: %d events for the webhook %s were not sent in time", h.app.name, n, redactURL(h.url)))
		}
	}
	return errors.Join(errs...)
}

// Lobby is the space of those who ask for an app that is not there.
const Lobby = "pusher"

// AppOf returns the name of the app that a space belongs to.
func (s *Server) AppOf(space *ws.Space) (name string, ok bool) {
	for _, a := range s.section.Load().apps {
		if a.space == space {
			return a.name, true
		}
	}
	return "", false
}

// Handles reports whether a request is one of this protocol: a WebSocket at /app/…, or a call of the API of an app at /apps/ID/…,
// behind the prefix of the section. Other requests with such paths belong to the application.
func (s *Server) Handles(r *http.Request) bool {
	now := s.section.Load()
	path, ok := strings.CutPrefix(r.URL.Path, now.cfg.Path)
	if !ok {
		return false
	}
	if rest, ok := strings.CutPrefix(path, "/apps/"); ok {
		id, call, _ := strings.Cut(rest, "/")
		// A library of Pusher with the wrong id must hear that, and not what the application says about a path that it does not know.
		return now.byID[id] != nil && isCall(call) || strings.Contains(r.URL.RawQuery, "auth_signature=")
	}
	return strings.HasPrefix(path, "/app/") && (r.Method == http.MethodConnect || r.Header.Get("Upgrade") != "")
}

// isCall recognises what stands behind /apps/ID/.
func isCall(call string) bool {
	first, _, _ := strings.Cut(call, "/")
	switch first {
	case "events", "batch_events", "channels", "users", "connections":
		return true
	}
	return false
}

// ServeHTTP answers front ends and back ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.section.Load()
	path := strings.TrimPrefix(r.URL.Path, now.cfg.Path)
	if rest, ok := strings.CutPrefix(path, "/apps/"); ok {
		s.serveAPI(w, r, rest)
		return
	}
	key, _ := strings.CutPrefix(path, "/app/")
	if a := now.byKey[key]; a != nil {
		a.rules.Load().endpoint.ServeHTTP(w, r)
		return
	}
	now.lobby.ServeHTTP(w, r)
}

// lobby is the protocol of those who ask for what is not there. They are let in to be told so.
type lobby struct{ s *Server }

func (l lobby) Accept(r *http.Request, c *ws.Conn) error {
	key, ok := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, l.s.section.Load().cfg.Path), "/app/")
	if !ok || key == "" || strings.Contains(key, "/") {
		c.Data = errBadPath
		return nil
	}
	c.Data = problem{codeUnknownApp, "App key " + clip(key) + " not in this server. Did you forget to specify the host?"}
	return nil
}

func (lobby) OnOpen(c *ws.Conn) { closeWith(c, c.Data.(problem)) }

func (lobby) OnMessage(*ws.Conn, ws.Kind, []byte) {}

func (lobby) OnClose(*ws.Conn, ws.CloseCode, string) {}
