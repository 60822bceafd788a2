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
	cfg    Config
	hub    *ws.Hub
	log    *slog.Logger
	limits ws.Limits
	client *http.Client // of webhooks
	apps   []*app       // by name
	byID   map[string]*app
	byKey  map[string]*app
	lobby  *ws.Endpoint // of those who ask for an app that is not there

	connections atomic.Int64

	work    context.Context // of everything that runs beside connections
	abort   context.CancelFunc
	running sync.WaitGroup
	hooks   sync.WaitGroup
}

// New checks the configuration and starts nothing.
func New(cfg Config, opts Options) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, hub: opts.Hub, log: opts.Logger, limits: opts.Limits,
		byID: map[string]*app{}, byKey: map[string]*app{},
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	s.work, s.abort = context.WithCancel(context.Background())
	for _, name := range slices.Sorted(maps.Keys(cfg.Apps)) {
		a, err := newApp(name, cfg.Apps[name], s)
		if err != nil {
			return nil, fmt.Errorf("apps.%s: %w", name, err)
		}
		s.apps = append(s.apps, a)
		s.byID[a.cfg.id(name)], s.byKey[a.cfg.Key] = a, a
	}
	var err error
	s.lobby, err = ws.NewEndpoint(ws.EndpointConfig{
		Space: s.hub.Space(Lobby), Protocol: lobby{s}, Limits: opts.Limits, Logger: opts.Logger, Origins: []string{"*"},
	})
	return s, err
}

// Start begins to send webhooks and counts.
func (s *Server) Start(context.Context) error {
	for _, a := range s.apps {
		for _, h := range a.hooks {
			s.hooks.Go(func() { h.run(s.work) }) // ends when it was told to stop and has nothing left, or Stop has no more time
		}
		if a.counts != nil {
			s.running.Go(func() { a.counts.run(s.work) }) // ends with Stop
		}
		if a.cfg.SigninTimeout > 0 {
			s.running.Go(func() { a.patience.run(s.work) }) // ends with Stop
		}
	}
	return nil
}

// Stop sends the webhooks that wait, while ctx lasts. The hub has closed the connections before.
func (s *Server) Stop(ctx context.Context) error {
	for _, a := range s.apps {
		for _, h := range a.hooks {
			h.stop()
		}
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
	for _, a := range s.apps {
		for _, h := range a.hooks {
			if n := h.left(); n > 0 {
				errs = append(errs, fmt.Errorf("app %s: %d events for the webhook %s were not sent in time", a.name, n, redactURL(h.cfg.URL)))
			}
		}
	}
	return errors.Join(errs...)
}

// Lobby is the space of those who ask for an app that is not there.
const Lobby = "pusher"

// AppOf returns the name of the app that a space belongs to.
func (s *Server) AppOf(space *ws.Space) (name string, ok bool) {
	for _, a := range s.apps {
		if a.space == space {
			return a.name, true
		}
	}
	return "", false
}

// Handles reports whether a request is one of this protocol: a WebSocket at /app/…, or a call of the API of an app at /apps/ID/…,
// behind the prefix of the section. Other requests with such paths belong to the application.
func (s *Server) Handles(r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, s.cfg.Path)
	if !ok {
		return false
	}
	if rest, ok := strings.CutPrefix(path, "/apps/"); ok {
		id, call, _ := strings.Cut(rest, "/")
		// A library of Pusher with the wrong id must hear that, and not what the application says about a path that it does not know.
		return s.byID[id] != nil && isCall(call) || strings.Contains(r.URL.RawQuery, "auth_signature=")
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
	path := strings.TrimPrefix(r.URL.Path, s.cfg.Path)
	if rest, ok := strings.CutPrefix(path, "/apps/"); ok {
		s.serveAPI(w, r, rest)
		return
	}
	key, _ := strings.CutPrefix(path, "/app/")
	if a := s.byKey[key]; a != nil {
		a.endpoint.ServeHTTP(w, r)
		return
	}
	s.lobby.ServeHTTP(w, r)
}

// lobby is the protocol of those who ask for what is not there. They are let in to be told so.
type lobby struct{ s *Server }

func (l lobby) Accept(r *http.Request, c *ws.Conn) error {
	key, ok := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, l.s.cfg.Path), "/app/")
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
