package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// memory remembers times, of so many clients at most.
type memory struct {
	seed   maphash.Seed
	most   int // of a shard
	shards [shards]shard
}

const shards = 64

type shard struct {
	mu   sync.Mutex
	busy map[string]time.Time
}

func newMemory(keys int) *memory {
	m := &memory{seed: maphash.MakeSeed(), most: max(keys/shards, 1)}
	for i := range m.shards {
		m.shards[i].busy = map[string]time.Time{}
	}
	return m
}

// Take implements Times.
func (m *memory) Take(_ context.Context, key string, change func(time.Time) (time.Time, bool)) error {
	s := &m.shards[maphash.String(m.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.busy[key]
	after, keep := change(old)
	if !keep {
		return nil
	}
	if !known && len(s.busy) >= m.most {
		s.makeRoom()
	}
	s.busy[key] = after
	return nil
}

// makeRoom forgets who is idle, of some that are looked at, and somebody at any rate.
func (s *shard) makeRoom() {
	const look = 16
	now, seen, room := time.Now(), 0, false
	for key, busy := range s.busy { // begins anywhere
		idle := busy.Before(now)
		if seen++; idle || seen == look && !room {
			delete(s.busy, key)
			room = true
		}
		if seen == look {
			return
		}
	}
	if !room { // there were fewer than look
		for key := range s.busy {
			delete(s.busy, key)
			return
		}
	}
}
