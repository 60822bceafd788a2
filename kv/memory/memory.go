// Package memory is the kv driver that keeps everything in the memory of the server. In the mode store it is an exact map,
// bounded by bytes, in which what was set can be got until it expires or is removed; a write that would pass the bound is refused.
// In the mode cache a full map evicts what is used least.
//
// The map is otter's, without a maximum in the mode store. The bound is a counter beside it: a write reserves its bytes while it
// holds the key's lock, and whatever leaves the map gives them back in the map's deletion callback, under the same lock. The
// deadline lives inside the value, so value and deadline change in one step. A key that expired is gone at once; the room it took
// comes back when the map sweeps, within some two seconds. Beside the map is an index of the keys for Scan (index.go).
package memory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/kv"
)

// entryOverhead is what an entry costs beside its key and value: nodes of the map and of the timer wheel, slice headers.
const entryOverhead = 128

// forever is the lifetime otter is given for keys without deadline and for deadlines further away than it can count.
const forever = 100 * 365 * 24 * time.Hour

// Store implements kv.Store.
type Store struct {
	cache    *otter.Cache[string, entry]
	keys     *index
	limit    int64 // 0 = none
	evicts   bool  // the mode cache
	snapshot string
	log      *slog.Logger
	now      func() time.Time
	closed   atomic.Bool

	givenAway atomic.Bool // another process has the data

	mu      sync.Mutex     // guards stopped, and with it that nothing joins tasks once Close waits for them
	tasks   sync.WaitGroup // maintenance of the map
	stopped bool

	used                                          atomic.Int64
	hits, misses, sets, refused, expired, evicted atomic.Uint64
}

var _ kv.Store = (*Store)(nil)

// entry is a value and its deadline. Its bytes are never written again, so readers may keep them.
type entry struct {
	value   []byte
	set     *sortedSet // instead of a value
	expires int64      // Unix time in milliseconds; 0 = never
}

// New returns a store that is empty, or holds what its snapshot has.
func New(cfg kv.MemoryConfig) (*Store, error) {
	s := &Store{
		limit: int64(cfg.MaxSize), evicts: cfg.Mode == kv.ModeCache, snapshot: cfg.Snapshot, keys: newIndex(), log: cfg.Logger, now: cfg.Now,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	options := &otter.Options[string, entry]{
		ExpiryCalculator: otter.ExpiryWritingFunc(s.lifetime),
		OnAtomicDeletion: s.deleted,
		Executor:         s.run,
	}
	if s.evicts {
		options.MaximumWeight = uint64(s.limit)
		options.Weigher = func(key string, e entry) uint32 { return uint32(min(e.cost(key), math.MaxUint32)) }
	}
	var err error
	if s.cache, err = otter.New(options); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		s.cache.StopAllGoroutines()
		return nil, err
	}
	return s, nil
}

// Can implements kv.Store.
func (s *Store) Can() kv.Can {
	can := kv.CanUpdate | kv.CanAdd | kv.CanIncrement | kv.CanTTL | kv.CanScan | kv.CanSorted
	if s.evicts {
		can |= kv.CanEvict
	}
	if s.snapshot != "" {
		can |= kv.CanPersist
	}
	return can
}

// Add implements kv.Store.
func (s *Store) Add(ctx context.Context, items []kv.Item) error { return kv.AddByUpdate(ctx, s, items) }

// Increment implements kv.Store.
func (s *Store) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	return kv.IncrementByUpdate(ctx, s, key, delta, expires)
}

// Has sets Found of the items.
func (s *Store) Has(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	for i := range items {
		_, items[i].Found = s.look(items[i].Key)
	}
	return nil
}

// look finds the entry of a key. Only what evicts has to hear what is read: telling it makes the map start a goroutine every few reads,
// which costs more than they do.
func (s *Store) look(key string) (entry, bool) {
	if s.evicts {
		return s.cache.GetIfPresent(key)
	}
	e, found := s.cache.GetEntryQuietly(key)
	return e.Value, found
}

// Get sets Found and Value of the items.
func (s *Store) Get(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	var hits uint64
	for i := range items {
		e, found := s.look(items[i].Key)
		if items[i].Found = found && e.set == nil; items[i].Found {
			items[i].Value = e.value
			hits++
		}
	}
	s.hits.Add(hits)
	s.misses.Add(uint64(len(items)) - hits)
	return nil
}

// TTL sets Found and Expires of the items.
func (s *Store) TTL(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	for i := range items {
		var e entry
		e, items[i].Found = s.look(items[i].Key)
		items[i].Expires = e.deadline()
	}
	return nil
}

// Set stores the items one by one and stops at the first that has no room.
func (s *Store) Set(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	now := s.now().UnixMilli()
	for i := range items {
		item := &items[i]
		expires := millis(item.Expires)
		if expires != 0 && expires <= now {
			s.cache.Invalidate(item.Key)
			continue
		}
		if err := s.set(item, expires); err != nil {
			s.refused.Add(1)
			return kv.ItemError{At: i, Err: err}
		}
		s.sets.Add(1)
	}
	return nil
}

func (s *Store) set(item *kv.Item, expires int64) error {
	size := cost(item.Key, item.Value)
	if s.limit > 0 && size > s.limit {
		return s.full(item.Key, size)
	}
	key, e := strings.Clone(item.Key), entry{value: clone(item.Value), expires: expires}
	fits := true
	s.cache.Compute(key, func(old entry, found bool) (entry, otter.ComputeOp) {
		if fits = s.makeRoom(key, old, found, size); !fits {
			return old, otter.CancelOp
		}
		return e, otter.WriteOp
	})
	if !fits {
		return s.full(item.Key, size)
	}
	return nil
}

// makeRoom settles the bytes of a write under the key's lock, and makes a new key known. key must be the string the map keeps.
func (s *Store) makeRoom(key string, old entry, found bool, size int64) bool {
	more := size
	if found {
		more -= old.cost(key)
	}
	if !s.reserve(more) {
		return false
	}
	if !found {
		s.keys.add(key)
	}
	return true
}

// reserve counts more bytes, unless they are too many. Giving some back always works.
func (s *Store) reserve(more int64) bool {
	for {
		used := s.used.Load()
		if s.limit > 0 && !s.evicts && more > 0 && used+more > s.limit {
			return false
		}
		if s.used.CompareAndSwap(used, used+more) {
			return true
		}
	}
}

func (s *Store) full(key string, size int64) error {
	const shown = 64
	if len(key) > shown {
		key = key[:shown] + "…"
	}
	if s.evicts {
		return fmt.Errorf("%w: key %q needs %d bytes, which is more than all of max_size %s; store less under one key, or raise max_size",
			kv.ErrFull, key, size, bytesize.Size(s.limit))
	}
	return fmt.Errorf("%w: key %q needs %d bytes, %d of max_size %s are in use; delete keys, give them a timeout, or raise max_size",
		kv.ErrFull, key, size, s.used.Load(), bytesize.Size(s.limit))
}

// Expire moves deadlines. The value stays what it is, also when another call replaces it at the same time.
func (s *Store) Expire(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	now := s.now().UnixMilli()
	for i := range items {
		item := &items[i]
		expires := millis(item.Expires)
		item.Found = false
		s.cache.Compute(item.Key, func(old entry, found bool) (entry, otter.ComputeOp) {
			item.Found = found
			switch {
			case !found:
				return old, otter.CancelOp
			case expires != 0 && expires <= now:
				return old, otter.InvalidateOp
			}
			return entry{value: old.value, set: old.set, expires: expires}, otter.WriteOp
		})
	}
	return nil
}

// Update implements kv.Store.
func (s *Store) Update(_ context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	var failed error
	key = strings.Clone(key)
	s.cache.Compute(key, func(old entry, found bool) (entry, otter.ComputeOp) {
		if old.set != nil {
			failed = kv.ErrKind
			return old, otter.CancelOp
		}
		changed, err := change(kv.Item{Key: key, Value: old.value, Expires: old.deadline(), Found: found})
		failed = err
		expires := millis(changed.Expires)
		switch {
		case err != nil:
			return old, otter.CancelOp
		case !changed.Found || expires != 0 && expires <= s.now().UnixMilli():
			if !found {
				return old, otter.CancelOp
			}
			return old, otter.InvalidateOp
		}
		size := cost(key, changed.Value)
		if s.limit > 0 && size > s.limit || !s.makeRoom(key, old, found, size) {
			failed = s.full(key, size)
			s.refused.Add(1)
			return old, otter.CancelOp
		}
		s.sets.Add(1)
		return entry{value: clone(changed.Value), expires: expires}, otter.WriteOp
	})
	return failed
}

// Delete removes the keys of the items.
func (s *Store) Delete(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	for i := range items {
		_, items[i].Found = s.cache.Invalidate(items[i].Key)
	}
	return nil
}

// Clear removes every key that exists when it is called.
func (s *Store) Clear(context.Context) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	s.cache.InvalidateAll()
	return nil
}

// Stats returns a snapshot.
func (s *Store) Stats() kv.Stats {
	return kv.Stats{
		Driver:   "memory",
		Counts:   true,
		Keys:     int64(s.cache.EstimatedSize()),
		Bytes:    s.used.Load(),
		MaxBytes: s.limit,
		Hits:     s.hits.Load(),
		Misses:   s.misses.Load(),
		Sets:     s.sets.Load(),
		Refused:  s.refused.Load(),
		Expired:  s.expired.Load(),
		Evicted:  s.evicted.Load(),
	}
}

// Close writes the snapshot, stops the sweeper and drops the data.
func (s *Store) Close(ctx context.Context) error {
	if s.closed.Swap(true) {
		return nil
	}
	s.cache.StopAllGoroutines()
	saved := s.save(ctx)
	s.cache.InvalidateAll()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()

	done := make(chan struct{})
	go func() { // ends with the last maintenance task, each of which is short
		s.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return saved
	case <-ctx.Done():
		return errors.Join(saved, ctx.Err())
	}
}

// run is otter's executor. A task that comes after Close would only tidy what is about to be collected.
func (s *Store) run(task func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.tasks.Go(task)
	}
}

// deleted gives back the room of what left the map. A replacement was settled by the write, which knew both sizes.
func (s *Store) deleted(e otter.DeletionEvent[string, entry]) {
	if e.Cause == otter.CauseReplacement {
		return
	}
	s.keys.remove(e.Key)
	s.used.Add(-e.Value.cost(e.Key))
	switch e.Cause {
	case otter.CauseExpiration:
		s.expired.Add(1)
	case otter.CauseOverflow:
		s.evicted.Add(1)
	}
}

func cost(key string, value []byte) int64 { return int64(len(key)+len(value)) + entryOverhead }

// cost of a set is read under the key's lock, under which alone it changes.
func (e entry) cost(key string) int64 {
	if e.set != nil {
		return cost(key, nil) + e.set.bytes
	}
	return cost(key, e.value)
}

// clone never returns nil, so that an empty value is told from none.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// lifetime tells otter how long an entry lives from the deadline inside its value and the clock on the wall: otter's own runs evenly
// from the start of the process, and what is written after the wall's was set would end at a wrong time. What is in the map keeps
// its distance to the deadline when the clock is set. It is never 0 or less, which otter takes for "leave the deadline as it was":
// an entry that ended between two looks at the clock would live for ever.
func (s *Store) lifetime(e otter.Entry[string, entry]) time.Duration {
	if e.Value.expires == 0 {
		return forever
	}
	now := s.now()
	left := e.Value.expires - now.UnixMilli()
	if left > int64(forever/time.Millisecond) {
		return forever
	}
	return max(1, time.Duration(e.Value.expires*int64(time.Millisecond)-now.UnixNano()))
}

// deadline is the inverse of millis.
func (e entry) deadline() time.Time {
	if e.expires == 0 {
		return time.Time{}
	}
	return time.UnixMilli(e.expires)
}

// millis rounds up, so that a key never ends before its deadline. Deadlines before 1970 are as past as 1970.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.Add(time.Millisecond-1).UnixMilli())
}
