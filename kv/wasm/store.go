package wasm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/kv"
)

// Store is a kv.Store over a plugin.
type Store struct {
	kv.Base
	driver Driver
	can    kv.Can
	closed atomic.Bool

	hits, misses, sets, refused atomic.Uint64
}

var _ kv.Store = (*Store)(nil)

// New is a store over a plugin whose store is open. It owns driver from now on.
func New(driver Driver) *Store {
	f := driver.Features()
	s := &Store{driver: driver}
	for can, has := range map[kv.Can]bool{
		kv.CanTTL:                f.TTL,
		kv.CanScan:               f.Scan,
		kv.CanShared:             f.Shared,
		kv.CanUpdate | kv.CanAdd: f.CAS || !f.Shared,
		kv.CanIncrement:          f.Increment || f.CAS || !f.Shared,
		kv.CanEvict:              f.Evict || !f.Shared, // a plugin that is stopped in the middle loses its memory
	} {
		if has {
			s.can |= can
		}
	}
	return s
}

// Can implements kv.Store: what the plugin could when the store was opened.
func (s *Store) Can() kv.Can { return s.can }

// Stats implements kv.Store. What the plugin holds it does not tell.
func (s *Store) Stats() kv.Stats {
	return kv.Stats{Driver: "wasm", Hits: s.hits.Load(), Misses: s.misses.Load(), Sets: s.sets.Load(), Refused: s.refused.Load()}
}

// Close implements kv.Store.
func (s *Store) Close(ctx context.Context) error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.driver.Close(ctx)
}

func (s *Store) begin(ctx context.Context) (Session, error) {
	if s.closed.Load() {
		return nil, kv.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	session, err := s.driver.Begin(ctx)
	return session, s.because(ctx, err)
}

// because adds that ctx is over to what a plugin said then, and counts what there was no room for.
func (s *Store) because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, kv.ErrFull) {
		s.refused.Add(1)
	}
	if cause := over(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// over is ctx.Err, and says so already in the last millisecond: a guest that is told how many it may wait gives up before.
func over(ctx context.Context) error {
	if at, bounded := ctx.Deadline(); bounded && ctx.Err() == nil && time.Until(at) < time.Millisecond {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// each does something with every item, with one instance for all.
func (s *Store) each(ctx context.Context, items []kv.Item, do func(Session, *kv.Item) error) error {
	if len(items) == 0 && !s.closed.Load() {
		return nil
	}
	session, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer session.End()
	for i := range items {
		if i > 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := do(session, &items[i]); err != nil {
			return s.because(ctx, err)
		}
	}
	return nil
}

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, items []kv.Item) error {
	if s.batches(items) {
		return s.batch(ctx, items, func(*kv.Item) Op { return Op{Do: Get} }, func(it *kv.Item, e Entry) { s.got(it, e) })
	}
	if len(items) != 1 {
		return s.each(ctx, items, s.getOne)
	}
	session, err := s.begin(ctx) // without what each costs
	if err != nil {
		return err
	}
	err = s.getOne(session, &items[0])
	session.End()
	return s.because(ctx, err)
}

func (s *Store) getOne(session Session, it *kv.Item) error {
	e, err := session.Get(it.Key)
	if err != nil {
		return err
	}
	s.got(it, e)
	return nil
}

func (s *Store) got(it *kv.Item, e Entry) {
	it.Found, it.Value = e.Found, e.Value
	if e.Found {
		s.hits.Add(1)
	} else {
		s.misses.Add(1)
	}
}

// Has implements kv.Store.
func (s *Store) Has(ctx context.Context, items []kv.Item) error {
	return s.each(ctx, items, func(session Session, it *kv.Item) error {
		e, err := session.Look(it.Key)
		it.Found = e.Found
		return err
	})
}

// TTL implements kv.Store.
func (s *Store) TTL(ctx context.Context, items []kv.Item) error {
	if !s.can.Has(kv.CanTTL) {
		return s.lacks("time to live")
	}
	return s.each(ctx, items, func(session Session, it *kv.Item) error {
		e, err := session.Look(it.Key)
		it.Found = e.Found
		if e.Found {
			it.Expires = deadline(e)
		}
		return err
	})
}

// Set implements kv.Store.
func (s *Store) Set(ctx context.Context, items []kv.Item) error {
	s.sets.Add(uint64(len(items)))
	if s.batches(items) {
		return s.batch(ctx, items, func(it *kv.Item) Op {
			if ttl, past := ttlUntil(it.Expires); !past {
				return Op{Do: Set, Value: it.Value, TTL: ttl}
			}
			return Op{Do: Delete}
		}, func(*kv.Item, Entry) {})
	}
	return s.each(ctx, items, func(session Session, it *kv.Item) error {
		ttl, past := ttlUntil(it.Expires)
		if past {
			_, err := session.Delete(it.Key, 0)
			return err
		}
		_, err := session.Set(it.Key, it.Value, How{TTL: ttl})
		return err
	})
}

// Delete implements kv.Store.
func (s *Store) Delete(ctx context.Context, items []kv.Item) error {
	if s.batches(items) {
		return s.batch(ctx, items, func(*kv.Item) Op { return Op{Do: Delete} }, func(it *kv.Item, e Entry) { it.Found = e.Found })
	}
	return s.each(ctx, items, func(session Session, it *kv.Item) (err error) {
		it.Found, err = session.Delete(it.Key, 0)
		return err
	})
}

// Expire implements kv.Store.
func (s *Store) Expire(ctx context.Context, items []kv.Item) error {
	return s.each(ctx, items, func(session Session, it *kv.Item) (err error) {
		ttl, past := ttlUntil(it.Expires)
		if !past && s.can.Has(kv.CanTTL) {
			it.Found, err = session.Expire(it.Key, ttl)
			return err
		}
		if ttl > 0 {
			return s.lacks("time to live")
		}
		e, err := session.Look(it.Key)
		if it.Found = e.Found; err != nil || !past || !e.Found {
			return err
		}
		_, err = session.Delete(it.Key, 0)
		return err
	})
}

// Clear implements kv.Store.
func (s *Store) Clear(ctx context.Context) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	return s.because(ctx, s.driver.Clear(ctx))
}

// Add implements kv.Store.
func (s *Store) Add(ctx context.Context, items []kv.Item) error {
	if !s.can.Has(kv.CanAdd) {
		return s.lacks("conditional writes")
	}
	cas := s.driver.Features().CAS
	return s.each(ctx, items, func(session Session, it *kv.Item) error {
		ttl, past := ttlUntil(it.Expires)
		if !cas || past {
			e, err := session.Look(it.Key)
			if it.Found = e.Found; err != nil || e.Found || past {
				return err
			}
		}
		how := How{TTL: ttl}
		if cas {
			how.If = IfAbsent
		}
		stored, err := session.Set(it.Key, it.Value, how)
		it.Found = err == nil && !stored
		return err
	})
}

// Increment implements kv.Store.
func (s *Store) Increment(ctx context.Context, key string, delta int64, expires time.Time) (sum int64, err error) {
	ttl, past := ttlUntil(expires)
	if past || !s.driver.Features().Increment {
		return kv.IncrementByUpdate(ctx, s, key, delta, expires)
	}
	session, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer session.End()
	sum, err = session.Increment(key, delta, ttl)
	return sum, s.because(ctx, err)
}

// Scan implements kv.Store.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	if !s.can.Has(kv.CanScan) {
		return nil, "", s.lacks("scan")
	}
	session, err := s.begin(ctx)
	if err != nil {
		return nil, "", err
	}
	defer session.End()
	keys, next, err = session.Scan(prefix, cursor, min(max(limit, 1), 1000))
	return keys, next, s.because(ctx, err)
}

// updateTries bounds how often an update is tried that others were faster than.
const updateTries = 200

// Update implements kv.Store: with conditional writes where the plugin has them, else alone with its only instance.
func (s *Store) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	if !s.can.Has(kv.CanUpdate) {
		return s.lacks("conditional writes")
	}
	session, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer session.End()
	u := update{session: session, features: s.driver.Features(), change: change}
	for try := range updateTries {
		done, err := u.once(key)
		if done || err != nil {
			return s.because(ctx, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: gave up on the key after %d tries", kv.ErrBusy, updateTries)
}

// pause lets others be faster now, some more than before.
func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(min(try+1, 20)) * int64(200*time.Microsecond))))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// update changes one key.
type update struct {
	session  Session
	features Features
	change   func(kv.Item) (kv.Item, error)
}

// once is false when somebody else has changed the key meanwhile.
func (u *update) once(key string) (done bool, err error) {
	e, err := u.session.Get(key)
	if err != nil {
		return false, err
	}
	old := kv.Item{Key: key, Value: e.Value, Found: e.Found, Expires: deadline(e)}
	next, err := u.change(old)
	if err != nil {
		return false, err
	}
	if e.Found && e.Version == 0 && u.features.CAS && u.features.Shared {
		return false, fmt.Errorf("the plugin announces conditional writes (cas) and gives the key no version: %w", kv.ErrUnsupported)
	}
	ttl, past := ttlUntil(next.Expires)
	if !next.Found || past {
		return u.remove(key, e)
	}
	how := How{TTL: ttl}
	if e.Found && u.features.TTL && next.Expires.Equal(old.Expires) {
		how = How{KeepTTL: true} // to the millisecond
	}
	switch {
	case !u.features.CAS || e.Found && e.Version == 0:
	case e.Found:
		how.If, how.Version = IfVersion, e.Version
	default:
		how.If = IfAbsent
	}
	return u.session.Set(key, next.Value, how)
}

func (u *update) remove(key string, e Entry) (done bool, err error) {
	if !e.Found {
		return true, nil
	}
	version := int64(0)
	if u.features.CAS {
		version = e.Version
	}
	removed, err := u.session.Delete(key, version)
	return removed || version == 0, err
}

func (s *Store) lacks(what string) error {
	return fmt.Errorf("%w: the plugin of this store has no %s", kv.ErrUnsupported, what)
}

// deadline is when an entry ends. What the plugin says may be more than a calendar has.
func deadline(e Entry) time.Time {
	if !e.Found || e.TTL < 0 {
		return time.Time{}
	}
	now := time.Now().UnixMilli()
	return time.UnixMilli(now + min(e.TTL, latest-now))
}

// latest is the end of the year 9999, in milliseconds.
const latest = 253402300799999

// ttlUntil is the time to live of a deadline, 0 for none; past says that it has come. The plugin's clock is that of now_ms, which
// is cut to the millisecond: counted from there and rounded up, no key goes early.
func ttlUntil(expires time.Time) (ttl int64, past bool) {
	if expires.IsZero() {
		return 0, false
	}
	now := time.Now()
	if !expires.After(now) {
		return 0, true
	}
	if expires.Year() > 9999 {
		return latest - now.UnixMilli(), false
	}
	end := expires.UnixMilli()
	if expires.Nanosecond()%int(time.Millisecond) != 0 {
		end++
	}
	return end - now.UnixMilli(), false
}
