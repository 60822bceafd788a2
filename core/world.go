package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/wasmhost"
)

// world is what a configuration sets up and a reload replaces: plugins and PHP pools. Objects whose section did not change are
// carried over from one world to the next.
type world struct {
	cfg     *Config
	plugins *wasmhost.Host // nil without a plugins section
	pools   map[string]*php.Pool

	// inFlight counts the requests that run through routes of this world.
	inFlight atomic.Int64
}

// newWorld loads the plugins and prepares the pools of cfg.
func (e *Edge) newWorld(ctx context.Context, cfg *Config) (*world, error) {
	w := &world{cfg: cfg, pools: map[string]*php.Pool{}}
	var err error
	if cfg.Plugins != nil {
		if w.plugins, err = e.newPlugins(ctx, cfg); err != nil {
			return nil, err
		}
	}
	for name, c := range cfg.PHP {
		pool, err := e.newPool(name, c, cfg)
		if err != nil {
			return nil, errors.Join(err, w.stop(ctx))
		}
		w.pools[name] = pool
	}
	return w, nil
}

// startWorld boots the first world and composes its routes.
func (e *Edge) startWorld(ctx context.Context) error {
	w := e.world.Load()
	if w.plugins != nil {
		if err := w.plugins.Start(ctx); err != nil {
			return err
		}
	}
	if err := startPools(ctx, w.pools); err != nil {
		return err
	}
	return e.recompose()
}

func (e *Edge) stopWorld(ctx context.Context) error {
	e.mu.Lock() // a reload that is under way ends first
	defer e.mu.Unlock()
	err := e.world.Load().stop(ctx)
	e.retiring.Wait()
	return err
}

// stop ends the pools, then the plugins. Parts that never started are closed too.
func (w *world) stop(ctx context.Context) error {
	errs := []error{stopPools(ctx, slices.Collect(maps.Values(w.pools)))}
	if w.plugins != nil {
		errs = append(errs, w.plugins.Stop(ctx))
	}
	return errors.Join(errs...)
}

// startPools boots all pools at once; when one fails, those that boot are stopped.
func startPools(ctx context.Context, pools map[string]*php.Pool) error {
	var wg sync.WaitGroup
	errs := make([]error, len(pools))
	for i, name := range slices.Sorted(maps.Keys(pools)) {
		wg.Go(func() {
			if err := pools[name].Start(ctx); err != nil {
				errs[i] = fmt.Errorf("php pool %q: %w", name, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, stopPools(context.WithoutCancel(ctx), slices.Collect(maps.Values(pools))))
	}
	return nil
}

func stopPools(ctx context.Context, pools []*php.Pool) error {
	var wg sync.WaitGroup
	errs := make([]error, len(pools))
	for i, p := range pools {
		wg.Go(func() { errs[i] = p.Stop(ctx) })
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
