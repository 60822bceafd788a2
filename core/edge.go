// Package core is the server: it knows every feature and is known by none.
//
// Read config.go first (what there is), then this file (how it is put together), then router.go (where a request goes).
package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/core/upgrade"
	"github.com/edge-server/edge/internal/osproc"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/handover"
	"github.com/edge-server/edge/rpc"
	"github.com/edge-server/edge/wasmhost"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/mercure"
	"github.com/edge-server/edge/ws/pusher"
)

// Options is what New needs beside the configuration.
type Options struct {
	// ConfigPath is the file that Reload reads again, and that messages name. Empty: there is none, Reload is refused.
	ConfigPath string

	// Environ is the environment whose EDGE_ variables are configuration and which workers inherit.
	Environ []string

	// LogOutput is where logs go. Default os.Stderr.
	LogOutput io.Writer

	// RoadRunner makes the server look like RoadRunner to the tools around it. Nil: it looks like itself.
	RoadRunner *RoadRunner

	// Predecessor is the process whose place this one takes. Nil: there is none.
	Predecessor *upgrade.Predecessor

	// Successor says how a process is started that takes the place of this one. Nil: there is no upgrade.
	Successor *upgrade.Options
}

// Edge is a whole server.
type Edge struct {
	opts    Options
	log     *slog.Logger
	level   *slog.LevelVar
	started time.Time

	channels  bool      // whether the parts of the server name their loggers
	accessOut io.Writer // where lines of access-log go; nil when they are records of the log
	logFiles  []*telemetry.File
	rrRecords bool // whether records of requests are RoadRunner's

	lock      *stateLock
	lifecycle lifecycle
	sockets   *upgrade.Sockets
	legacy    *legacy        // what an older process has handed over; nil without one
	replaced  chan struct{}  // closed when a newer process has taken over
	link      *handover.Link // to the process that has, or had, the stores; nil without one
	older     chan struct{}  // closed when the process that this one has replaced has ended; nil without one
	movingMu  sync.Mutex     // guards moving, and mercure and hub against links
	moving    map[string]*moving
	stores    map[string]kv.Store
	drivers   *wasmhost.Host  // the plugins that keep the data of stores; nil without
	rpc       *rpc.Server     // nil without an rpc section
	hub       *ws.Hub         // nil without a ws section
	pusher    *pusher.Server  // nil without a ws.pusher section
	mercure   *mercure.Server // nil without a ws.mercure section
	services  *services.Manager
	http      *httpserver.Server
	systemd   *notifier
	living    sync.WaitGroup // signs of life for systemd
	collector http.Handler
	metrics   *telemetry.AppMetrics
	meters    *meters
	tunnels   *proxy.Tunnels
	traces    *telemetry.Traces // nil without a telemetry.traces section

	// world is what a reload replaces as a whole; table is what a request reads. The table is derived from the world.
	world atomic.Pointer[world]
	table atomic.Pointer[routeTable]
	ready atomic.Bool

	// draining makes checks for readiness fail while the server serves on.
	draining atomic.Bool

	// mu serialises reloads and the stop. compose is held for the short time in which a table is derived from the world and
	// stored; the plugin host takes it from its own goroutine, for which a reload that holds mu may be waiting.
	mu      sync.Mutex
	compose sync.Mutex

	// retired is closed when what reloads have replaced has stopped. mu protects it.
	retired <-chan struct{}

	// life ends when the stop begins, and with it a reload that is under way. patience ends when the stop has no time left,
	// and with it the wait for requests that an earlier reload has left behind.
	life, patience        context.Context
	endLife, losePatience context.CancelFunc
}

// New builds every part that cfg switches on. What can be checked without serving is checked here: certificates, plugins,
// names, users. Nothing runs before Start. On an error nothing is left behind.
func New(ctx context.Context, cfg *Config, opts Options) (*Edge, error) {
	if opts.LogOutput == nil {
		opts.LogOutput = os.Stderr
	}
	e := &Edge{opts: opts, started: time.Now(), sockets: upgrade.NewSockets(), replaced: make(chan struct{})}
	if err := e.newLogger(cfg); err != nil {
		return nil, err
	}
	if err := e.inherit(opts.Predecessor); err != nil {
		return nil, err
	}
	e.systemd = newNotifier(opts.Environ, e.log)
	e.lifecycle.log = e.log
	e.life, e.endLife = context.WithCancel(context.Background())
	e.patience, e.losePatience = context.WithCancel(context.Background())
	e.retired = closedChannel()
	if err := e.build(ctx, cfg); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
		defer cancel()
		return nil, errors.Join(err, e.end(ctx))
	}
	return e, nil
}

// build is the wiring diagram. Parts start in the order in which they stand here and stop in reverse: what a worker needs
// (stores, RPC) is there before it and after it, and nothing accepts requests before everything is ready.
func (e *Edge) build(ctx context.Context, cfg *Config) (err error) {
	if e.lock, err = openStateDir(cfg, e.legacy.stateLock()); err != nil {
		return err
	}

	if err := e.openAccessLog(cfg); err != nil {
		return err
	}

	// How operators look in: admin comes first, so that `edge status` answers during a slow start and a long drain.
	if e.metrics, err = newAppMetrics(cfg); err != nil {
		return err
	}
	e.meters = newMeters(cfg)
	e.collector = telemetry.NewCollector(e.snapshot, e.metrics)
	control := admin.New(cfg.Admin, cfg.StateDir, e.adminBackend(), e.log)
	control.Listen = e.sockets.Listen
	e.lifecycle.add("admin", control.Start, control.Stop)
	if cfg.Telemetry.Metrics != nil {
		metrics := telemetry.NewListener(cfg.Telemetry.Metrics.Listen, e.collector, e.log)
		metrics.Listen = e.sockets.Listen
		e.lifecycle.add("metrics", metrics.Start, metrics.Stop)
	}
	if cfg.Telemetry.Health != nil {
		health := e.newHealth(*cfg.Telemetry.Health)
		e.lifecycle.add("health", health.Start, health.Stop)
	}

	// Last to stop: whatever ends has spans.
	if cfg.Telemetry.Traces != nil {
		e.traces = telemetry.NewTraces(*cfg.Telemetry.Traces, Version, e.channel("otel"))
		e.lifecycle.addSaving("traces", e.traces.Start, e.traces.Stop)
	}

	// Before RPC, which starts and stops them; they run from the time at which RPC answers.
	e.services = e.newServices()

	// The way back: what PHP and plugins may call.
	e.lifecycle.addSaving("plugins of stores", e.startDrivers, e.stopDrivers)
	if e.drivers, err = e.newDrivers(ctx, cfg); err != nil {
		return err
	}
	e.lifecycle.addSaving("stores", startNothing, e.closeStores)
	if err = e.openStores(ctx, cfg); err != nil {
		return err
	}
	if cfg.RPC != nil {
		if e.rpc, err = e.newRPC(cfg); err != nil {
			return err
		}
		e.lifecycle.add("rpc", e.rpc.Start, e.rpc.Stop)
	}

	// What runs beside PHP may be needed by it.
	e.lifecycle.add("services", e.startServices, e.services.Stop)

	// WebSockets through proxies stay when a reload replaces what they came by.
	e.tunnels = proxy.NewTunnels()

	// What answers requests: plugins, PHP pools and the routes over them. A reload replaces these as a whole.
	w, err := e.newWorld(ctx, cfg, nil)
	if err != nil {
		return err
	}
	e.world.Store(w)
	e.lifecycle.add("plugins and workers", e.startWorld, e.stopWorld)

	if cfg.WS != nil {
		if err := e.newWebSockets(cfg); err != nil {
			return err
		}
	}

	// What accepts requests.
	if cfg.HTTP != nil {
		if e.http, err = e.newHTTP(cfg); err != nil {
			return err
		}
		e.lifecycle.add("http", e.http.Start, e.http.Stop)
	}
	e.lifecycle.add("websockets through proxies", startNothing, e.tunnels.Stop)
	if e.hub != nil {
		e.lifecycle.add("websocket connections", startNothing, e.hub.Stop)
	}
	if e.mercure != nil {
		e.lifecycle.add("event streams", startNothing, e.mercure.Disconnect)
	}
	if e.http != nil { // before those are sent away: they come back at once, and must not come by the same connection
		e.lifecycle.add("goodbyes", startNothing, e.http.GoAway)
	}
	return nil
}

// Start returns when every part runs, or with the reason why one does not; then none runs.
func (e *Edge) Start(ctx context.Context) error {
	cfg := e.world.Load().cfg
	if err := e.lifecycle.start(ctx, cfg.ShutdownTimeout); err != nil {
		return errors.Join(err, e.end(context.WithoutCancel(ctx)))
	}
	if err := osproc.ReturnStartPages(); err != nil {
		e.log.Debug("memory of the start stays resident", "error", err)
	}
	if err := e.takeOver(ctx); err != nil {
		return errors.Join(err, e.end(context.WithoutCancel(ctx)))
	}
	e.ready.Store(true)
	e.systemd.tell("READY=1\nMAINPID=" + strconv.Itoa(os.Getpid()))
	e.living.Go(func() { e.systemd.live(e.life, e.alive) }) // ends with the stop
	e.log.Info("edge serves", "version", Version, "pid", os.Getpid(), "addresses", e.addressTexts(), "took", time.Since(e.started).Round(time.Millisecond))
	return nil
}

// Wait blocks until ctx ends, another process has taken the place of this one, or a part fails by itself, whose error it returns.
func (e *Edge) Wait(ctx context.Context) error {
	var failed <-chan error
	if e.http != nil {
		failed = e.http.Failed()
	}
	select {
	case <-ctx.Done():
		return nil
	case <-e.replaced:
		return nil
	case err := <-failed:
		return fmt.Errorf("http: %w", err)
	}
}

// Stop drains: requests in flight finish, then workers stop, then stores close. Past shutdown_timeout, or when ctx ends, it
// goes the hard way; what has to be written still is. It returns when the last part has ended. It may be called twice, and without Start.
func (e *Edge) Stop(ctx context.Context) error {
	timeout := e.world.Load().cfg.ShutdownTimeout
	if e.ready.Swap(false) {
		if e.isReplaced() {
			e.log.Info("edge makes way: requests in flight finish first", "pid", os.Getpid(), "shutdown_timeout", timeout)
		} else {
			e.systemd.tell("STOPPING=1")
			e.log.Info("edge stops: requests in flight finish first", "shutdown_timeout", timeout)
		}
		defer e.log.Info("edge has stopped", "pid", os.Getpid())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return e.end(ctx)
}

// end stops every part, whether it runs or not, and gives the state folder back.
func (e *Edge) end(ctx context.Context) error {
	e.endLife()
	e.living.Wait()
	return errors.Join(e.lifecycle.stop(ctx), e.lock.release())
}

// ServeHTTP is every request's way in, whatever the protocol.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := e.acquireTable()
	defer t.release()
	t.handler.ServeHTTP(w, r)
}

// Address is a URL at which the server answers, and what is spoken there: h1, h2, h2c, h3.
type Address struct {
	URL       string
	Protocols []string
}

func (a Address) String() string { return a.URL + " (" + strings.Join(a.Protocols, ", ") + ")" }

// Addresses lists where the server answers. HTTP/3, which has a UDP socket of its own, is listed with the TCP one of the same port.
func (e *Edge) Addresses() []Address {
	var list []Address
	if e.http == nil {
		return nil
	}
	for _, socket := range e.http.Addresses() {
		i := slices.IndexFunc(list, func(a Address) bool { return a.URL == socket.URL })
		if i < 0 {
			list = append(list, Address{socket.URL, slices.Clone(socket.Protocols)})
			continue
		}
		list[i].Protocols = append(list[i].Protocols, socket.Protocols...)
	}
	return list
}

func (e *Edge) addressTexts() []string {
	texts := []string{}
	for _, a := range e.Addresses() {
		texts = append(texts, a.String())
	}
	return texts
}

// Logger is where the parts of the server log.
func (e *Edge) Logger() *slog.Logger { return e.log }

// Config is the configuration that is in force.
func (e *Edge) Config() *Config { return e.world.Load().cfg }

func closedChannel() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func startNothing(context.Context) error { return nil }
