// Package memory is the kv driver that keeps everything in the memory of the server: an exact map, bounded by bytes, in which
// what was set can be got until it expires or is removed. A write that would pass the bound is refused; nothing is evicted.
//
// The map is otter's, used without a maximum. The bound is a counter beside it: a write reserves its bytes while it holds the
// key's lock, and whatever leaves the map gives them back in the map's deletion callback, under the same lock. The deadline
// lives inside the value, so value and deadline change in one step. A key that expired is gone at once; the room it took comes
// back when the map sweeps, within some two seconds.
package memory

import (
	"context"
	"fmt"
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
	cache  *otter.Cache[string, entry]
	limit  int64 // 0 = none
	closed atomic.Bool

	mu      sync.Mutex     // guards stopped, and with it that nothing joins tasks once Close waits for them
	tasks   sync.WaitGroup // maintenance of the map
	stopped bool

	used                                 atomic.Int64
	hits, misses, sets, refused, expired atomic.Uint64
}

var (
	_ kv.Store   = (*Store)(nil)
	_ kv.Updater = (*Store)(nil)
)

// entry is a value and its deadline. Its bytes are never written again, so readers may keep them.
type entry struct {
	value   []byte
	expires int64 // Unix time in milliseconds; 0 = never
}

// New returns an empty store.
func New(cfg kv.MemoryConfig) (*Store, error) {
	s := &Store{limit: int64(cfg.MaxSize)}
	cache, err := otter.New(&otter.Options[string, entry]{
		ExpiryCalculator: otter.ExpiryWritingFunc(lifetime),
		OnAtomicDeletion: s.deleted,
		Executor:         s.run,
	})
	if err != nil {
		return nil, err
	}
	s.cache = cache
	return s, nil
}

// Has sets Found of the items.
func (s *Store) Has(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	for i := range items {
		_, items[i].Found = s.cache.GetIfPresent(items[i].Key)
	}
	return nil
}

// Get sets Found and Value of the items.
func (s *Store) Get(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	var hits uint64
	for i := range items {
		var e entry
		if e, items[i].Found = s.cache.GetIfPresent(items[i].Key); items[i].Found {
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
		e, items[i].Found = s.cache.GetIfPresent(items[i].Key)
		items[i].Expires = e.deadline()
	}
	return nil
}

// Set stores the items one by one and stops at the first that has no room.
func (s *Store) Set(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	now := time.Now().UnixMilli()
	for i := range items {
		item := &items[i]
		expires := millis(item.Expires)
		if expires != 0 && expires <= now {
			s.cache.Invalidate(item.Key)
			continue
		}
		if err := s.set(item, expires); err != nil {
			s.refused.Add(1)
			return err
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
	key, e := strings.Clone(item.Key), entry{value: append(make([]byte, 0, len(item.Value)), item.Value...), expires: expires}
	if s.write(key, e, size) {
		return nil
	}
	return s.full(item.Key, size)
}

// write puts e under key if there is room for it, in one step.
func (s *Store) write(key string, e entry, size int64) bool {
	fits := true
	s.cache.Compute(key, func(old entry, found bool) (entry, otter.ComputeOp) {
		more := size
		if found {
			more -= cost(key, old.value)
		}
		if fits = s.reserve(more); !fits {
			return old, otter.CancelOp
		}
		return e, otter.WriteOp
	})
	return fits
}

// reserve counts more bytes, unless they are too many. Giving some back always works.
func (s *Store) reserve(more int64) bool {
	for {
		used := s.used.Load()
		if s.limit > 0 && more > 0 && used+more > s.limit {
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
	return fmt.Errorf("%w: key %q needs %d bytes, %d of max_size %s are in use; delete keys, give them a timeout, or raise max_size",
		kv.ErrFull, key, size, s.used.Load(), bytesize.Size(s.limit))
}

// Expire moves deadlines. The value stays what it is, also when another call replaces it at the same time.
func (s *Store) Expire(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	now := time.Now().UnixMilli()
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
			return entry{value: old.value, expires: expires}, otter.WriteOp
		})
	}
	return nil
}

// Update implements kv.Updater.
func (s *Store) Update(_ context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	var failed error
	key = strings.Clone(key)
	s.cache.Compute(key, func(old entry, found bool) (entry, otter.ComputeOp) {
		changed, err := change(kv.Item{Key: key, Value: old.value, Expires: old.deadline(), Found: found})
		failed = err
		expires := millis(changed.Expires)
		switch {
		case err != nil:
			return old, otter.CancelOp
		case !changed.Found || expires != 0 && expires <= time.Now().UnixMilli():
			if !found {
				return old, otter.CancelOp
			}
			return old, otter.InvalidateOp
		}
		more := cost(key, changed.Value)
		if found {
			more -= cost(key, old.value)
		}
		if !s.reserve(more) {
			failed = s.full(key, cost(key, changed.Value))
			s.refused.Add(1)
			return old, otter.CancelOp
		}
		s.sets.Add(1)
		return entry{value: append(make([]byte, 0, len(changed.Value)), changed.Value...), expires: expires}, otter.WriteOp
	})
	return failed
}

// Delete removes the keys of the items.
func (s *Store) Delete(_ context.Context, items []kv.Item) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	for i := range items {
		s.cache.Invalidate(items[i].Key)
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
		Keys:     int64(s.cache.EstimatedSize()),
		Bytes:    s.used.Load(),
		MaxBytes: s.limit,
		Hits:     s.hits.Load(),
		Misses:   s.misses.Load(),
		Sets:     s.sets.Load(),
		Refused:  s.refused.Load(),
		Expired:  s.expired.Load(),
	}
}

// Close stops the sweeper and drops the data.
func (s *Store) Close(ctx context.Context) error {
	if s.closed.Swap(true) {
		return nil
	}
	s.cache.StopAllGoroutines()
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
		return nil
	case <-ctx.Done():
		return ctx.Err()
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

// deleted gives back the room of what left the map. A replacement was settled by write, which knew both sizes.
func (s *Store) deleted(e otter.DeletionEvent[string, entry]) {
	if e.Cause == otter.CauseReplacement {
		return
	}
	s.used.Add(-cost(e.Key, e.Value.value))
	if e.Cause == otter.CauseExpiration {
		s.expired.Add(1)
	}
}

func cost(key string, value []byte) int64 { return int64(len(key)+len(value)) + entryOverhead }

// lifetime tells otter how long an entry lives from the deadline inside its value. It is never 0 or less, which otter takes for
// "leave the deadline as it was": an entry that ended between two looks at the clock would live for ever.
func lifetime(e otter.Entry[string, entry]) time.Duration {
	if e.Value.expires == 0 {
		return forever
	}
	left := e.Value.expires - e.SnapshotAtNano/int64(time.Millisecond)
	if left > int64(forever/time.Millisecond) {
		return forever
	}
	return max(1, time.Duration(e.Value.expires*int64(time.Millisecond)-e.SnapshotAtNano))
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
