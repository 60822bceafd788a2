// Package handover lets a store move from one process to another while both serve.
//
// A [Store] stands before the driver of a store that only one process can have: one in memory, or one in a file with a lock. At any time
// one process has the driver, and the other one sends it what its own clients want, over a [Link]:
//
//	            older process       newer process
//	it starts   driver              → older
//	it moves    calls wait          → older, where they wait
//	it serves   → newer             driver
//
// Nothing is lost, and nothing is answered from a copy. What it costs is that calls wait while the store moves: for a file, as long as it
// takes to close and to open it; for what is in memory, as long as it takes to write it to the other process.
package handover

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/kv"
)

// Store is a store that can move. It is safe for concurrent use; Freeze and the like are for one goroutine.
type Store struct {
	name string
	can  kv.Can
	now  atomic.Pointer[place]
	in   atomic.Int64 // calls that are in the driver
}

// place is where the driver is.
type place struct {
	driver kv.Store
	frozen chan struct{} // closed when calls may go on; nil: they may
}

var _ kv.Store = (*Store)(nil)

// New is a store whose driver is in this process.
func New(name string, driver kv.Store) *Store {
	s := &Store{name: name, can: driver.Can()}
	s.now.Store(&place{driver: driver})
	return s
}

// Elsewhere is a store whose driver is at the other end of link, and will be here. can is what it can do.
func Elsewhere(name string, can kv.Can, link *Link) *Store {
	// What it holds was written by another process: that is what persistent stores are like, too.
	s := &Store{name: name, can: can | kv.CanPersist}
	s.now.Store(&place{driver: &remote{name: name, can: can, link: link}})
	return s
}

// Freeze makes calls wait, and returns when none is in the driver.
func (s *Store) Freeze(ctx context.Context) error {
	s.now.Store(&place{driver: s.now.Load().driver, frozen: make(chan struct{})})
	for s.in.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("store %q: calls do not end: %w", s.name, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Go lets calls go on, to driver.
func (s *Store) Go(driver kv.Store) {
	before := s.now.Swap(&place{driver: driver})
	if before.frozen != nil {
		close(before.frozen)
	}
}

// Leave lets calls go on to the other end of link, which has the driver now.
func (s *Store) Leave(link *Link) { s.Go(&remote{name: s.name, can: s.can, link: link}) }

// Frozen reports whether calls wait.
func (s *Store) Frozen() bool { return s.now.Load().frozen != nil }

// Unwrap is for kv.As.
func (s *Store) Unwrap() kv.Store { return s.now.Load().driver }

// enter returns the driver, which stays until leave.
func (s *Store) enter(ctx context.Context) (kv.Store, error) {
	for {
		p := s.now.Load()
		if p.frozen != nil {
			select {
			case <-p.frozen:
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("store %q moves to another process: %w", s.name, context.Cause(ctx))
			}
		}
		s.in.Add(1)
		if s.now.Load() == p {
			return p.driver, nil
		}
		s.leave()
	}
}

func (s *Store) leave() { s.in.Add(-1) }

// Can implements kv.Store.
func (s *Store) Can() kv.Can { return s.can }

// Stats implements kv.Store.
func (s *Store) Stats() kv.Stats { return s.now.Load().driver.Stats() }

// Close closes the driver, if it is here.
func (s *Store) Close(ctx context.Context) error { return s.now.Load().driver.Close(ctx) }

func (s *Store) batch(ctx context.Context, items []kv.Item, run func(kv.Store, context.Context, []kv.Item) error) error {
	d, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	return run(d, ctx, items)
}

// Has implements kv.Store.
func (s *Store) Has(ctx context.Context, items []kv.Item) error {
	return s.batch(ctx, items, kv.Store.Has)
}

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, items []kv.Item) error {
	return s.batch(ctx, items, kv.Store.Get)
}

// Peek implements kv.Peeker while the driver is one and calls may go on.
func (s *Store) Peek(key string) (value []byte, found, ok bool) {
	p := s.now.Load()
	peeker, can := p.driver.(kv.Peeker)
	if !can || p.frozen != nil {
		return nil, false, false
	}
	s.in.Add(1)
	defer s.leave()
	if s.now.Load() != p {
		return nil, false, false
	}
	return peeker.Peek(key)
}

// TTL implements kv.Store.
func (s *Store) TTL(ctx context.Context, items []kv.Item) error {
	return s.batch(ctx, items, kv.Store.TTL)
}

// Set implements kv.Store.
func (s *Store) Set(ctx context.Context, items []kv.Item) error {
	return s.batch(ctx, items, kv.Store.Set)
}

// Expire implements kv.Store.
func (s *Store) Expire(ctx context.Context, items []kv.Item) error {
	return s.batch(ctx, items, kv.Store.Expire)
}

// Delete implements kv.Store.
func (s *Store) Delete(ctx context.Context, items []kv.Item) error {
	return s.batch(ctx, items, kv.Store.Delete)
}

// Add implements kv.Store.
func (s *Store) Add(ctx context.Context, items []kv.Item) error {
	return s.batch(ctx, items, kv.Store.Add)
}

// Clear implements kv.Store.
func (s *Store) Clear(ctx context.Context) error {
	d, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	return d.Clear(ctx)
}

// Update implements kv.Store.
func (s *Store) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	d, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	return d.Update(ctx, key, change)
}

// Increment implements kv.Store.
func (s *Store) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	d, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return d.Increment(ctx, key, delta, expires)
}

// Scan implements kv.Store.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	d, err := s.enter(ctx)
	if err != nil {
		return nil, "", err
	}
	defer s.leave()
	return d.Scan(ctx, prefix, cursor, limit)
}

// ZAdd implements kv.Store.
func (s *Store) ZAdd(ctx context.Context, key string, members []kv.Ranked) (int64, error) {
	d, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return d.ZAdd(ctx, key, members)
}

// ZIncrement implements kv.Store.
func (s *Store) ZIncrement(ctx context.Context, key, member string, delta float64) (float64, error) {
	d, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return d.ZIncrement(ctx, key, member, delta)
}

// ZRemove implements kv.Store.
func (s *Store) ZRemove(ctx context.Context, key string, members []string) (int64, error) {
	d, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return d.ZRemove(ctx, key, members)
}

// ZRange implements kv.Store.
func (s *Store) ZRange(ctx context.Context, key string, span kv.Span) ([]kv.Ranked, error) {
	d, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	return d.ZRange(ctx, key, span)
}

// ZRank implements kv.Store.
func (s *Store) ZRank(ctx context.Context, key, member string, reverse bool) (rank int64, found bool, err error) {
	d, err := s.enter(ctx)
	if err != nil {
		return 0, false, err
	}
	defer s.leave()
	return d.ZRank(ctx, key, member, reverse)
}

// ZScore implements kv.Store.
func (s *Store) ZScore(ctx context.Context, key, member string) (score float64, found bool, err error) {
	d, err := s.enter(ctx)
	if err != nil {
		return 0, false, err
	}
	defer s.leave()
	return d.ZScore(ctx, key, member)
}

// ZCard implements kv.Store.
func (s *Store) ZCard(ctx context.Context, key string) (int64, error) {
	d, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return d.ZCard(ctx, key)
}

// errNoStore answers for a store that the other process does not have.
var errNoStore = errors.New("the process that has the stores has none of that name")

// Away returns the link to the process that has the driver of s, if that is another one.
func Away(s *Store) (*Link, bool) {
	r, ok := s.now.Load().driver.(*remote)
	if !ok {
		return nil, false
	}
	return r.link, true
}
