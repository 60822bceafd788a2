package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/core/ratelimit"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/wasmhost"
	"github.com/edge-server/edge/ws/raw"
)

// world is what a configuration sets up and a reload replaces: plugins, PHP pools and who gets the events of WebSockets. Objects whose section did not change are
// carried over from one world to the next.
type world struct {
	cfg     *Config
	plugins *wasmhost.Host // nil without a plugins section
	pools   map[string]*php.Pool
	proxies []*proxy.Proxy // of the routes; nil where the target is another
	limits  map[string]*ratelimit.Limit
	guards  *guards
	caches  map[string]*httpcache.Cache
	raw     map[string]*raw.App

	// inFlight counts the requests that run through routes of this world.
	inFlight atomic.Int64
}

// newWorld loads the plugins and prepares the pools of cfg, except for what it carries over from old, which is nil at the start.
// Nothing of it runs yet. The error has every plugin and pool that is wrong.
func (e *Edge) newWorld(ctx context.Context, cfg *Config, old *world) (*world, error) {
	if old == nil {
		old = &world{}
	}
	w := &world{cfg: cfg, pools: map[string]*php.Pool{}, limits: e.newLimits(cfg, old)}
	var errs []error
	switch {
	case cfg.Plugins == nil:
	case old.plugins != nil && reflect.DeepEqual(old.cfg.pluginsConfig(), cfg.pluginsConfig()):
		w.plugins = old.plugins
	default:
		host, err := e.newPlugins(ctx, cfg)
		w.plugins, errs = host, append(errs, err)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.PHP)) {
		if pool, there := old.pools[name]; there && reflect.DeepEqual(old.cfg.PHP[name], cfg.PHP[name]) {
			w.pools[name] = pool
			continue
		}
		pool, err := e.newPool(name, cfg.PHP[name], cfg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.pools[name] = pool
	}
	guards, err := e.newGuards(cfg, old)
	w.guards, errs = guards, append(errs, err)
	caches, err := e.newCaches(cfg, old)
	w.caches, errs = caches, append(errs, err)
	errs = append(errs, e.newProxies(w, old))
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(cfg.located(err), w.without(old).stop(context.WithoutCancel(ctx)))
	}
	return w, nil
}

// without returns what w has and other has not.
func (w *world) without(other *world) *world {
	own := &world{cfg: w.cfg, pools: map[string]*php.Pool{}}
	if w.plugins != other.plugins {
		own.plugins = w.plugins
	}
	for name, pool := range w.pools {
		if pool != other.pools[name] {
			own.pools[name] = pool
		}
	}
	own.proxies, own.caches = w.proxiesWithout(other), w.cachesWithout(other)
	return own
}

// start returns when the plugins' files are watched and all workers are ready. When it fails, what it started is left to stop.
func (w *world) start(ctx context.Context) error {
	if w.plugins != nil {
		if err := w.plugins.Start(ctx); err != nil {
			return fmt.Errorf("plugins: %w", err)
		}
	}
	w.startProxies()
	pools := slices.Collect(maps.Values(w.pools))
	return eachPool(pools, func(p *php.Pool) error { return p.Start(ctx) })
}

// startWorld boots the first world and composes its routes.
func (e *Edge) startWorld(ctx context.Context) error {
	if err := e.world.Load().start(ctx); err != nil {
		return err
	}
	return e.recompose()
}

func (e *Edge) stopWorld(ctx context.Context) error {
	e.mu.Lock() // a reload that is under way ends first: its time was over when the stop began
	defer e.mu.Unlock()
	defer context.AfterFunc(ctx, e.losePatience)()
	err := e.world.Load().stop(ctx)
	<-e.retired
	return err
}

// stop ends the pools, then the plugins. Parts that never started are closed too.
func (w *world) stop(ctx context.Context) error {
	pools := slices.Collect(maps.Values(w.pools))
	errs := []error{w.stopCaches(ctx), eachPool(pools, func(p *php.Pool) error { return p.Stop(ctx) })}
	errs = append(errs, w.stopProxies(ctx))
	if w.plugins != nil {
		errs = append(errs, w.plugins.Stop(ctx))
	}
	return errors.Join(errs...)
}

// eachPool does something with all pools at once.
func eachPool(pools []*php.Pool, do func(*php.Pool) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(pools))
	for i, p := range pools {
		wg.Go(func() { errs[i] = do(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// acquireTable returns the current table and counts the request: a reload stops what an old world uses when its last request
// has ended.
func (e *Edge) acquireTable() *routeTable {
	for {
		t := e.table.Load()
		t.world.inFlight.Add(1)
		if t.world == e.table.Load().world {
			return t
		}
		t.release() // replaced between the two: the old world may have drained already
	}
}

func (t *routeTable) release() { t.world.inFlight.Add(-1) }

// drained returns when no request runs through w, or ctx ends.
func (w *world) drained(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for w.inFlight.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// recompose builds the routes of the current world anew, after its set of plugins has changed.
func (e *Edge) recompose() error {
	e.compose.Lock()
	defer e.compose.Unlock()
	t, err := e.compileRoutes(e.world.Load())
	if err != nil {
		return err
	}
	e.table.Store(t)
	return nil
}
