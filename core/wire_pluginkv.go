package core

import (
	"context"
	"errors"
	"time"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// pluginStore returns a store as plugins use it, nil without one of that name.
func (e *Edge) pluginStore(name string) wasmhost.Store {
	if store, ok := e.stores[name]; ok {
		return pluginStore{store}
	}
	return nil
}

// PluginStore is a store as plugins use it, for those who run one without a server.
func PluginStore(s kv.Store) wasmhost.Store { return pluginStore{s} }

// pluginStore lends a store to plugins. What kv.Store does not have, conditional writes, it builds from Update.
type pluginStore struct{ kv.Store }

var _ wasmhost.Store = pluginStore{}

// guestError gives an error of a store the number that guests know it by.
func guestError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kv.ErrUnsupported):
		return errors.Join(abi.ErrUnsupported, err)
	case errors.Is(err, kv.ErrFull):
		return errors.Join(abi.ErrTooLarge, err)
	case errors.Is(err, kv.ErrLimit):
		return errors.Join(abi.ErrTooLarge, err)
	case errors.Is(err, kv.ErrClosed), errors.Is(err, kv.ErrUnavailable):
		return errors.Join(abi.ErrUnavailable, err)
	case errors.Is(err, kv.ErrNumber), errors.Is(err, kv.ErrKind), errors.Is(err, kv.ErrCursor):
		return errors.Join(abi.ErrInvalid, err)
	}
	return err
}

func expiry(ttl time.Duration) time.Time {
	if ttl == 0 {
		return time.Time{}
	}
	return time.Now().Add(ttl)
}

// Get implements wasmhost.Store. The version is that of the content: a key that holds the same bytes again has the same one.
func (s pluginStore) Get(ctx context.Context, key string) (e wasmhost.Entry, err error) {
	items := [1]kv.Item{{Key: key}}
	if err := s.Store.Get(ctx, items[:]); err != nil || !items[0].Found {
		return e, guestError(err)
	}
	e = wasmhost.Entry{Found: true, Value: items[0].Value, Version: kv.Version(items[0].Value)}
	if !s.Store.Can().Has(kv.CanTTL) {
		return e, nil
	}
	if err := s.Store.TTL(ctx, items[:]); err != nil {
		return e, guestError(err)
	}
	if end := items[0].Expires; !end.IsZero() {
		e.TTL = max(time.Until(end), time.Millisecond)
	}
	return e, nil
}

// update changes one key in one step.
func (s pluginStore) update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	return guestError(s.Store.Update(ctx, key, change))
}

// Set implements wasmhost.Store.
func (s pluginStore) Set(ctx context.Context, key string, value []byte, o wasmhost.SetOptions) error {
	if o.Flags == 0 {
		return guestError(s.Store.Set(ctx, []kv.Item{{Key: key, Value: value, Expires: expiry(o.TTL)}}))
	}
	return s.update(ctx, key, func(old kv.Item) (kv.Item, error) {
		switch {
		case o.Flags&abi.SetNX != 0 && old.Found:
			return old, abi.ErrExists
		case o.Flags&abi.SetXX != 0 && !old.Found, o.Flags&abi.SetIfVersion != 0 && (!old.Found || kv.Version(old.Value) != o.Version):
			return old, abi.ErrCondition
		}
		changed := kv.Item{Key: key, Value: value, Found: true, Expires: expiry(o.TTL)}
		if o.Flags&abi.SetKeepTTL != 0 && old.Found {
			changed.Expires = old.Expires
		}
		return changed, nil
	})
}

// Delete implements wasmhost.Store.
func (s pluginStore) Delete(ctx context.Context, key string, version int64) error {
	if version == 0 {
		return guestError(s.Store.Delete(ctx, []kv.Item{{Key: key}}))
	}
	return s.update(ctx, key, func(old kv.Item) (kv.Item, error) {
		if !old.Found || kv.Version(old.Value) != version {
			return old, abi.ErrCondition
		}
		return kv.Item{Key: key}, nil
	})
}

// Expire implements wasmhost.Store.
func (s pluginStore) Expire(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	items := [1]kv.Item{{Key: key, Expires: expiry(ttl)}}
	err := s.Store.Expire(ctx, items[:])
	return items[0].Found, guestError(err)
}

// Incr implements wasmhost.Store: a counter is a decimal number, as everybody else who reads it expects.
func (s pluginStore) Incr(ctx context.Context, key string, delta int64, ttl time.Duration) (int64, error) {
	n, err := s.Store.Increment(ctx, key, delta, expiry(ttl))
	return n, guestError(err)
}

// Scan implements wasmhost.Store.
func (s pluginStore) Scan(ctx context.Context, prefix string, cursor []byte, most int) ([]string, []byte, error) {
	keys, next, err := s.Store.Scan(ctx, prefix, string(cursor), most)
	if err != nil || next == "" {
		return keys, nil, guestError(err)
	}
	return keys, []byte(next), nil
}
