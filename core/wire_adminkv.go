package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
)

// adminStores shows the stores to `edge kv`.
type adminStores struct{ edge *Edge }

var _ admin.Stores = adminStores{}

// List implements admin.Stores.
func (a adminStores) List() []admin.KVStore {
	list := []admin.KVStore{}
	for _, name := range slices.Sorted(maps.Keys(a.edge.stores)) {
		s := a.edge.stores[name].Stats()
		list = append(list, admin.KVStore{
			Name: name, Driver: s.Driver, Counts: s.Counts, Keys: s.Keys, Bytes: s.Bytes, MaxBytes: s.MaxBytes, Hits: s.Hits, Misses: s.Misses,
			Sets: s.Sets, Refused: s.Refused, Expired: s.Expired, Evicted: s.Evicted,
		})
	}
	return list
}

// store finds a store by name.
func (a adminStores) store(name string) (kv.Store, error) {
	if s, ok := a.edge.stores[name]; ok {
		return s, nil
	}
	have := "the kv section of edge.yaml has none"
	if names := slices.Sorted(maps.Keys(a.edge.stores)); len(names) > 0 {
		have = "there are: " + strings.Join(names, ", ")
	}
	return nil, &admin.KVError{Status: http.StatusBadRequest, Err: fmt.Errorf("no store is called %q; %s", name, have)}
}

// with runs do on a store, and gives its error a status.
func (a adminStores) with(name string, do func(kv.Store) error) error {
	s, err := a.store(name)
	if err != nil {
		return err
	}
	err = do(s)
	for sentinel, status := range map[error]int{
		kv.ErrUnsupported: http.StatusNotImplemented, kv.ErrFull: http.StatusInsufficientStorage, kv.ErrLimit: http.StatusRequestEntityTooLarge,
		kv.ErrClosed: http.StatusServiceUnavailable, kv.ErrUnavailable: http.StatusServiceUnavailable, kv.ErrKind: http.StatusUnprocessableEntity,
	} {
		if errors.Is(err, sentinel) {
			return &admin.KVError{Status: status, Err: fmt.Errorf("store %q (driver %s): %w", name, s.Stats().Driver, err)}
		}
	}
	if err != nil {
		return fmt.Errorf("store %q: %w", name, err)
	}
	return nil
}

// Get implements admin.Stores. The deadline is left out where the driver does not tell it.
func (a adminStores) Get(ctx context.Context, store, key string) (item admin.KVItem, err error) {
	err = a.with(store, func(s kv.Store) error {
		items, tags, err := getTagged(ctx, s, key)
		if err != nil {
			return err
		}
		item = admin.KVItem{Key: key, Value: items[0].Value, Found: items[0].Found, Tags: tags}
		if !item.Found {
			if item.Members, err = membersOf(ctx, s, key); err != nil {
				return err
			}
			item.Found = len(item.Members) > 0
		}
		if !item.Found || !s.Can().Has(kv.CanTTL) {
			return nil
		}
		err = s.TTL(ctx, items)
		item.Expires = items[0].Expires
		return err
	})
	return item, err
}

// getTagged gets one item, and its tags where the store has such.
func getTagged(ctx context.Context, s kv.Store, key string) ([]kv.Item, []string, error) {
	items := []kv.Item{{Key: key}}
	if front, ok := kv.As[*kv.Front](s); ok {
		tags, err := front.GetTagged(ctx, &items[0])
		return items, tags, err
	}
	return items, nil, s.Get(ctx, items)
}

// membersOf are those of a sorted set; none when the key is something else, such as a value whose tags were invalidated.
func membersOf(ctx context.Context, s kv.Store, key string) ([]admin.KVMember, error) {
	if !s.Can().Has(kv.CanSorted) {
		return nil, nil
	}
	ranked, err := s.ZRange(ctx, key, kv.Span{Stop: -1})
	if errors.Is(err, kv.ErrKind) {
		return nil, nil
	}
	members := make([]admin.KVMember, len(ranked))
	for i, r := range ranked {
		members[i] = admin.NewKVMember(r.Member, r.Score)
	}
	return members, err
}

// TTL implements admin.Stores.
func (a adminStores) TTL(ctx context.Context, store, key string) (item admin.KVItem, err error) {
	err = a.with(store, func(s kv.Store) error {
		items := []kv.Item{{Key: key}}
		err := s.TTL(ctx, items)
		item = admin.KVItem{Key: key, Expires: items[0].Expires, Found: items[0].Found}
		return err
	})
	return item, err
}

// Set implements admin.Stores.
func (a adminStores) Set(ctx context.Context, store string, items []admin.KVItem) error {
	stored, unsure := 0, false
	err := a.with(store, func(s kv.Store) error {
		batch := make([]kv.Item, 0, len(items))
		front, ok := kv.As[*kv.Front](s)
		for i := range items {
			item := kv.Item{Key: items[i].Key, Value: items[i].Value, Expires: items[i].Expires}
			if !ok || !s.Can().Has(kv.CanAdd) {
				items[i].Tags = nil
			}
			var err error
			switch {
			case len(items[i].Members) > 0:
				if items[i].Found = s.Can().Has(kv.CanSorted); !items[i].Found {
					continue
				}
				err = setSorted(ctx, s, item, items[i].Members)
			case len(items[i].Tags) == 0:
				batch = append(batch, item)
				continue
			default:
				err = front.SetTagged(ctx, item, items[i].Tags)
			}
			if err != nil {
				return err
			}
			stored++
		}
		if len(batch) == 0 {
			return nil
		}
		err := s.Set(ctx, batch)
		var at kv.ItemError
		if unsure = err != nil && !errors.As(err, &at); !unsure {
			stored += at.At
		}
		return err
	})
	if err == nil {
		return nil
	}
	failed := &admin.KVError{Status: http.StatusInternalServerError, Err: err}
	errors.As(err, &failed)
	failed.Stored, failed.Unsure = stored, unsure
	return failed
}

// setSorted puts a sorted set in the place of what is there.
func setSorted(ctx context.Context, s kv.Store, item kv.Item, members []admin.KVMember) error {
	if err := s.Delete(ctx, []kv.Item{{Key: item.Key}}); err != nil {
		return err
	}
	for part := range slices.Chunk(members, 1000) {
		ranked := make([]kv.Ranked, len(part))
		for i, m := range part {
			ranked[i] = kv.Ranked{Member: m.String(), Score: m.Score}
		}
		if _, err := s.ZAdd(ctx, item.Key, ranked); err != nil {
			return err
		}
	}
	if item.Expires.IsZero() {
		return nil
	}
	return s.Expire(ctx, []kv.Item{item})
}

// Add implements admin.Stores.
func (a adminStores) Add(ctx context.Context, store string, item admin.KVItem) (stored bool, err error) {
	err = a.with(store, func(s kv.Store) error {
		items := []kv.Item{{Key: item.Key, Value: item.Value, Expires: item.Expires}}
		err := s.Add(ctx, items)
		stored = err == nil && !items[0].Found
		return err
	})
	return stored, err
}

// Expire implements admin.Stores.
func (a adminStores) Expire(ctx context.Context, store, key string, expires time.Time) (found bool, err error) {
	err = a.with(store, func(s kv.Store) error {
		items := []kv.Item{{Key: key, Expires: expires}}
		err := s.Expire(ctx, items)
		found = items[0].Found
		return err
	})
	return found, err
}

// Delete implements admin.Stores. Which keys were there is asked first: not every driver tells with the delete.
func (a adminStores) Delete(ctx context.Context, store string, keys []string) (deleted int, err error) {
	err = a.with(store, func(s kv.Store) error {
		items := make([]kv.Item, len(keys))
		for i, k := range keys {
			items[i].Key = k
		}
		_ = s.Has(ctx, items) // one that is damaged is an error here, and can be deleted all the same
		there := make([]bool, len(items))
		for i := range items {
			there[i], items[i].Found = items[i].Found, false
		}
		if err := s.Delete(ctx, items); err != nil {
			return err
		}
		for i := range items {
			if there[i] || items[i].Found {
				deleted++
			}
		}
		return nil
	})
	return deleted, err
}

// Clear implements admin.Stores.
func (a adminStores) Clear(ctx context.Context, store string) error {
	return a.with(store, func(s kv.Store) error { return s.Clear(ctx) })
}

// Scan implements admin.Stores.
func (a adminStores) Scan(ctx context.Context, store, prefix, cursor string, limit int) (keys []string, next string, err error) {
	err = a.with(store, func(s kv.Store) (err error) {
		keys, next, err = s.Scan(ctx, prefix, cursor, limit)
		return err
	})
	return keys, next, err
}

// Compact implements admin.Stores.
func (a adminStores) Compact(ctx context.Context, store string) (result admin.KVCompaction, err error) {
	err = a.with(store, func(s kv.Store) error {
		file, ok := kv.As[*boltdb.Store](s)
		if !ok {
			return fmt.Errorf("%w: only a boltdb store has a file to compact", kv.ErrUnsupported)
		}
		done, err := file.Compact(ctx)
		result = admin.KVCompaction(done)
		return err
	})
	return result, err
}
