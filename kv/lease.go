package kv

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"
)

// A lease is a key of the store itself with a deadline: who adds it holds it, and its token tells who that is. Leases are what
// GetOrCompute and locks are made of; they hold for everybody who sees the same data.

// poll is how often those who wait for a lease look: at once when it ends in this process, otherwise after a growing time.
const (
	pollFirst = 5 * time.Millisecond
	pollMost  = 100 * time.Millisecond
)

// errLost says that a token is not that of the lease.
var errLost = errors.New("the lease is lost")

// waiters wakes those in this process who wait for a key.
type waiters struct {
	mu   sync.Mutex
	keys map[string]*waiting
}

type waiting struct {
	count int
	woken chan struct{}
}

// join returns a channel that is closed by the next wake of key, and what ends the wait.
func (w *waiters) join(key string) (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = map[string]*waiting{}
	}
	one := w.keys[key]
	if one == nil {
		one = &waiting{woken: make(chan struct{})}
		w.keys[key] = one
	}
	one.count++
	return one.woken, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if one.count--; one.count == 0 && w.keys[key] == one {
			delete(w.keys, key)
		}
	}
}

func (w *waiters) wake(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.keys[key]; one != nil {
		close(one.woken)
		delete(w.keys, key)
	}
}

// until calls try until it says that it is done, or wait is over. Between two tries it sleeps until key is woken, or a while.
func (w *waiters) until(ctx context.Context, key string, wait time.Duration, try func() (done bool, err error)) error {
	end := time.Now().Add(wait)
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		woken, leave := w.join(key) // before the try: what ends after it is not missed
		done, err := try()
		left := time.Until(end)
		if done || err != nil || left <= 0 {
			leave()
			return err
		}
		timer := time.NewTimer(min(pause, left))
		select {
		case <-woken:
			pause = pollFirst
		case <-timer.C:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		timer.Stop()
		leave()
		if err != nil {
			return err
		}
	}
}

// Computation is the answer of GetOrCompute: a value, or a token, or neither.
type Computation struct {
	Found bool
	Value []byte
	Token string
}

// GetOrCompute returns the value of key, or a token to one caller at a time, who computes the value within lease and says Computed
// or Abandon. The others wait. tags are those the value will have; they are read now, so that an invalidation during the
// computation is not lost. It asks for CanAdd and CanUpdate.
func (s *Tagged) GetOrCompute(ctx context.Context, w *waiters, key string, lease, wait time.Duration, tags []string) (c Computation, err error) {
	err = w.until(ctx, key, wait, func() (bool, error) {
		items := []Item{{Key: key}}
		if err := s.Get(ctx, items); err != nil {
			return false, err
		}
		if items[0].Found {
			c = Computation{Found: true, Value: items[0].Value}
			return true, nil
		}
		held := []Item{{Key: leaseKeys + key}}
		if err := s.Store.Has(ctx, held); err != nil || held[0].Found {
			return false, err
		}
		end := time.Now().Add(lease)
		generations, err := s.generationsFor(ctx, tags, end)
		if err != nil {
			return false, err
		}
		token := rand.Text()
		holder := sealed{tags: tags, generations: generations, value: []byte(token)}
		held[0] = Item{Key: leaseKeys + key, Value: holder.seal(), Expires: end}
		if err := s.Store.Add(ctx, held); err != nil || held[0].Found {
			return false, err
		}
		// Between the look at the key and the lease another may have finished.
		if err := s.Get(ctx, items); err != nil || !items[0].Found {
			c.Token = token
			return err == nil, err
		}
		c = Computation{Found: true, Value: items[0].Value}
		if err := s.end(ctx, leaseKeys+key, token); !errors.Is(err, errLost) {
			return true, err
		}
		return true, nil
	})
	return c, err
}

// end takes the lease away if token is its own.
func (s *Tagged) end(ctx context.Context, leaseKey, token string) error {
	return s.Store.Update(ctx, leaseKey, func(old Item) (Item, error) {
		e, ok := openLease(old)
		if !ok || string(e.value) != token {
			return old, errLost
		}
		return Item{Key: leaseKey}, nil
	})
}

func openLease(old Item) (sealed, bool) {
	if !old.Found || !isEnvelope(old.Value) {
		return sealed{}, false
	}
	return unseal(old.Value)
}

// Computed stores what the holder of token has computed, unless the lease was over. The value is there before the lease goes, so
// that nobody finds neither; and the lease is held for long enough to store it.
func (s *Tagged) Computed(ctx context.Context, w *waiters, item Item, token string) (bool, error) {
	holder, err := s.hold(ctx, leaseKeys+item.Key, token)
	if errors.Is(err, errLost) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tags := make([]Item, len(holder.tags))
	for i, tag := range holder.tags {
		tags[i].Key = tagKeys + tag
	}
	// A tag that was invalidated meanwhile is not made again: the value is void then, as it should be.
	if _, err = s.extend(ctx, tags, item.Expires); err == nil {
		err = s.setSealed(ctx, item, holder.tags, holder.generations)
	}
	if ended := s.end(ctx, leaseKeys+item.Key, token); !errors.Is(ended, errLost) {
		err = errors.Join(err, ended)
	}
	w.wake(item.Key)
	return err == nil, err
}

// hold makes the lease of token last for as long as storing a value may take, and returns its tags.
func (s *Tagged) hold(ctx context.Context, leaseKey, token string) (holder sealed, err error) {
	const storing = 10 * time.Second
	err = s.Store.Update(ctx, leaseKey, func(old Item) (Item, error) {
		e, ok := openLease(old)
		if !ok || string(e.value) != token {
			return old, errLost
		}
		holder = sealed{tags: e.tags, generations: e.generations}
		if end := time.Now().Add(storing); old.Expires.Before(end) {
			old.Expires = end
		}
		return old, nil
	})
	return holder, err
}

// Abandon gives the lease to the next.
func (s *Tagged) Abandon(ctx context.Context, w *waiters, key, token string) (bool, error) {
	err := s.end(ctx, leaseKeys+key, token)
	if errors.Is(err, errLost) {
		return false, nil
	}
	w.wake(key)
	return err == nil, err
}

// Lock gives key to one holder at a time, for lease, and waits for it for up to wait. The fence of a lock is greater than those of
// all that the store gave out before. It asks for CanAdd and CanUpdate.
func (s *Tagged) Lock(ctx context.Context, w *waiters, key string, lease, wait time.Duration) (token string, fence int64, err error) {
	err = w.until(ctx, lockKeys+key, wait, func() (bool, error) {
		mine := rand.Text()
		items := []Item{{Key: lockKeys + key, Value: []byte(mine), Expires: time.Now().Add(lease)}}
		if err := s.Store.Add(ctx, items); err != nil || items[0].Found {
			return false, err
		}
		if fence, err = s.fence(ctx); err != nil {
			return false, errors.Join(err, s.Store.Delete(ctx, items))
		}
		// If the lease ended before the fence was drawn, the next holder may have a smaller one: then this is no lock.
		held, err := s.Renew(ctx, key, mine, lease)
		if held {
			token = mine
		}
		return held, err
	})
	return token, fence, err
}

// fence counts, and is never behind the clock, so that a store that lost its data does not begin again.
func (s *Tagged) fence(ctx context.Context) (n int64, err error) {
	err = s.Store.Update(ctx, fenceKey, func(old Item) (Item, error) {
		n = time.Now().UnixMicro()
		if old.Found && len(old.Value) == 8 {
			n = max(n, int64(binary.BigEndian.Uint64(old.Value))+1)
		}
		return Item{Key: fenceKey, Value: binary.BigEndian.AppendUint64(nil, uint64(n)), Found: true}, nil
	})
	return n, err
}

// Renew makes a lock last for lease from now, if token holds it.
func (s *Tagged) Renew(ctx context.Context, key, token string, lease time.Duration) (bool, error) {
	return s.changeLock(ctx, key, token, func(old Item) Item {
		return Item{Key: old.Key, Value: []byte(token), Expires: time.Now().Add(lease), Found: true}
	})
}

// Unlock gives a lock back, if token holds it.
func (s *Tagged) Unlock(ctx context.Context, w *waiters, key, token string) (bool, error) {
	ok, err := s.changeLock(ctx, key, token, func(old Item) Item { return Item{Key: old.Key} })
	w.wake(lockKeys + key)
	return ok, err
}

func (s *Tagged) changeLock(ctx context.Context, key, token string, next func(Item) Item) (bool, error) {
	err := s.Store.Update(ctx, lockKeys+key, func(old Item) (Item, error) {
		if !old.Found || string(old.Value) != token {
			return old, errLost
		}
		old.Key = lockKeys + strings.TrimPrefix(key, lockKeys)
		return next(old), nil
	})
	if errors.Is(err, errLost) {
		return false, nil
	}
	return err == nil, err
}
