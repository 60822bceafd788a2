package memory

import (
	"context"
	"errors"
	"math"
	"strings"

	"github.com/maypok86/otter/v2"

	"github.com/edge-server/edge/kv"
)

var errNaN = errors.New("a score must be a number")

// changeSet runs change on the set under key, a new one if the key is not there, under the key's lock. Room for the bytes that it
// may take at most is asked for before.
func (s *Store) changeSet(key string, most int64, make bool, change func(*sortedSet)) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	var failed error
	key = strings.Clone(key)
	s.cache.Compute(key, func(old entry, found bool) (entry, otter.ComputeOp) {
		switch {
		case found && old.set == nil:
			failed = kv.ErrKind
			return old, otter.CancelOp
		case !found && !make:
			return old, otter.CancelOp
		}
		set, before := old.set, int64(0)
		if found {
			before = old.cost(key)
		} else {
			set = newSortedSet()
			most += cost(key, nil)
		}
		if s.limit > 0 && before+most > s.limit || !s.reserve(most) {
			failed = s.full(key, before+most)
			s.refused.Add(1)
			return old, otter.CancelOp
		}
		change(set)
		next := entry{set: set, expires: old.expires}
		s.used.Add(next.cost(key) - before - most)
		if set.len() == 0 {
			if !found {
				s.used.Add(-next.cost(key))
				return old, otter.CancelOp
			}
			return old, otter.InvalidateOp
		}
		if !found {
			s.keys.add(key)
		}
		s.sets.Add(1)
		return next, otter.WriteOp
	})
	return failed
}

// set returns the set under key, nil if there is none.
func (s *Store) setOf(key string) (*sortedSet, error) {
	if s.closed.Load() {
		return nil, kv.ErrClosed
	}
	e, found := s.look(key)
	if found && e.set == nil {
		return nil, kv.ErrKind
	}
	return e.set, nil
}

// ZAdd implements kv.Store.
func (s *Store) ZAdd(_ context.Context, key string, members []kv.Ranked) (added int64, err error) {
	var most int64
	for _, m := range members {
		if math.IsNaN(m.Score) {
			return 0, errNaN
		}
		most += memberCost(m.Member)
	}
	err = s.changeSet(key, most, true, func(z *sortedSet) {
		for _, m := range members {
			if z.put(m) {
				added++
			}
		}
	})
	return added, err
}

// ZIncrement implements kv.Store.
func (s *Store) ZIncrement(_ context.Context, key, member string, delta float64) (score float64, err error) {
	if math.IsNaN(delta) {
		return 0, errNaN
	}
	var failed error
	err = s.changeSet(key, memberCost(member), true, func(z *sortedSet) {
		old, _ := z.score(member)
		if score = old + delta; math.IsNaN(score) {
			failed = errNaN
			return
		}
		z.put(kv.Ranked{Member: member, Score: score})
	})
	return score, errors.Join(err, failed)
}

// ZRemove implements kv.Store.
func (s *Store) ZRemove(_ context.Context, key string, members []string) (removed int64, err error) {
	err = s.changeSet(key, 0, false, func(z *sortedSet) {
		for _, m := range members {
			if z.drop(m) {
				removed++
			}
		}
	})
	return removed, err
}

// ZRange implements kv.Store.
func (s *Store) ZRange(_ context.Context, key string, span kv.Span) ([]kv.Ranked, error) {
	z, err := s.setOf(key)
	if z == nil {
		return nil, err
	}
	return z.span(span), nil
}

// ZRank implements kv.Store.
func (s *Store) ZRank(_ context.Context, key, member string, reverse bool) (int64, bool, error) {
	z, err := s.setOf(key)
	if z == nil {
		return 0, false, err
	}
	rank, found := z.rank(member, reverse)
	return rank, found, nil
}

// ZScore implements kv.Store.
func (s *Store) ZScore(_ context.Context, key, member string) (float64, bool, error) {
	z, err := s.setOf(key)
	if z == nil {
		return 0, false, err
	}
	score, found := z.score(member)
	return score, found, nil
}

// ZCard implements kv.Store.
func (s *Store) ZCard(_ context.Context, key string) (int64, error) {
	z, err := s.setOf(key)
	if z == nil {
		return 0, err
	}
	return int64(z.len()), nil
}
