package core

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/wasmhost"
)

// snapshot gathers the Stats of every part; telemetry turns it into metrics.
func (e *Edge) snapshot() telemetry.Snapshot {
	w := e.world.Load()
	s := telemetry.Snapshot{Version: Version, Ready: e.ready.Load(), PHP: map[string]php.Stats{}, KV: map[string]kv.Stats{}, KVOps: map[string]kv.Metrics{}}
	for name, pool := range w.pools {
		s.PHP[name] = pool.Stats()
	}
	if w.plugins != nil {
		s.Plugins = w.plugins.Stats()
	}
	if e.drivers != nil {
		s.Plugins = append(s.Plugins, e.drivers.Stats()...)
	}
	for name, store := range e.stores {
		s.KV[name] = store.Stats()
		if front, ok := kv.As[*kv.Front](store); ok {
			s.KVOps[name] = front.Metrics()
		}
	}
	if e.rpc != nil {
		stats := e.rpc.Stats()
		s.RPC = &stats
	}
	if e.hub != nil {
		stats := e.hub.Stats()
		s.WS = &stats
	}
	if e.pusher != nil {
		s.Pusher = e.pusher.Stats()
	}
	if e.mercure != nil {
		stats := e.mercure.Stats()
		s.Mercure = &stats
	}
	s.Proxies, s.Guards = w.proxyStats(), w.guards.stats(w)
	if e.traces != nil {
		stats := e.traces.Stats()
		s.Traces = &stats
	}
	s.Caches = w.cacheStats()
	s.Uptime, s.Routes, s.Services = time.Since(e.started), e.meters.stats(), e.services.Stats()
	if metrics := w.cfg.Telemetry.Metrics; metrics.roadRunner() {
		s.Names, s.Statuses, s.Workers = metrics.Names, e.meters.statuses.Stats(), map[string][]php.WorkerInfo{}
		for name, pool := range w.pools {
			s.Workers[name] = pool.Workers()
		}
	}
	if e.http != nil {
		stats := e.http.Stats()
		s.HTTP = &stats
	}
	return s
}

// adminBackend is what the admin API offers.
func (e *Edge) adminBackend() admin.Backend {
	return admin.Backend{Status: e.status, Workers: e.Workers, Plugins: e.Plugins, Reload: e.ReloadFile, Upgrade: e.upgradeBy, Metrics: e.collector, KV: adminStores{e}, Views: e.adminViews(), WS: adminSockets{e}, Caches: adminCaches{e}}
}

func (e *Edge) status() admin.Status {
	return admin.Status{
		Version: Version, PID: os.Getpid(), Started: e.started, Config: e.opts.ConfigPath,
		Addresses: e.addressTexts(), Ready: e.ready.Load() && !e.draining.Load(), Degraded: e.degraded(),
	}
}

// degraded lists what serves on, but not as configured.
func (e *Edge) degraded() []string {
	var why []string
	if e.draining.Load() {
		why = append(why, "it drains: checks are told that it is not ready (edge drain --undo)")
	}
	for _, p := range e.Plugins() {
		if p.Degraded != "" {
			why = append(why, "plugin "+p.Name+": "+p.Degraded)
		}
		if p.Bypassed != "" {
			why = append(why, "plugin "+p.Name+": "+p.Bypassed)
		}
	}
	if problem := e.brokerProblem(); problem != "" {
		why = append(why, problem)
	}
	w := e.world.Load()
	for _, name := range slices.Sorted(maps.Keys(w.pools)) {
		s := w.pools[name].Stats()
		if s.Failures > 0 {
			why = append(why, fmt.Sprintf("php pool %s: %d boots failed in a row: %s", name, s.Failures, s.LastError))
		}
		if s.ReloadError != "" {
			why = append(why, fmt.Sprintf("php pool %s: serves the code from before a reload that failed: %s", name, s.ReloadError))
		}
	}
	return why
}

// Workers lists the PHP workers of every pool.
func (e *Edge) Workers() []admin.Pool {
	pools := []admin.Pool{}
	w := e.world.Load()
	for _, name := range slices.Sorted(maps.Keys(w.pools)) {
		s := w.pools[name].Stats()
		pool := admin.Pool{Name: name, Requests: s.Requests, Queued: s.Queued, Rejected: s.Rejected(), Workers: []admin.Worker{}}
		for _, worker := range w.pools[name].Workers() {
			pool.Workers = append(pool.Workers, admin.Worker{
				PID: worker.PID, State: worker.State, Requests: worker.Jobs, Age: worker.Age, Memory: worker.RSS,
			})
		}
		pools = append(pools, pool)
	}
	return pools
}

// Plugins lists the wasm plugins.
func (e *Edge) Plugins() []admin.Plugin {
	plugins := []admin.Plugin{}
	var stats []wasmhost.PluginStats
	for _, host := range []*wasmhost.Host{e.world.Load().plugins, e.drivers} {
		if host != nil {
			stats = append(stats, host.Stats()...)
		}
	}
	for _, p := range stats {
		plugins = append(plugins, admin.Plugin{
			Name: p.Name, File: p.File, Generation: p.Generation, Instances: p.Idle + p.Busy, Requests: p.Requests,
			Errors: p.Errors, Time: p.InGuest, P50: p.P50, P99: p.P99, Fuel: p.Fuel.P50, Memory: p.Memory,
			Draining: p.Draining, Calls: p.Fuel.Calls, LastError: p.LastError, LastErrorAt: p.LastErrorAt, Degraded: p.Degraded, Bypassed: p.Bypassed,
		})
	}
	return plugins
}
