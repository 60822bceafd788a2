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
	backend  Backend
	space    *ws.Space
	rules    atomic.Pointer[rules]
	expiries expiries
	log      *slog.Logger

	failed atomic.Uint64
	events atomic.Uint64

	lost       atomic.Uint64 // events since the last line about them
	complaints ws.Seldom
}

// rules are what a reload may change: who gets in, and how much of what at a time.
type rules struct {
	cfg      Config
	endpoint *ws.Endpoint
	guard    *guard        // nil without jwt
	slots    chan struct{} // events that are being dealt with
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
	a := &App{name: name, backend: opts.Backend, log: opts.Logger, expiries: expiries{timers: map[ws.ConnID]*time.Timer{}}}
	a.space = opts.Hub.Space(SpaceName(name))
	a.space.Handle(ws.Handlers{Answer: a.answerOrder})
	r, err := a.newRules(cfg, opts.Limits)
	a.rules.Store(r)
	return a, err
}

func (a *App) newRules(cfg Config, limits ws.Limits) (_ *rules, err error) {
	r := &rules{cfg: cfg, slots: make(chan struct{}, cfg.Concurrency)}
	if cfg.JWT != nil {
		if r.guard, err = newGuard(cfg.JWT); err != nil {
			return nil, err
		}
	}
	r.endpoint, err = ws.NewEndpoint(ws.EndpointConfig{
		Space: a.space, Protocol: a, Limits: limits, Logger: a.log, Origins: cfg.Origins, Subprotocols: cfg.Subprotocols,
	})
	return r, err
}

// Change checks a new configuration and returns what puts it in force. Connections that are there keep their limits. Who gets the events stays
// as it is: those connections are theirs.
func (a *App) Change(cfg Config, limits ws.Limits) (commit func(), err error) {
	r, err := a.newRules(cfg, limits)
	if err != nil {
		return nil, err
	}
	return func() { a.rules.Store(r) }, nil
}

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
func (a *App) Accept(r *http.Request, c *ws.Conn) (err error) {
	accepted, rules := false, a.rules.Load()
	if rules.guard != nil {
		var expires time.Time
		if r, expires, err = rules.guard.admit(r, c); err != nil {
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
	select {
	case rules.slots <- struct{}{}:
	case <-r.Context().Done():
		return &ws.Refusal{Status: http.StatusServiceUnavailable, Text: "503 the client has gone"}
	}
	defer func() { <-rules.slots }()
	err = a.count(a.backend.Connect(r, c))
	accepted = err == nil
	if errors.As(err, new(Reported)) { // the endpoint would log it once more
		return &ws.Refusal{Status: http.StatusInternalServerError, Text: "500 internal server error"}
	}
	return err
}

// OnOpen is of ws.Protocol.
func (a *App) OnOpen(*ws.Conn) {}

// OnMessage is of ws.Protocol. An application that fails loses the message, not the connection.
func (a *App) OnMessage(c *ws.Conn, kind ws.Kind, message []byte) {
	slots := a.slot()
	defer func() { <-slots }()
	a.complain("message", a.count(a.backend.Message(context.Background(), c, kind, message)))
}

// OnClose is of ws.Protocol.
func (a *App) OnClose(c *ws.Conn, code ws.CloseCode, reason string) {
	a.expiries.forget(c)
	slots := a.slot()
	defer func() { <-slots }()
	a.complain("disconnect", a.count(a.backend.Disconnect(context.Background(), c, code, reason)))
}

// slot waits until an event may be dealt with, and takes a place in what it returns.
func (a *App) slot() chan struct{} {
	slots := a.rules.Load().slots
	slots <- struct{}{}
	return slots
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
