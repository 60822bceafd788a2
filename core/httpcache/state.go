package httpcache

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/edge-server/edge/kv"
)

// state is what all servers know of a cache: which epoch it is in, and what was purged last. It is one small key, which is read with
// every entry. An entry of another epoch is void: that is how everything is purged at once. And an answer that was fetched while
// something of it was purged is not stored, since the target may have made it of what it was before.
//
//	epoch 8, purges so far 8, marks of the last of them 8 each
type state struct {
	epoch uint64 // 0: not known
	count uint64
	marks []byte
}

// maxMarks is how many purges the state remembers. When more come while one answer is fetched, that is not stored.
const maxMarks = 64

func parseState(value []byte) state {
	if len(value) < 16 || len(value)%8 != 0 {
		return state{}
	}
	return state{binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:]), value[16:]}
}

func newState() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[0] |= 1                            // never 0
	binary.BigEndian.PutUint16(b[8:], 0) // the count does not run over
	return b
}

// add returns the state after a purge of what marks say; everything is another epoch.
func (s state) add(marks []uint64, everything bool) []byte {
	b := newState()
	if s.epoch == 0 {
		return b // nothing is valid that was stored before
	}
	if !everything {
		binary.BigEndian.PutUint64(b, s.epoch)
	}
	binary.BigEndian.PutUint64(b[8:], s.count+uint64(len(marks)))
	b = append(b, s.marks...)
	for _, m := range marks {
		b = binary.BigEndian.AppendUint64(b, m)
	}
	if over := len(b) - 16 - 8*maxMarks; over > 0 {
		b = slices.Delete(b, 16, 16+over)
	}
	return b
}

// purgedSince reports whether something of what marks name may have been purged since the state was then.
func (s state) purgedSince(then state, marks []uint64) bool {
	if s.epoch != then.epoch {
		return true
	}
	if s.count == then.count {
		return false
	}
	n := s.count - then.count
	if s.count < then.count || n > uint64(len(s.marks)/8) {
		return true
	}
	for last := s.marks[len(s.marks)-8*int(n):]; len(last) > 0; last = last[8:] {
		if slices.Contains(marks, binary.BigEndian.Uint64(last)) {
			return true
		}
	}
	return false
}

// ensureState returns the state, and makes one if there is none.
func (c *Cache) ensureState() (s state, err error) {
	err = c.guard.do(func(ctx context.Context) error {
		item := []kv.Item{{Key: c.stateKey, Value: newState()}}
		if err := c.guard.store.Add(ctx, item); err != nil {
			return err
		}
		if err := c.guard.store.Get(ctx, item); err != nil {
			return err
		}
		s = parseState(item[0].Value)
		if !item[0].Found || s.epoch == 0 {
			return c.repairState(ctx, &s)
		}
		return nil
	})
	return s, err
}

// repairState writes a state over what is none.
func (c *Cache) repairState(ctx context.Context, s *state) error {
	fresh := newState()
	*s = parseState(fresh)
	return c.guard.store.Set(ctx, []kv.Item{{Key: c.stateKey, Value: fresh}})
}

// errNotPurged says that a purge was not noted.
var errNotPurged = errors.New("the purge could not be noted")

// note writes a purge into the state. It comes first: what is stored from now on of answers that were fetched before is seen.
func (c *Cache) note(ctx context.Context, marks []uint64, everything bool) error {
	err := c.guard.store.Update(ctx, c.stateKey, func(old kv.Item) (kv.Item, error) {
		var s state
		if old.Found {
			s = parseState(old.Value)
		}
		return kv.Item{Key: old.Key, Found: true, Value: s.add(marks, everything)}, nil
	})
	if err != nil {
		return errors.Join(errNotPurged, err)
	}
	return nil
}
