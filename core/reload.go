package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/php"
)

// ReloadFile reads edge.yaml again and applies it.
func (e *Edge) ReloadFile(ctx context.Context) error {
	if e.opts.ConfigPath == "" {
		return errors.New("this edge was started without a file to reload")
	}
	cfg, err := Load(e.opts.ConfigPath, e.opts.Environ)
	if err == nil {
		err = e.Reload(ctx, cfg)
	}
	if err != nil {
		e.log.Error("reload refused, the previous configuration serves on", "error", err)
		return fmt.Errorf("reload refused, the previous configuration serves on: %w", err)
	}
	return nil
}

// Reload puts cfg in force in two phases. First everything new is prepared beside what serves: changed plugins compile, changed
// pools boot, pools that did not change boot new workers on the code as it is now. If all of that succeeds, one pointer
// swap sends new requests there; what is no longer used ends when its last request has. If anything fails, the old keeps serving.
func (e *Edge) Reload(ctx context.Context, cfg *Config) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ready.Load() {
		return errors.New("edge is starting or stopping: try again when it serves")
	}
	old := e.world.Load()
	if keys := needsRestart(old.cfg, cfg); len(keys) > 0 {
		return fmt.Errorf("needs a restart: %s; nothing was changed", strings.Join(keys, ", "))
	}

	began := time.Now()
	next := &world{cfg: cfg, pools: map[string]*php.Pool{}}
	if err := e.prepare(ctx, old, next); err != nil {
		return errors.Join(err, stopUnshared(context.WithoutCancel(ctx), next, old))
	}
	if err := e.commit(old, next); err != nil {
		return errors.Join(err, stopUnshared(context.WithoutCancel(ctx), next, old))
	}
	e.log.Info("configuration reloaded", "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// prepare fills next: objects of unchanged sections are carried over, the others are made new and started.
func (e *Edge) prepare(ctx context.Context, old, next *world) error {
	var fresh []*php.Pool
	started := map[string]*php.Pool{}
	for name, c := range next.cfg.PHP {
		if pool, there := old.pools[name]; there && reflect.DeepEqual(c, old.cfg.PHP[name]) {
			next.pools[name] = pool
			fresh = append(fresh, pool)
			continue
		}
		pool, err := e.newPool(name, c, next.cfg)
		if err != nil {
			return err
		}
		next.pools[name], started[name] = pool, pool
	}

	switch {
	case next.cfg.Plugins == nil:
	case old.plugins != nil && reflect.DeepEqual(old.cfg.pluginsConfig(), next.cfg.pluginsConfig()):
		next.plugins = old.plugins
	default:
		host, err := e.newPlugins(ctx, next.cfg)
		if err != nil {
			return err
		}
		next.plugins = host
		if err := host.Start(ctx); err != nil {
			return fmt.Errorf("plugins: %w", err)
		}
	}
	if err := startPools(ctx, started); err != nil {
		return err
	}
	if _, err := e.compileRoutes(next); err != nil {
		return err
	}

	// Last, what takes effect at once: unchanged sections look at the world again.
	if next.plugins != nil && next.plugins == old.plugins {
		if err := next.plugins.Reload(ctx); err != nil {
			return fmt.Errorf("plugins: %w", err)
		}
	}
	for _, pool := range fresh {
		if err := pool.Reload(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commit swaps worlds, then lets the old one drain before what only it uses is stopped.
func (e *Edge) commit(old, next *world) error {
	e.compose.Lock()
	defer e.compose.Unlock()
	table, err := e.compileRoutes(next)
	if err != nil {
		return err
	}
	e.world.Store(next)
	e.table.Store(table)
	e.level.Set(next.cfg.Log.SlogLevel())

	// Ends when the last request of the old world has, or after shutdown_timeout. stopWorld waits for it. Worlds retire one
	// after the other: an older one may still use what this one hands on.
	e.retiring.Go(func() {
		e.retire.Lock()
		defer e.retire.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), next.cfg.ShutdownTimeout)
		defer cancel()
		old.drained(ctx)
		if err := stopUnshared(ctx, old, next); err != nil {
			e.log.Warn("what the reload replaced did not stop cleanly", "error", err)
		}
	})
	return nil
}

// stopUnshared stops what w has and other has not.
func stopUnshared(ctx context.Context, w, other *world) error {
	own := &world{pools: map[string]*php.Pool{}}
	if w.plugins != other.plugins {
		own.plugins = w.plugins
	}
	for name, pool := range w.pools {
		if pool != other.pools[name] {
			own.pools[name] = pool
		}
	}
	return own.stop(ctx)
}

// needsRestart names the keys whose change a reload refuses: they hold sockets or data that people would lose.
func needsRestart(old, next *Config) []string {
	var keys []string
	check := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			keys = append(keys, key)
		}
	}
	check("state_dir", old.StateDir, next.StateDir)
	check("log.format", old.Log.Format, next.Log.Format)
	check("admin", old.Admin, next.Admin)
	check("telemetry", old.Telemetry, next.Telemetry)
	check("rpc", old.RPC, next.RPC)
	for _, name := range slices.Sorted(maps.Keys(union(old.KV, next.KV))) {
		a, inOld := old.KV[name]
		b, inNext := next.KV[name]
		if inOld != inNext || !reflect.DeepEqual(a, b) {
			keys = append(keys, "kv."+name)
		}
	}
	if (old.HTTP == nil) != (next.HTTP == nil) {
		return append(keys, "http")
	}
	if old.HTTP != nil {
		check("http.listen", old.HTTP.Listen, next.HTTP.Listen)
		check("http.tls", old.HTTP.TLS, next.HTTP.TLS)
		check("http.limits", old.HTTP.Limits, next.HTTP.Limits)
	}
	return keys
}

func union[V any](a, b map[string]V) map[string]V {
	u := maps.Clone(a)
	if u == nil {
		u = map[string]V{}
	}
	maps.Copy(u, b)
	return u
}
