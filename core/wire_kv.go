package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

// openStores opens every store of the kv section. A driver is one more case here.
func openStores(cfg *Config) (map[string]kv.Store, error) {
	stores := map[string]kv.Store{}
	for _, name := range slices.Sorted(maps.Keys(cfg.KV)) {
		c := cfg.KV[name]
		var store kv.Store
		var err error
		switch c.Driver {
		case "memory":
			store, err = memory.New(c.Memory())
		default:
			err = fmt.Errorf("there is no driver %q", c.Driver)
		}
		if err != nil {
			return stores, fmt.Errorf("open store %q: %w", name, err)
		}
		stores[name] = store
	}
	return stores, nil
}

func (e *Edge) closeStores(ctx context.Context) error {
	var errs []error
	for name, store := range e.stores {
		if err := store.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close store %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
