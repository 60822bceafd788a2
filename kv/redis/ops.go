package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

// maxUpdates is how often Update looks again because others changed the key. In one process, callers stand in line.
const maxUpdates = 200

// keyLock lets callers of one process stand in line for a key. It is a channel so that a context can end the wait.
type keyLock chan struct{}

func (s *Store) lock(ctx context.Context, key string) (unlock func(), err error) {
	l := s.locks[maphash.String(seed, key)%uint64(len(s.locks))]
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Update implements kv.Operations: it reads value and deadline, and a script writes the new ones if both are still the same.
func (s *Store) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return s.explain(ctx, "update", err)
	}
	defer unlock()
	name := s.key(key)
	for attempt := range maxUpdates {
		old, at, err := s.look(ctx, name)
		if err != nil {
			return err
		}
		old.Key = key
		next, err := change(old)
		if err != nil {
			return err
		}
		done, err := s.swap(ctx, name, old, at, next)
		if err != nil || done {
			return err
		}
		if !s.yield(ctx, attempt) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return s.explain(ctx, "update", err)
	}
	return fmt.Errorf("redis %s: update: %w: the key changed %d times", s.where, kv.ErrBusy, maxUpdates)
}

// look reads a key and its deadline as the server writes it.
func (s *Store) look(ctx context.Context, name string) (it kv.Item, at int64, err error) {
	var answer []any
	err = s.eval(ctx, "update", false, lookScript, name, nil, func(c *redis.Cmd) error {
		answer, err = c.Slice()
		return err
	})
	if err != nil || len(answer) == 0 {
		return kv.Item{}, 0, err
	}
	value, isText := answer[0].(string)
	at, isNumber := answer[1].(int64)
	if len(answer) != 2 || !isText || !isNumber {
		return kv.Item{}, 0, fmt.Errorf("redis %s: update: unexpected answer of the server", s.where)
	}
	it = kv.Item{Value: []byte(value)}
	setDeadline(&it, at, 0)
	return it, at, nil
}

// swap writes next if the key is as it was. It reports false when it is not.
func (s *Store) swap(ctx context.Context, name string, old kv.Item, at int64, next kv.Item) (bool, error) {
	expires := millis(next.Expires)
	removes := !next.Found || expires != 0 && expires <= time.Now().UnixMilli()
	if !removes && next.Expires.Equal(old.Expires) && old.Found {
		expires = max(at, 0) // as the server wrote it
	}
	if removes && !old.Found {
		return true, nil
	}
	was, becomes := "0", "0"
	if old.Found {
		was = "1"
	}
	if !removes {
		becomes = "1"
	}
	args := []any{was, append([]byte{}, old.Value...), at, becomes, append([]byte{}, next.Value...), expires}
	var done bool
	err := s.eval(ctx, "update", true, swapScript, name, args, func(c *redis.Cmd) error {
		n, err := c.Int64()
		done = n == 1
		return err
	})
	if done {
		s.sets.Add(1)
	}
	return done, err
}

// yield lets other processes have their turn, the longer the more often they were faster.
func (s *Store) yield(ctx context.Context, attempt int) bool {
	timer := time.NewTimer(rand.N(time.Duration(min(attempt+1, 20)) * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// eval runs a script by its digest, and sends it whole when the server does not know it yet.
func (s *Store) eval(ctx context.Context, op string, isOnce bool, what script, key string, args []any, done func(*redis.Cmd) error) error {
	bytes := 0
	for _, a := range args {
		if b, ok := a.([]byte); ok {
			bytes += len(b)
		}
	}
	run := func(verb, script string) (*redis.Cmd, error) {
		build := func() *redis.Cmd {
			c := redis.NewCmd(ctx, append([]any{verb, script, 1, key}, args...)...)
			c.SetFirstKeyPos(3)
			return c
		}
		if isOnce {
			return s.runOnce(ctx, op, bytes, build)
		}
		var last *redis.Cmd
		err := s.run(ctx, op, bytes, func() []command {
			last = build()
			return []command{last}
		})
		return last, err
	}
	c, err := run("evalsha", what.digest)
	if err != nil && strings.Contains(err.Error(), "NOSCRIPT") {
		c, err = run("eval", what.text)
	}
	if err != nil {
		return err
	}
	if err := done(c); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("redis %s: %s: unexpected answer of the server: %w", s.where, op, err)
	}
	return nil
}

// Add stores the items whose keys are not there.
func (s *Store) Add(ctx context.Context, items []kv.Item) error {
	if len(items) == 0 {
		return s.open()
	}
	for i := range items {
		it := &items[i]
		expires := millis(it.Expires)
		if expires != 0 && expires <= time.Now().UnixMilli() {
			if err := s.Has(ctx, items[i:i+1]); err != nil {
				return err
			}
			continue
		}
		c, err := s.runOnce(ctx, "add", len(it.Value), func() *redis.Cmd { return redis.NewCmd(ctx, s.setArgs(it, expires, "nx")...) })
		if err != nil {
			return err
		}
		if it.Found = errors.Is(c.Err(), redis.Nil); !it.Found {
			s.sets.Add(1)
		}
	}
	return nil
}

// Increment adds to the number under key.
func (s *Store) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	at := millis(expires)
	if at == 0 {
		c, err := s.runOnce(ctx, "increment", 0, func() *redis.Cmd { return redis.NewCmd(ctx, "incrby", s.key(key), delta) })
		if err != nil {
			return 0, err
		}
		return c.Int64()
	}
	// The script answers in decimal: its numbers are floating-point ones.
	var sum int64
	err := s.eval(ctx, "increment", true, incrementScript, s.key(key), []any{delta, at}, func(c *redis.Cmd) error {
		text, err := c.Text()
		if err == nil {
			sum, err = strconv.ParseInt(text, 10, 64)
		}
		return err
	})
	return sum, err
}
