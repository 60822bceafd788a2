// Package admin is how an operator talks to a running Edge: a small HTTP API on a unix socket in the state folder, or on a
// loopback address with a token. `edge status`, `reload`, `workers` and `plugin ls` are its clients (Client).
//
//	GET  /status    what runs, where, since when         Status
//	GET  /workers   the PHP workers of every pool        []Pool
//	GET  /plugins   the wasm plugins                     []Plugin
//	POST /reload    read edge.yaml again and apply it    {"error": …} with 409 when refused
//	POST /upgrade   start a new binary and let it take over: see upgrade.go
//	     /kv…       the stores: see kv.go
//	     /overview, /routes, /stores, /connections, /services, /config, /drain, /debug/pprof/: see views.go
//	     /ws…       WebSockets: see ws.go
//	     /cache…    response caches: see cache.go
//	GET  /metrics   Prometheus text format
//	GET  /health    200 while the process answers
//	GET  /ready     200 while requests are served, else 503; the detail is the same JSON in both cases
//
// Errors are JSON, {"error": "what happened and what to do"}, with a 4xx or 5xx status.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Config says where the API listens.
type Config struct {
	// Listen is unix (the socket admin.sock in state_dir, for the user of this process only), a loopback address such as
	// 127.0.0.1:9190 (then Token is required), or off. Default unix.
	Listen string `koanf:"listen"`

	// Token must accompany requests on a loopback address, as Authorization: Bearer TOKEN. At least 16 characters. Default none.
	Token string `koanf:"token"`
}

// DefaultConfig is what an absent admin section means.
func DefaultConfig() Config { return Config{Listen: "unix"} }

// Validate checks the address and that a network listener has a token.
func (c Config) Validate() error {
	if c.Listen == "unix" || c.Listen == "off" {
		return nil
	}
	addr, err := netip.ParseAddrPort(c.Listen)
	if err != nil || !addr.Addr().IsLoopback() {
		return fmt.Errorf("listen: must be unix, off, or a loopback address such as 127.0.0.1:9190; got %q", c.Listen)
	}
	if len(c.Token) < 16 {
		return errors.New("token: an address that other users of this machine reach needs a token of at least 16 characters")
	}
	return nil
}

// SocketPath is the unix socket of a state folder.
func SocketPath(stateDir string) string { return filepath.Join(stateDir, "admin.sock") }

// Backend is what the server behind the API offers.
type Backend struct {
	Status  func() Status
	Workers func() []Pool
	Plugins func() []Plugin
	Reload  func(context.Context) error
	Upgrade func(ctx context.Context, binary string, timeout time.Duration) (Upgraded, error)
	Metrics http.Handler
	KV      Stores // nil: there are none
	Views   Views
	WS      Sockets
	Caches  Caches // nil: there are none
}

// Status is what `edge status` shows.
type Status struct {
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	Started   time.Time `json:"started"`
	Config    string    `json:"config"`
	Addresses []string  `json:"addresses"`
	// Ready is false before the start has ended and once the stop has begun.
	Ready bool `json:"ready"`
	// Degraded says what serves on, but not as configured: a plugin whose file is gone, a pool whose workers do not boot.
	Degraded []string `json:"degraded,omitempty"`
}

// Pool is a PHP pool and its workers.
type Pool struct {
	Name     string   `json:"name"`
	Requests uint64   `json:"requests"`
	Queued   int      `json:"queued"`   // requests that wait for a worker now
	Rejected uint64   `json:"rejected"` // requests that were answered 503, for want of a worker
	Workers  []Worker `json:"workers"`
}

// Worker is one PHP process.
type Worker struct {
	PID      int           `json:"pid"`
	State    string        `json:"state"`
	Requests uint64        `json:"requests"`
	Age      time.Duration `json:"age_ns"`
	// Memory is the resident set in bytes, 0 when unknown.
	Memory int64 `json:"memory"`
}

// Plugin is one wasm plugin.
type Plugin struct {
	Name       string        `json:"name"`
	File       string        `json:"file"`
	Generation uint64        `json:"generation"`
	Instances  int           `json:"instances"`
	Requests   uint64        `json:"requests"`
	Errors     uint64        `json:"errors"`
	Time       time.Duration `json:"time_ns"`
	// P50 and P99 of the time of a request in the guest; 0 while too few were timed.
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	// Fuel is the median of what a call into the guest takes.
	Fuel uint64 `json:"fuel"`
	// Memory is the linear memory and the tables of the largest instance, in bytes.
	Memory uint64 `json:"memory"`
	// Calls are those into the guest, for whatever reason: requests, events of sockets, ticks, operations of a store.
	Calls uint64 `json:"calls"`
	// Draining are the instances of contents that were replaced, which end when their last requests have.
	Draining int `json:"draining,omitempty"`
	// LastError is the last one since the content was loaded that serves.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Degraded    string    `json:"degraded,omitempty"`
	// Bypassed says why and until when requests pass the plugin by.
	Bypassed string `json:"bypassed,omitempty"`
}

// Server serves the API.
type Server struct {
	cfg      Config
	path     string
	log      *slog.Logger
	http     *http.Server
	listener net.Listener
	wg       sync.WaitGroup

	// Listen returns the socket of that name, which another process may have handed over, or what open opens. It is set before Start.
	Listen func(name string, open func() (net.Listener, error)) (net.Listener, error)
}

// New prepares the API; nothing is opened before Start.
func New(cfg Config, stateDir string, b Backend, log *slog.Logger) *Server {
	s := &Server{cfg: cfg, path: SocketPath(stateDir), log: log, Listen: listenHere}
	s.http = &http.Server{
		Handler:           bounded(patience, s.authorized(routes(b))),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s
}

// Start opens the listener. The caller holds the lock of the state folder, so a socket that is there already is a dead one.
func (s *Server) Start(context.Context) error {
	if s.cfg.Listen == "off" {
		return nil
	}
	var err error
	if s.cfg.Listen == "unix" {
		s.listener, err = s.Listen("admin "+s.path, func() (net.Listener, error) { return listenUnix(s.path) })
	} else {
		s.listener, err = s.Listen("admin "+s.cfg.Listen, func() (net.Listener, error) { return net.Listen("tcp", s.cfg.Listen) })
	}
	if err != nil {
		return fmt.Errorf("admin.listen %s: %w", s.cfg.Listen, err)
	}
	// The goroutine ends when Stop closes the listener.
	s.wg.Go(func() {
		if err := s.http.Serve(netutil.LimitListener(s.listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("admin API ended; edge status and edge reload no longer work", "error", err)
		}
	})
	return nil
}

// listenHere is Listen without another process.
func listenHere(_ string, open func() (net.Listener, error)) (net.Listener, error) { return open() }

func listenUnix(path string) (net.Listener, error) {
	if len(path) > 107 {
		return nil, fmt.Errorf("%s is longer than the 107 bytes a unix socket path may have: set state_dir to a shorter path", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Stop ends the API after the answers in flight.
func (s *Server) Stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.wg.Wait()
	return err
}

// authorized asks for the token when the API is not on a unix socket, whose permissions are the guard.
func (s *Server) authorized(next http.Handler) http.Handler {
	if s.cfg.Listen == "unix" {
		return next
	}
	want := sha256.Sum256([]byte("Bearer " + s.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization"))) // sums are of one length, so that time does not tell that of the token
		if !isLoopback(r.Host) {
			w.Header().Set("Connection", "close")
			answerError(w, http.StatusMisdirectedRequest, errors.New("the admin API answers to loopback addresses and localhost only"))
			return
		}
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("Connection", "close")
			answerError(w, http.StatusUnauthorized, errors.New("send the admin.token of edge.yaml as Authorization: Bearer TOKEN"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func routes(b Backend) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, b.Status()) })
	mux.HandleFunc("GET /workers", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, b.Workers()) })
	mux.HandleFunc("GET /plugins", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, b.Plugins()) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		if err := b.Reload(r.Context()); err != nil {
			answerError(w, http.StatusConflict, err)
			return
		}
		answer(w, http.StatusOK, struct{}{})
	})
	upgradeRoutes(mux, b.Upgrade)
	kvRoutes(mux, b.KV)
	viewRoutes(mux, b.Views)
	wsRoutes(mux, b.WS)
	cacheRoutes(mux, b.Caches)
	mux.Handle("GET /metrics", b.Metrics)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, struct{}{}) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		s := b.Status()
		if !s.Ready {
			answer(w, http.StatusServiceUnavailable, s)
			return
		}
		answer(w, http.StatusOK, s)
	})
	return inJSON(mux)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // fails only when the operator has gone
}

func answerError(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]string{"error": err.Error()})
}
