// Package raw is WebSocket without a protocol on top: what clients do becomes events of an application, which may be PHP or a plugin.
//
// There are three events. connect comes before the handshake is answered, and may refuse it with a status. message carries one message;
// an answer goes back to the same connection. disconnect comes once for each connection that was accepted. Events of one connection
// come one after the other, in order: while one is being dealt with, nothing more is read from that client.
package raw

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/ws"
)

// Config is an element of ws.raw.
type Config struct {
	// PHP names the pool that gets the events, Wasm the plugin. One of the two.
	PHP  string `koanf:"php"`
	Wasm string `koanf:"wasm"`

	// Origins are the origins whose pages may connect, beside those of the same host: "https://example.com", "https://*.example.com",
	// or "*" for all. Default none.
	Origins []string `koanf:"origins"`

	// Subprotocols that the application speaks, the preferred first. Default none.
	Subprotocols []string `koanf:"subprotocols"`

	// Concurrency is how many events are dealt with at a time. Connections wait for each other beyond that. Default 256.
	Concurrency int `koanf:"concurrency"`

	// Secret lets those who send it as a bearer token use /@connections/ID below the route. Empty: that is not there. Default empty.
	Secret string `koanf:"secret"`

	// JWT has clients show a token before the application is asked. Default off.
	JWT *JWT `koanf:"jwt"`
}

// Defaults is where decoding of an element of ws.raw starts.
func (Config) Defaults() any { return Config{Concurrency: 256} }

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if (c.PHP == "") == (c.Wasm == "") {
		errs = append(errs, errors.New("needs exactly one of php and wasm: what gets the events"))
	}
	if c.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("concurrency: must be at least 1, got %d", c.Concurrency))
	}
	errs = append(errs, ws.CheckOrigins(c.Origins))
	if c.Secret != "" && len(c.Secret) < 16 {
		errs = append(errs, errors.New("secret: needs at least 16 characters"))
	}
	if c.JWT != nil {
		if err := c.JWT.Validate(); errors.Is(err, errNoKey) {
			errs = append(errs, fmt.Errorf("jwt: %w", err))
		} else if err != nil {
			errs = append(errs, fmt.Errorf("jwt.%w", err))
		}
	}
	return errors.Join(errs...)
}

// Backend is the application.
type Backend interface {
	// Connect may refuse with a *ws.Refusal; the request is the client's.
	Connect(r *http.Request, c *ws.Conn) error

	// Message deals with a message. The bytes are valid until it returns.
	Message(ctx context.Context, c *ws.Conn, kind ws.Kind, message []byte) error

	// Disconnect comes last.
	Disconnect(ctx context.Context, c *ws.Conn, code ws.CloseCode, reason string) error
}

// App is one application. It is the http.Handler of its routes.
type App struct {
	name     string
	space    *ws.Space
	rules    atomic.Pointer[rules]
	retired  atomic.Bool
	expiries expiries
	slots    slots // of events that are dealt with
	log      *slog.Logger

	failed atomic.Uint64
	events atomic.Uint64

	lost       atomic.Uint64 // events since the last line about them
	complaints ws.Seldom
}

// rules are what a reload may change: who gets in, and who gets the events. They are the protocol of the connections that come by them.
type rules struct {
	app      *App
	cfg      Config
	backend  Backend
	endpoint *ws.Endpoint
	guard    *guard // nil without jwt
}

// Options are what an App needs beside its configuration.
type Options struct {
	Hub     *ws.Hub
	Backend Backend
	Limits  ws.Limits
	Logger  *slog.Logger
}

// New makes an application of a checked configuration.
func New(name string, cfg Config, opts Options) (*App, error) {
	a := &App{name: name, log: opts.Logger, expiries: expiries{timers: map[ws.ConnID]*time.Timer{}}}
	a.space = opts.Hub.Space(SpaceName(name))
	a.space.Handle(ws.Handlers{Answer: a.answerOrder})
	commit, err := a.Change(cfg, opts.Backend, opts.Limits)
	if err != nil {
		return nil, err
	}
	commit()
	return a, nil
}

// Change checks a new configuration, reads the keys that it names, and returns what puts it in force. Connections that are there keep their
// limits, and the backend that they came to.
func (a *App) Change(cfg Config, backend Backend, limits ws.Limits) (commit func(), err error) {
	r := &rules{app: a, cfg: cfg, backend: backend}
	if cfg.JWT != nil {
		if r.guard, err = newGuard(cfg.JWT); err != nil {
			return nil, err
		}
		if before := a.rules.Load(); before != nil && before.guard != nil {
			r.guard.keys.Follow(before.guard.keys)
		}
	}
	r.endpoint, err = ws.NewEndpoint(ws.EndpointConfig{
		Space: a.space, Protocol: r, Limits: limits, Logger: a.log, Origins: cfg.Origins, Subprotocols: cfg.Subprotocols,
	})
	if err != nil {
		return nil, err
	}
	return func() {
		a.rules.Store(r)
		a.slots.resize(cfg.Concurrency)
	}, nil
}

// Retire is the end of an application that a reload takes away: who comes by a request of before is sent away.
func (a *App) Retire() {
	a.retired.Store(true)
	for _, c := range a.space.Conns() {
		sendAway(c)
	}
}

func sendAway(c *ws.Conn) { c.Close(ws.CloseRestart, "the application has been taken away") }

// SpaceName is the name of an application's space.
func SpaceName(app string) string { return "raw/" + app }

// Space has the application's connections.
func (a *App) Space() *ws.Space { return a.space }

// Stats of an application, beside those of its space.
type Stats struct {
	Events uint64 // that the application got
	Failed uint64 // of these, with an error
}

// Stats takes a snapshot.
func (a *App) Stats() Stats { return Stats{Events: a.events.Load(), Failed: a.failed.Load()} }

// ServeHTTP connects clients, and lets who knows the secret reach them.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rules := a.rules.Load()
	if _, id, ok := strings.Cut(r.URL.Path, "/@connections/"); ok && rules.cfg.Secret != "" {
		a.manage(w, r, id, rules.cfg.Secret)
		return
	}
	rules.endpoint.ServeHTTP(w, r)
}

// Accept is of ws.Protocol.
func (r *rules) Accept(req *http.Request, c *ws.Conn) (err error) {
	a, accepted := r.app, false
	if a.retired.Load() {
		return &ws.Refusal{Status: http.StatusNotFound, Text: "404 page not found"}
	}
	if r.guard != nil {
		var expires time.Time
		if req, expires, err = r.guard.admit(req, c); err != nil {
			return err
		}
		if !expires.IsZero() {
			a.expiries.await(c, expires)
		}
		defer func() {
			if !accepted {
				a.expiries.forget(c) // there will be no OnClose
			}
		}()
	}
	if !a.slots.take(req.Context()) {
		return &ws.Refusal{Status: http.StatusServiceUnavailable, Text: "503 the client has gone"}
	}
	defer a.slots.give()
	err = a.count(r.backend.Connect(req, c))
	accepted = err == nil
	if errors.As(err, new(Reported)) { // the endpoint would log it once more
		return &ws.Refusal{Status: http.StatusInternalServerError, Text: "500 internal server error"}
	}
	return err
}

// OnOpen is of ws.Protocol.
func (r *rules) OnOpen(c *ws.Conn) {
	if r.app.retired.Load() { // since a moment ago
		sendAway(c)
	}
}

// OnMessage is of ws.Protocol. An application that fails loses the message, not the connection.
func (r *rules) OnMessage(c *ws.Conn, kind ws.Kind, message []byte) {
	a := r.app
	a.slots.take(context.Background())
	defer a.slots.give()
	a.complain("message", a.count(r.backend.Message(context.Background(), c, kind, message)))
}

// OnClose is of ws.Protocol.
func (r *rules) OnClose(c *ws.Conn, code ws.CloseCode, reason string) {
	a := r.app
	a.expiries.forget(c)
	a.slots.take(context.Background())
	defer a.slots.give()
	a.complain("disconnect", a.count(r.backend.Disconnect(context.Background(), c, code, reason)))
}

// Reported is an error that is in the log already.
type Reported struct{ Cause error }

func (r Reported) Error() string { return r.Cause.Error() }
func (r Reported) Unwrap() error { return r.Cause }

// complain logs that the application lost an event, once a second at most, with how many there were since the last time.
func (a *App) complain(event string, err error) {
	if err == nil || errors.As(err, new(Reported)) {
		return
	}
	a.lost.Add(1)
	if !a.complaints.Now() {
		return
	}
	a.log.Error("ws: the application failed in an event, which is lost", "app", a.name, "event", event, "events", a.lost.Swap(0), "error", err)
}

func (a *App) count(err error) error {
	a.events.Add(1)
	var refused *ws.Refusal
	if err != nil && !errors.As(err, &refused) {
		a.failed.Add(1)
	}
	return err
}

// Description is what others may know of a connection.
type Description struct {
	ID          string            `json:"id"`
	Remote      string            `json:"remote"`
	User        string            `json:"user,omitempty"`
	Opened      time.Time         `json:"opened"`
	Subprotocol string            `json:"subprotocol,omitempty"`
	Channels    []string          `json:"channels,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Dropped     int               `json:"dropped,omitempty"`
}

// Describe takes a snapshot.
func Describe(c *ws.Conn) Description {
	return Description{
		ID: c.ID().String(), Remote: c.Remote().String(), User: c.User(), Opened: c.Opened().UTC(), Subprotocol: c.Subprotocol(),
		Channels: c.Channels(), Attributes: c.Attributes(), Dropped: c.Dropped(),
	}
}
