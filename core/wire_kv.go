package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
	"github.com/edge-server/edge/kv/memcached"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/kv/redis"
	"github.com/edge-server/edge/kv/tiered"
)

// openStores opens every store of the kv section, those that plugins of others use first. A driver is one more case here.
func (e *Edge) openStores(ctx context.Context, cfg *Config) error {
	e.stores = map[string]kv.Store{}
	files := boltdb.NewFiles(e.log)
	for _, name := range cfg.storesInOrder() {
		c := cfg.KV[name]
		var store kv.Store
		var err error
		switch c.Driver {
		case "memory":
			store, err = e.openMoving(ctx, cfg, name, func(context.Context) (kv.Store, error) { return memory.New(e.memoryConfig(name, c)) })
		case "boltdb":
			store, err = e.openMoving(ctx, cfg, name, func(ctx context.Context) (kv.Store, error) {
				return boltdb.Open(ctx, files, name, boltConfig(cfg, c))
			})
		case "redis":
			store, err = redis.Open(ctx, c.ForRedis(name), e.log)
		case "memcached":
			store, err = memcached.Open(ctx, c.ForMemcached(name), e.log)
		case "wasm":
			store, err = e.openMoving(ctx, cfg, name, func(ctx context.Context) (kv.Store, error) { return e.openDriver(ctx, c) })
		default:
			err = fmt.Errorf("there is no driver %q", c.Driver)
		}
		if err == nil {
			store, err = frontStore(name, c, store)
		}
		if err != nil {
			return fmt.Errorf("open store %q: %w", name, err)
		}
		e.stores[name] = store
	}
	return nil
}

// frontStore puts over a driver what every store has: a namespace, the near tier, tags, limits, metrics.
func frontStore(name string, c kv.Config, driver kv.Store) (kv.Store, error) {
	if c.Driver != "redis" && c.Driver != "memcached" { // these put it on themselves
		driver = kv.WithPrefix(driver, c.Prefix)
	}
	if c.LocalCache != nil {
		near, err := memory.New(kv.MemoryConfig{MaxSize: c.LocalCache.MaxSize, Mode: kv.ModeCache})
		if err != nil {
			return nil, err
		}
		driver = tiered.New(driver, near, *c.LocalCache)
	}
	return kv.Wrap(name, driver, c.Limits), nil
}

func (e *Edge) memoryConfig(name string, c kv.Config) kv.MemoryConfig {
	cfg := c.Memory()
	cfg.Logger = e.log.With("store", name)
	return cfg
}

func (e *Edge) closeStores(ctx context.Context) error {
	if e.older != nil && e.isReplaced() { // what is asked for there goes through this process to the newest one
		select {
		case <-e.older:
		case <-ctx.Done():
		}
	}
	var errs []error
	for name, store := range e.stores {
		if err := store.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close store %q: %w", name, err))
		}
	}
	if e.link != nil {
		errs = append(errs, e.link.Close())
	}
	return errors.Join(errs...)
}
