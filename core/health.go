package core

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// HealthConfig opens a listener for what asks whether the server lives and whether it takes requests: Kubernetes, load balancers.
// It answers as RoadRunner's status plugin does.
type HealthConfig struct {
	// Listen is the address that answers GET /health, /ready and /jobs. Default 127.0.0.1:2114.
	Listen string `koanf:"listen"`

	// UnavailableStatus is the status code for "no". Default 503.
	UnavailableStatus int `koanf:"unavailable_status"`
}

// Defaults is where decoding of a present telemetry.health section starts.
func (HealthConfig) Defaults() any {
	return HealthConfig{Listen: "127.0.0.1:2114", UnavailableStatus: http.StatusServiceUnavailable}
}

func (c HealthConfig) validate() error {
	var errs []error
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || !isPort(port) {
		errs = append(errs, fmt.Errorf("listen: %q is not host:port, such as 127.0.0.1:2114", c.Listen))
	}
	if c.UnavailableStatus < 400 || c.UnavailableStatus > 599 {
		errs = append(errs, fmt.Errorf("unavailable_status: must be between 400 and 599, got %d", c.UnavailableStatus))
	}
	return errors.Join(errs...)
}

// health answers the checks.
//
//	GET /health            200 while workers live; while the server stops, 200 too: it must not be killed for that
//	GET /ready             200 while workers take requests, be they busy or not; 503 while the server starts or stops
//	GET /ready?plugin=http of one pool only; a name that nobody has is left out
//	GET /jobs              [], there are no queues
//
// The body is [{"plugin_name":"http","error_message":"","status_code":200}].
type health struct {
	edge *Edge
	cfg  HealthConfig
	log  *slog.Logger
	http *http.Server
	wg   sync.WaitGroup
}

func (e *Edge) newHealth(cfg HealthConfig) *health {
	h := &health{edge: e, cfg: cfg, log: e.channel("status")}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", h.live)
	mux.HandleFunc("GET /ready", h.ready)
	mux.HandleFunc("GET /jobs", h.jobs)
	h.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelWarn),
	}
	return h
}

// Start opens the address.
func (h *health) Start(context.Context) error {
	listener, err := h.edge.sockets.Listen("health "+h.cfg.Listen, func() (net.Listener, error) { return net.Listen("tcp", h.cfg.Listen) })
	if err != nil {
		return fmt.Errorf("telemetry.health.listen: %w", err)
	}
	h.wg.Go(func() { // ends when Stop closes the listener
		if err := h.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("health listener ended", "address", h.cfg.Listen, "error", err)
		}
	})
	return nil
}

// Stop comes after everything that the checks ask about.
func (h *health) Stop(ctx context.Context) error {
	err := h.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, h.http.Close())
	}
	h.wg.Wait()
	return err
}

// check is one entry of an answer.
type check struct {
	Plugin string `json:"plugin_name"`
	Error  string `json:"error_message"`
	Status int    `json:"status_code"`
}

const shuttingDown = "service is shutting down"

func (h *health) live(w http.ResponseWriter, r *http.Request) {
	if h.edge.life.Err() != nil {
		fmt.Fprint(w, shuttingDown)
		return
	}
	h.answer(w, r, false)
}

func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	if h.edge.life.Err() != nil {
		http.Error(w, shuttingDown, h.cfg.UnavailableStatus)
		return
	}
	if h.edge.draining.Load() {
		http.Error(w, "the server drains", h.cfg.UnavailableStatus)
		return
	}
	h.answer(w, r, !h.edge.ready.Load())
}

func (h *health) jobs(w http.ResponseWriter, _ *http.Request) {
	if h.edge.life.Err() != nil {
		http.Error(w, shuttingDown, h.cfg.UnavailableStatus)
		return
	}
	h.write(w, http.StatusOK, []check{})
}

// answer checks the pools that the request names, or all. starting says that nobody takes requests yet.
func (h *health) answer(w http.ResponseWriter, r *http.Request, starting bool) {
	e := h.edge
	names := r.URL.Query()["plugin"]
	if len(names) == 0 {
		names, _ = e.poolNames(r.Context(), true)
	}
	status, checks := http.StatusOK, []check{}
	for _, name := range names {
		pools := e.poolsNamed(name)
		if name == "ws" && e.hub != nil {
			checks = append(checks, check{Plugin: name, Status: http.StatusOK, Error: e.brokerProblem()}) // it serves on
			continue
		}
		if len(pools) == 0 && !slices.Contains([]string{"rpc"}, name) {
			h.log.Warn("a check asks for a plugin that is not there", "plugin", name)
			continue
		}
		c := check{Plugin: name, Status: http.StatusOK}
		for _, pool := range pools {
			if why := e.poolProblem(pool); why != "" || starting {
				c.Status, c.Error = h.cfg.UnavailableStatus, cmp.Or(why, "the server is starting")
				status = c.Status
			}
		}
		checks = append(checks, c)
	}
	if problem := e.brokerProblem(); problem != "" && len(r.URL.Query()["plugin"]) == 0 {
		checks = append(checks, check{Plugin: "ws", Status: http.StatusOK, Error: problem}) // it serves on
	}
	if len(r.URL.Query()["plugin"]) == 0 {
		checks = append(checks, e.bypassed()...)
	}
	if starting {
		status = h.cfg.UnavailableStatus
	}
	h.write(w, status, checks)
}

// bypassed are the wasm plugins that requests pass by (on_error: bypass). The server serves on.
func (e *Edge) bypassed() (checks []check) {
	for _, p := range e.Plugins() {
		if p.Bypassed != "" {
			checks = append(checks, check{Plugin: "plugins." + p.Name, Status: http.StatusOK, Error: p.Bypassed})
		}
	}
	return checks
}

// poolProblem says why a pool takes no requests, or "". A pool whose workers are all busy takes them.
func (e *Edge) poolProblem(name string) string {
	w := e.world.Load()
	s := w.pools[name].Stats()
	switch {
	case s.Idle+s.Busy > 0 || s.Failures == 0 && e.ready.Load():
		return "" // nothing is wrong: classic and debug pools have no workers of their own
	case s.LastError != "":
		return s.LastError
	}
	return "no worker is ready"
}

func (h *health) write(w http.ResponseWriter, status int, checks []check) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(checks) // an error is the client's going
}
