package memcached

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/kv"
)

// maxUpdates is how often Update looks again because others changed the key.
const maxUpdates = 200

// each asks for every item, one request for each, at the servers they belong to.
func (s *Store) each(ctx context.Context, op string, once bool, items []kv.Item,
	ask func(it *kv.Item, key string) func([]byte) []byte, done func(*kv.Item, reply) error,
) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memcached %s: %s: %w", s.where, op, err)
	}
	bundles := map[*server][]request{}
	failed := map[*server]*error{}
	for i := range items {
		it := &items[i]
		key := s.key(it.Key)
		one := s.pick(key)
		if failed[one] == nil {
			failed[one] = new(error)
		}
		first := failed[one]
		bundles[one] = append(bundles[one], request{ask(it, key), func(r reply) {
			err := s.refusal(r)
			if err == nil {
				err = done(it, r)
			}
			if *first == nil {
				*first = err
			}
		}})
	}
	work := map[*server]func() error{}
	for one, requests := range bundles {
		work[one] = func() error {
			err := one.do(ctx, once, requests)
			if err == nil {
				err = *failed[one]
			}
			return s.explain(ctx, one, op, err)
		}
	}
	return parallel(work)
}

func line(verb, key string, flags ...string) func([]byte) []byte {
	return func(dst []byte) []byte { return appendLine(dst, verb, key, flags...) }
}

// Has sets Found of the items.
func (s *Store) Has(ctx context.Context, items []kv.Item) error {
	return s.each(ctx, "has", false, items,
		func(_ *kv.Item, key string) func([]byte) []byte { return line("mg", key) },
		func(it *kv.Item, r reply) error {
			it.Found = !r.missing()
			return nil
		})
}

// Get sets Found and Value of the items.
func (s *Store) Get(ctx context.Context, items []kv.Item) error {
	err := s.each(ctx, "get", false, items,
		func(_ *kv.Item, key string) func([]byte) []byte { return line("mg", key, "v") },
		func(it *kv.Item, r reply) error {
			if it.Found = !r.missing(); it.Found {
				it.Value = r.value
			}
			return nil
		})
	if err != nil {
		return err
	}
	for i := range items {
		if items[i].Found {
			s.hits.Add(1)
		} else {
			s.misses.Add(1)
		}
	}
	return nil
}

// TTL sets Found and Expires of the items, to about a second.
func (s *Store) TTL(ctx context.Context, items []kv.Item) error {
	return s.each(ctx, "ttl", false, items,
		func(_ *kv.Item, key string) func([]byte) []byte { return line("mg", key, "t") },
		func(it *kv.Item, r reply) error {
			it.Found, it.Expires = !r.missing(), deadline(r)
			return nil
		})
}

// Set stores the items. One whose deadline has come is removed.
func (s *Store) Set(ctx context.Context, items []kv.Item) error {
	for i := range items {
		if err := s.fits(items[i].Value); err != nil {
			return fmt.Errorf("memcached %s: set: key %.64q: %w", s.where, items[i].Key, err)
		}
	}
	now := time.Now()
	err := s.each(ctx, "set", false, items,
		func(it *kv.Item, key string) func([]byte) []byte {
			if past(it.Expires, now) {
				return line("md", key)
			}
			return func(dst []byte) []byte { return appendSet(dst, key, it.Value, lifetime(it.Expires, now)) }
		},
		func(it *kv.Item, r reply) error {
			if r.code == "NS" {
				return fmt.Errorf("%w: the server did not store the value", kv.ErrUnavailable)
			}
			return nil
		})
	if err == nil {
		s.sets.Add(uint64(len(items)))
	}
	return err
}

func (s *Store) fits(value []byte) error {
	if len(value) <= int(s.cfg.MaxValue) {
		return nil
	}
	return fmt.Errorf("%w: a value of %d bytes is larger than memcached.max_value, %s; raise it together with the server's -I",
		kv.ErrLimit, len(value), s.cfg.MaxValue)
}

// Expire moves deadlines.
func (s *Store) Expire(ctx context.Context, items []kv.Item) error {
	now := time.Now()
	return s.each(ctx, "expire", false, items,
		func(it *kv.Item, key string) func([]byte) []byte {
			if past(it.Expires, now) {
				return line("md", key)
			}
			return line("mg", key, lifetime(it.Expires, now))
		},
		func(it *kv.Item, r reply) error {
			it.Found = !r.missing()
			return nil
		})
}

// Delete removes the keys of the items.
func (s *Store) Delete(ctx context.Context, items []kv.Item) error {
	return s.each(ctx, "delete", false, items,
		func(_ *kv.Item, key string) func([]byte) []byte { return line("md", key) },
		func(it *kv.Item, r reply) error {
			it.Found = r.code == "HD"
			return nil
		})
}

// Add stores the items whose keys are not there.
func (s *Store) Add(ctx context.Context, items []kv.Item) error {
	for i := range items {
		if err := s.fits(items[i].Value); err != nil {
			return fmt.Errorf("memcached %s: add: key %.64q: %w", s.where, items[i].Key, err)
		}
	}
	now := time.Now()
	return s.each(ctx, "add", true, items,
		func(it *kv.Item, key string) func([]byte) []byte {
			if past(it.Expires, now) {
				return line("mg", key)
			}
			return func(dst []byte) []byte { return appendSet(dst, key, it.Value, lifetime(it.Expires, now), "ME") }
		},
		func(it *kv.Item, r reply) error {
			if past(it.Expires, now) {
				it.Found = !r.missing()
				return nil
			}
			if it.Found = r.code == "NS"; !it.Found {
				s.sets.Add(1)
			}
			return nil
		})
}

// Increment adds to the number under key. memcached counts up by itself; what goes down, or is negative, takes a look and a
// conditional write.
func (s *Store) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	if delta < 0 {
		return s.incrementSlowly(ctx, key, delta, expires)
	}
	now := time.Now()
	amount := strconv.FormatInt(delta, 10)
	flags := []string{"v", "D" + amount}
	if !past(expires, now) {
		flags = append(flags, "N"+lifetime(expires, now)[1:], "J"+amount)
	}
	var sum uint64
	err := s.one(ctx, "increment", key, line("ma", s.key(key), flags...), func(r reply) error {
		if r.missing() {
			sum = uint64(delta) // made and gone at once
			return nil
		}
		var err error
		if sum, err = strconv.ParseUint(strings.TrimRight(string(r.value), " "), 10, 64); err != nil {
			return fmt.Errorf("%w: %.24q", kv.ErrNumber, r.value)
		}
		return nil
	})
	if errors.Is(err, kv.ErrNumber) { // negative, or not a number at all
		return s.incrementSlowly(ctx, key, delta, expires)
	}
	if err == nil && sum > math.MaxInt64 {
		// The server counts to 2^64. Take the step back.
		err = s.one(ctx, "increment", key, line("ma", s.key(key), "MD", "D"+amount), func(reply) error { return nil })
		return 0, errors.Join(fmt.Errorf("memcached %s: increment: %w: the sum leaves the range", s.where, kv.ErrNumber), err)
	}
	return int64(sum), err
}

func (s *Store) incrementSlowly(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	return kv.IncrementByUpdate(ctx, trimming{s}, key, delta, expires)
}

// trimming hides the spaces that memcached puts behind a number that became shorter.
type trimming struct{ *Store }

func (t trimming) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	return t.Store.Update(ctx, key, func(old kv.Item) (kv.Item, error) {
		old.Value = []byte(strings.TrimRight(string(old.Value), " "))
		return change(old)
	})
}

// one sends a single request that must not be sent twice.
func (s *Store) one(ctx context.Context, op, key string, ask func([]byte) []byte, done func(reply) error) error {
	item := [1]kv.Item{{Key: key}}
	return s.each(ctx, op, true, item[:],
		func(*kv.Item, string) func([]byte) []byte { return ask },
		func(_ *kv.Item, r reply) error { return done(r) })
}

// Update implements kv.Operations by a look and a write on the condition that the item is still the same.
func (s *Store) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	name := s.key(key)
	for attempt := range maxUpdates {
		old, seen, err := s.look(ctx, key, name)
		if err != nil {
			return err
		}
		next, err := change(old)
		if err != nil {
			return err
		}
		ask, err := s.change(name, old, seen, next)
		if err != nil || ask == nil {
			return err
		}
		var code string
		err = s.one(ctx, "update", key, ask, func(r reply) error {
			code = r.code
			return nil
		})
		if err != nil {
			return err
		}
		if code == "HD" {
			s.sets.Add(1)
			return nil
		}
		timer := time.NewTimer(rand.N(time.Duration(min(attempt+1, 20)) * time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("memcached %s: update: %w", s.where, ctx.Err())
		}
	}
	return fmt.Errorf("memcached %s: update: %w: the key changed %d times", s.where, kv.ErrBusy, maxUpdates)
}

func (s *Store) look(ctx context.Context, key, name string) (old kv.Item, seen reply, err error) {
	old.Key = key
	item := [1]kv.Item{{Key: key}}
	err = s.each(ctx, "update", false, item[:],
		func(*kv.Item, string) func([]byte) []byte { return line("mg", name, "v", "t", "c") },
		func(_ *kv.Item, r reply) error {
			seen = r
			if !r.missing() {
				old.Found, old.Value, old.Expires = true, r.value, deadline(r)
			}
			return nil
		})
	return old, seen, err
}

// change returns the request that makes old next, or nil when there is nothing to do.
func (s *Store) change(name string, old kv.Item, seen reply, next kv.Item) (func([]byte) []byte, error) {
	now := time.Now()
	same := "C" + strconv.FormatUint(seen.cas, 10)
	if !next.Found || past(next.Expires, now) {
		if !old.Found {
			return nil, nil
		}
		return line("md", name, same), nil
	}
	if err := s.fits(next.Value); err != nil {
		return nil, fmt.Errorf("memcached %s: update: key %.64q: %w", s.where, old.Key, err)
	}
	ttl := lifetime(next.Expires, now)
	if old.Found && next.Expires.Equal(old.Expires) {
		ttl = span(seen.ttl, now) // as the server said it
	}
	if !old.Found {
		same = "ME"
	}
	value := append([]byte{}, next.Value...)
	return func(dst []byte) []byte { return appendSet(dst, name, value, ttl, same) }, nil
}

// past reports whether a deadline has come.
func past(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// lifetime is the flag T for a deadline: seconds from now, rounded up, and one more, since the server's clock may be about to
// tick; a time of day when that is more than 30 days ahead.
func lifetime(t, now time.Time) string {
	if t.IsZero() || t.Unix() >= lastTime {
		return "T0"
	}
	seconds := int64(math.Ceil(t.Sub(now).Seconds())) + 1
	if seconds > maxDelta {
		seconds += coarse / 2 // later, never earlier
	}
	return span(seconds, now)
}

// span is the flag T for so many seconds from now, less than 0 for ever. A time of day is rounded to a multiple of coarse, so that
// what is read, give or take a tick of the server's clock, and written again by Update stays the same time.
func span(seconds int64, now time.Time) string {
	switch {
	case seconds < 0:
		seconds = 0
	case seconds > maxDelta:
		seconds = min((now.Unix()+seconds+coarse/2)/coarse*coarse, lastTime)
	}
	return "T" + strconv.FormatInt(seconds, 10)
}

// deadline is what the server says of the end of an item.
func deadline(r reply) time.Time {
	if r.missing() || r.ttl < 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(r.ttl) * time.Second)
}
