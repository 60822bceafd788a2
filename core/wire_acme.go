package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-server/edge/core/acme"
	"github.com/edge-server/edge/kv"
)

// certificateStore is the store that http.tls.acme.store names, or nil for files. A store that may drop a key would lose private keys, and
// one that forgets everything at a restart would ask the authority too often, which answers only so many times a week.
func (e *Edge) certificateStore(cfg *Config) (acme.Store, error) {
	a := cfg.HTTP.TLS.ACME
	if a == nil || a.Store == "" {
		return nil, nil
	}
	store, ok := e.stores[a.Store]
	if !ok {
		return nil, fmt.Errorf("http.tls.acme.store: there is no store %q in the kv section", a.Store)
	}
	switch can, driver := store.Can(), store.Stats().Driver; {
	case !can.Has(kv.CanUpdate | kv.CanScan):
		return nil, fmt.Errorf("http.tls.acme.store: the driver %s of %q has no atomic updates or cannot list keys: use redis or boltdb", driver, a.Store)
	case can.Has(kv.CanEvict):
		return nil, fmt.Errorf("http.tls.acme.store: %q (driver %s) may drop keys to make room, and private keys with them: use another store", a.Store, driver)
	case can&(kv.CanShared|kv.CanPersist) == 0:
		return nil, fmt.Errorf("http.tls.acme.store: %q (driver %s) forgets everything at a restart: use redis or boltdb, or no store for files", a.Store, driver)
	}
	return acmeStore{store}, nil
}

// certificateHosts are the hosts of all routes.
func (c *Config) certificateHosts() (hosts []string) {
	for i := range c.HTTP.Routes {
		hosts = append(hosts, c.HTTP.Routes[i].Match.Host...)
	}
	return hosts
}

// acmeStore is acme.Store over a store of the kv section.
type acmeStore struct{ store kv.Store }

// Load implements acme.Store.
func (s acmeStore) Load(ctx context.Context, key string) ([]byte, bool, error) {
	items := []kv.Item{{Key: key}}
	err := s.store.Get(ctx, items)
	return items[0].Value, items[0].Found, err
}

// Save implements acme.Store.
func (s acmeStore) Save(ctx context.Context, key string, value []byte) error {
	return s.store.Set(ctx, []kv.Item{{Key: key, Value: value}})
}

// Remove implements acme.Store.
func (s acmeStore) Remove(ctx context.Context, keys ...string) error {
	items := make([]kv.Item, len(keys))
	for i, key := range keys {
		items[i].Key = key
	}
	return s.store.Delete(ctx, items)
}

// Keys implements acme.Store.
func (s acmeStore) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	for cursor := ""; ; {
		page, next, err := s.store.Scan(ctx, prefix, cursor, 1000)
		if err != nil {
			return nil, err
		}
		keys = append(keys, page...)
		if cursor = next; cursor == "" {
			return keys, nil
		}
	}
}

// errHeld leaves a claim as it is.
var errHeld = errors.New("somebody else holds it")

// Claim implements acme.Store.
func (s acmeStore) Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	err := s.store.Update(ctx, key, func(item kv.Item) (kv.Item, error) {
		if item.Found && string(item.Value) != owner {
			return item, errHeld
		}
		return kv.Item{Key: key, Value: []byte(owner), Expires: time.Now().Add(ttl), Found: true}, nil
	})
	if errors.Is(err, errHeld) {
		return false, nil
	}
	return err == nil, err
}

// Yield implements acme.Store.
func (s acmeStore) Yield(ctx context.Context, key, owner string) error {
	err := s.store.Update(ctx, key, func(item kv.Item) (kv.Item, error) {
		if item.Found && string(item.Value) != owner {
			return item, errHeld
		}
		return kv.Item{Key: key}, nil
	})
	if errors.Is(err, errHeld) {
		return nil
	}
	return err
}
