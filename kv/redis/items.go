package redis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

// maxKeysOfCommand is how many keys one command names: a server does nothing else while it runs one.
const maxKeysOfCommand = 500

// key returns the server's key. It never shares memory with the caller's, which may change while the command waits.
func (s *Store) key(key string) string {
	if s.cfg.Prefix == "" {
		return strings.Clone(key)
	}
	return s.cfg.Prefix + key
}

// Has sets Found of the items.
func (s *Store) Has(ctx context.Context, items []kv.Item) error {
	return s.each(ctx, "has", items, func(it *kv.Item) command {
		return redis.NewIntCmd(ctx, "exists", s.key(it.Key))
	}, func(it *kv.Item, c command) { it.Found = c.(*redis.IntCmd).Val() > 0 })
}

// each runs one command for each item and hands its answer to done.
func (s *Store) each(ctx context.Context, op string, items []kv.Item, make func(*kv.Item) command, done func(*kv.Item, command)) error {
	if len(items) == 0 {
		return s.open()
	}
	var cmds []command
	err := s.run(ctx, op, 0, func() []command {
		cmds = cmds[:0:0]
		for i := range items {
			cmds = append(cmds, make(&items[i]))
		}
		return cmds
	})
	if err != nil {
		return err
	}
	for i := range items {
		done(&items[i], cmds[i])
	}
	return nil
}

func (s *Store) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	return nil
}

// Get sets Found and Value of the items. It asks by MGET, for which a key of another kind is not there.
func (s *Store) Get(ctx context.Context, items []kv.Item) error {
	if len(items) == 0 {
		return s.open()
	}
	groups := s.groups(items)
	cmds := make([]*redis.SliceCmd, len(groups))
	err := s.run(ctx, "get", 0, func() []command {
		all := make([]command, len(groups))
		for g, group := range groups {
			args := make([]any, 1, 1+len(group))
			args[0] = "mget"
			for _, i := range group {
				args = append(args, s.key(items[i].Key))
			}
			cmds[g] = redis.NewSliceCmd(ctx, args...)
			all[g] = cmds[g]
		}
		return all
	})
	if err != nil {
		return err
	}
	var hits uint64
	for g, group := range groups {
		values := cmds[g].Val()
		if len(values) != len(group) {
			return fmt.Errorf("redis %s: get: asked for %d values and got %d", s.where, len(group), len(values))
		}
		for n, i := range group {
			value, found := values[n].(string)
			items[i].Found = found
			if found {
				items[i].Value = []byte(value)
				hits++
			}
		}
	}
	s.hits.Add(hits)
	s.misses.Add(uint64(len(items)) - hits)
	return nil
}

// groups returns the indexes of items that one command may name together: in a cluster, those of one slot.
func (s *Store) groups(items []kv.Item) [][]int {
	var all [][]int
	if s.mode != kv.RedisCluster {
		for i := 0; i < len(items); i += maxKeysOfCommand {
			group := make([]int, min(maxKeysOfCommand, len(items)-i))
			for n := range group {
				group[n] = i + n
			}
			all = append(all, group)
		}
		return all
	}
	bySlot := map[uint16]int{} // the slot's last group
	for i := range items {
		slot := slotOf(s.cfg.Prefix, items[i].Key)
		g, ok := bySlot[slot]
		if !ok || len(all[g]) == maxKeysOfCommand {
			g = len(all)
			all = append(all, nil)
			bySlot[slot] = g
		}
		all[g] = append(all[g], i)
	}
	return all
}

// TTL sets Found and Expires of the items.
func (s *Store) TTL(ctx context.Context, items []kv.Item) error {
	if !s.oldTTL.Load() {
		err := s.each(ctx, "ttl", items, func(it *kv.Item) command {
			return redis.NewIntCmd(ctx, "pexpiretime", s.key(it.Key))
		}, func(it *kv.Item, c command) { setDeadline(it, c.(*redis.IntCmd).Val(), 0) })
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "unknown command") {
			return err
		}
		s.oldTTL.Store(true)
	}
	return s.each(ctx, "ttl", items, func(it *kv.Item) command {
		return redis.NewIntCmd(ctx, "pttl", s.key(it.Key))
	}, func(it *kv.Item, c command) { setDeadline(it, c.(*redis.IntCmd).Val(), time.Now().UnixMilli()) })
}

// Set stores the items. One whose deadline has come is removed.
func (s *Store) Set(ctx context.Context, items []kv.Item) error {
	now, bytes := time.Now().UnixMilli(), 0
	for i := range items {
		bytes += len(items[i].Value)
	}
	if len(items) == 0 {
		return s.open()
	}
	err := s.run(ctx, "set", bytes, func() []command {
		all := make([]command, len(items))
		for i := range items {
			it := &items[i]
			expires := millis(it.Expires)
			if expires != 0 && expires <= now {
				all[i] = redis.NewIntCmd(ctx, "unlink", s.key(it.Key))
				continue
			}
			all[i] = redis.NewStatusCmd(ctx, s.setArgs(it, expires)...)
		}
		return all
	})
	if err == nil {
		s.sets.Add(uint64(len(items)))
	}
	return err
}

// setArgs is a SET. It copies the value, which belongs to the caller.
func (s *Store) setArgs(it *kv.Item, expires int64, more ...any) []any {
	args := make([]any, 0, 6)
	args = append(args, "set", s.key(it.Key), append([]byte{}, it.Value...))
	if expires != 0 {
		args = append(args, "pxat", expires)
	}
	return append(args, more...)
}

// Expire moves deadlines.
func (s *Store) Expire(ctx context.Context, items []kv.Item) error {
	if len(items) == 0 {
		return s.open()
	}
	found := make([]*redis.IntCmd, len(items))
	err := s.run(ctx, "expire", 0, func() []command {
		var all []command
		for i := range items {
			key := s.key(items[i].Key)
			if at := millis(items[i].Expires); at != 0 {
				found[i] = redis.NewIntCmd(ctx, "pexpireat", key, at)
				all = append(all, found[i])
				continue
			}
			found[i] = redis.NewIntCmd(ctx, "exists", key) // PERSIST does not tell a key without deadline from none
			all = append(all, found[i], redis.NewIntCmd(ctx, "persist", key))
		}
		return all
	})
	if err != nil {
		return err
	}
	for i := range items {
		items[i].Found = found[i].Val() > 0
	}
	return nil
}

// Delete removes the keys of the items.
func (s *Store) Delete(ctx context.Context, items []kv.Item) error {
	return s.each(ctx, "delete", items, func(it *kv.Item) command {
		return redis.NewIntCmd(ctx, "unlink", s.key(it.Key))
	}, func(it *kv.Item, c command) { it.Found = c.(*redis.IntCmd).Val() > 0 })
}

// millis rounds up, so that a key never ends before its deadline. Deadlines before 1970 are as past as 1970.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.Add(time.Millisecond-1).UnixMilli())
}

// setDeadline fills in what the server says of a key: -2 that there is none, -1 that it lives for ever, else its end in
// milliseconds after since.
func setDeadline(it *kv.Item, at, since int64) {
	it.Found, it.Expires = at != -2, time.Time{}
	if at >= 0 {
		it.Expires = time.UnixMilli(since + at)
	}
}
