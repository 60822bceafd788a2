// Package tiered puts copies of what was read into the memory of this server, in front of a store that is shared: two tiers, near
// and far.
//
// Writes go to the far tier, and then the copy goes. Copies also go when the far tier tells that somebody else changed a key, if its
// driver is a kv.Watcher, and after a time to live in any case. While the stream of changes is broken nothing is copied, and what was
// is forgotten. With a driver that tells nothing an answer is as old as the time to live at most.
//
// A copy must not outlive the change that made it wrong. A read remembers the number of changes in its part of the keys before it
// asks the far tier, and keeps a copy only when it is still the same.
package tiered

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/kv"
)

// parts is how many parts the keys are in. A change makes reads of its part that are under way keep no copy.
const parts = 256

// Store implements kv.Store. What is not said here the far tier does, sorted sets and Scan among it.
type Store struct {
	kv.Store // far
	near     kv.Store
	ttl      time.Duration
	largest  int // values beyond this are not copied

	seed  maphash.Seed
	parts [parts]part

	copies atomic.Bool // whether reads are copied: while changes are told, or if they never are
	cancel context.CancelFunc
	watch  sync.WaitGroup
}

// part counts the changes of some keys.
type part struct {
	mu      sync.Mutex
	changes uint64
}

// New returns far with copies in near, an empty store that may evict, and which is closed with it.
func New(far, near kv.Store, cfg kv.LocalCache) *Store {
	s := &Store{Store: far, near: near, ttl: cfg.TTL, largest: int(cfg.MaxSize / 16), seed: maphash.MakeSeed()}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	watcher, ok := kv.As[kv.Watcher](far)
	if !ok {
		s.copies.Store(true)
		return s
	}
	s.watch.Go(func() { // ends with Close
		if err := watcher.Watch(ctx, s); errors.Is(err, kv.ErrUnsupported) {
			s.copies.Store(true)
		}
	})
	return s
}

// Unwrap is for As.
func (s *Store) Unwrap() kv.Store { return s.Store }

// Near returns what the near tier knows about itself.
func (s *Store) Near() kv.Stats { return s.near.Stats() }

// Close implements kv.Store.
func (s *Store) Close(ctx context.Context) error {
	s.cancel()
	err := errors.Join(s.Store.Close(ctx), s.near.Close(ctx))
	done := make(chan struct{})
	go func() { // ends with the watch, which was cancelled
		s.watch.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Ready implements kv.Changes.
func (s *Store) Ready() { s.copies.Store(true) }

// Lost implements kv.Changes.
func (s *Store) Lost() {
	s.copies.Store(false)
	s.forgetAll()
}

// Changed implements kv.Changes.
func (s *Store) Changed(keys []string) {
	if len(keys) == 0 {
		s.forgetAll()
	}
	for _, key := range keys {
		s.forget(key)
	}
}

func (s *Store) part(key string) *part { return &s.parts[maphash.String(s.seed, key)%parts] }

// forget drops the copy of key, and makes reads that are under way keep none.
func (s *Store) forget(key string) {
	p := s.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes++
	items := [1]kv.Item{{Key: key}}
	_ = s.near.Delete(context.Background(), items[:]) // fails when it is closed, and then nothing is read from it
}

func (s *Store) forgetItems(items []kv.Item) {
	for i := range items {
		s.forget(items[i].Key)
	}
}

func (s *Store) forgetAll() {
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		p.changes++
		defer p.mu.Unlock()
	}
	_ = s.near.Clear(context.Background())
}

func (s *Store) count(key string) uint64 {
	p := s.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes
}

// keep copies an item if nothing changed in its part since then.
func (s *Store) keep(item kv.Item, then uint64) {
	p := s.part(item.Key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changes == then && s.copies.Load() {
		items := [1]kv.Item{item}
		_ = s.near.Set(context.Background(), items[:]) // without room there is no copy
	}
}

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, items []kv.Item) error {
	if err := s.near.Get(ctx, items); err != nil {
		return err
	}
	missing := 0
	for i := range items {
		if !items[i].Found {
			missing++
		}
	}
	if missing == 0 {
		return nil
	}
	return s.fetch(ctx, items, missing)
}

// fetch asks the far tier for what the near one does not have.
func (s *Store) fetch(ctx context.Context, items []kv.Item, missing int) error {
	ask, places, then := make([]kv.Item, 0, missing), make([]int, 0, missing), make([]uint64, 0, missing)
	for i := range items {
		if !items[i].Found {
			ask, places = append(ask, kv.Item{Key: items[i].Key}), append(places, i)
			then = append(then, s.count(items[i].Key))
		}
	}
	if err := s.Store.Get(ctx, ask); err != nil {
		return err
	}
	for i, at := range places {
		items[at].Found, items[at].Value = ask[i].Found, ask[i].Value
	}
	if s.copies.Load() {
		s.keepAll(ctx, ask, then)
	}
	return nil
}

// keepAll copies what was found. A copy ends with its key, so its deadline is asked for, where the driver can tell.
func (s *Store) keepAll(ctx context.Context, found []kv.Item, then []uint64) {
	fresh := make([]kv.Item, 0, len(found))
	marks := make([]uint64, 0, len(found))
	for i := range found {
		if found[i].Found && len(found[i].Value) <= s.largest {
			fresh, marks = append(fresh, found[i]), append(marks, then[i])
		}
	}
	if len(fresh) == 0 {
		return
	}
	if s.Can().Has(kv.CanTTL) {
		if err := s.Store.TTL(ctx, fresh); err != nil {
			return // the values are right, and that is what was asked
		}
	}
	end := time.Now().Add(s.ttl)
	for i, item := range fresh {
		if !item.Found {
			continue // it went meanwhile
		}
		if item.Expires.IsZero() || item.Expires.After(end) {
			item.Expires = end
		}
		s.keep(item, marks[i])
	}
}

// Has implements kv.Store.
func (s *Store) Has(ctx context.Context, items []kv.Item) error {
	if err := s.near.Has(ctx, items); err != nil {
		return err
	}
	var ask []kv.Item
	var places []int
	for i := range items {
		if !items[i].Found {
			ask, places = append(ask, kv.Item{Key: items[i].Key}), append(places, i)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	err := s.Store.Has(ctx, ask)
	for i, at := range places {
		items[at].Found = ask[i].Found
	}
	return err
}

// Set implements kv.Store. The copies go also when it failed: it may have been done.
func (s *Store) Set(ctx context.Context, items []kv.Item) error {
	defer s.forgetItems(items)
	return s.Store.Set(ctx, items)
}

// Expire implements kv.Store.
func (s *Store) Expire(ctx context.Context, items []kv.Item) error {
	defer s.forgetItems(items)
	return s.Store.Expire(ctx, items)
}

// Delete implements kv.Store.
func (s *Store) Delete(ctx context.Context, items []kv.Item) error {
	defer s.forgetItems(items)
	return s.Store.Delete(ctx, items)
}

// Clear implements kv.Store.
func (s *Store) Clear(ctx context.Context) error {
	defer s.forgetAll()
	return s.Store.Clear(ctx)
}

// Add implements kv.Store.
func (s *Store) Add(ctx context.Context, items []kv.Item) error {
	defer s.forgetItems(items)
	return s.Store.Add(ctx, items)
}

// Update implements kv.Store.
func (s *Store) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	defer s.forget(key)
	return s.Store.Update(ctx, key, change)
}

// Increment implements kv.Store.
func (s *Store) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	defer s.forget(key)
	return s.Store.Increment(ctx, key, delta, expires)
}
