package lock

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/edge-server/edge/kv"
)

// Shared is Locks in a kv store: all servers that use the store see the same ones. Each resource is one key, changed in one step
// by Update; those who wait look again and again, and hold a place in the queue while they do. Times are those of the servers'
// clocks: a fleet needs clocks that agree to well below the ttl of its locks.
type Shared struct {
	store  kv.Store
	prefix string
}

var _ Locks = (*Shared)(nil)

// Pace of those who wait: between two looks, and how long a place in the queue lasts for one who does not look again.
const (
	firstLook    = 2 * time.Millisecond
	longestLook  = 50 * time.Millisecond
	keepPlace    = time.Second
	maxHolders   = 10_000 // of one resource, with those who wait
	sharedPrefix = "edge:lock:"
	fenceKey     = "edge:lock" // no resource has it
)

// NewShared returns Locks in the store, which has to be able to change a key in one step and must not drop keys to make room.
func NewShared(store kv.Store) (*Shared, error) {
	switch can := store.Can(); {
	case !can.Has(kv.CanUpdate):
		return nil, errors.New("locks need a store whose driver can change a key in one step, such as memory, boltdb or redis")
	case can.Has(kv.CanEvict):
		return nil, errors.New("this store drops keys to make room, and a lock that is dropped has two holders: name a store with " +
			"the driver memory (mode: store), boltdb or redis")
	}
	return &Shared{store: store, prefix: sharedPrefix}, nil
}

// state is a resource in the store, as JSON.
type state struct {
	Exclusive bool         `json:"x,omitempty"`
	Holders   []sharedHold `json:"h,omitempty"`
	Queue     []place      `json:"q,omitempty"`
}

type sharedHold struct {
	ID  string `json:"id"`
	End int64  `json:"end"` // µs since 1970
}

// place is one that waits.
type place struct {
	Ticket string `json:"t"`
	Shared bool   `json:"s,omitempty"`
	End    int64  `json:"end"` // of the place, unless it is taken again
}

var errSame = errors.New("nothing changes")

// change runs f on the state of a resource in one step. f reports whether it changed something; it may run several times.
func (s *Shared) change(ctx context.Context, resource string, f func(st *state, now int64) (changed bool, err error)) error {
	err := s.store.Update(ctx, s.prefix+resource, func(item kv.Item) (kv.Item, error) {
		var st state
		if item.Found {
			if err := json.Unmarshal(item.Value, &st); err != nil {
				return item, fmt.Errorf("lock %q: its key %s has something else: %w", resource, s.prefix+resource, err)
			}
		}
		now := time.Now().UnixMicro()
		st.clean(now)
		changed, err := f(&st, now)
		if err != nil {
			return item, err
		}
		if !changed {
			return item, errSame
		}
		next := kv.Item{Key: item.Key}
		if end := st.end(); end > 0 {
			value, err := json.Marshal(st)
			if err != nil {
				return item, err
			}
			next.Value, next.Found = value, true
			next.Expires = time.UnixMicro(end).Add(time.Second)
		}
		return next, nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	return err
}

// clean forgets what is over.
func (st *state) clean(now int64) {
	st.Holders = slices.DeleteFunc(st.Holders, func(h sharedHold) bool { return h.End <= now })
	st.Queue = slices.DeleteFunc(st.Queue, func(p place) bool { return p.End <= now })
	if len(st.Holders) == 0 {
		st.Exclusive = false
	}
}

// end is when the last of it is over; 0 when there is nothing.
func (st *state) end() (end int64) {
	for _, h := range st.Holders {
		end = max(end, h.End)
	}
	for _, p := range st.Queue {
		end = max(end, p.End)
	}
	return end
}

func (st *state) holder(id string) int {
	return slices.IndexFunc(st.Holders, func(h sharedHold) bool { return h.ID == id })
}

// take gives r the lock if nobody is before it. It is fresh when id did not hold it before.
func (st *state) take(r Request, ticket string, now int64) (taken, fresh bool) {
	mine := st.holder(r.ID)
	promotes := !r.Shared && !st.Exclusive && len(st.Holders) == 1 && mine == 0
	again := r.Shared && !st.Exclusive && mine >= 0
	admits := len(st.Holders) == 0 || r.Shared && !st.Exclusive
	if !promotes && !again && (!admits || st.behind(r, ticket)) {
		return false, false
	}
	end := now + r.TTL.Microseconds()
	if mine >= 0 {
		st.Holders[mine].End = end
	} else {
		st.Holders = append(st.Holders, sharedHold{r.ID, end})
	}
	st.Exclusive = !r.Shared
	st.leave(ticket)
	return true, mine < 0
}

// behind reports whether others come first: readers wait behind writers only.
func (st *state) behind(r Request, ticket string) bool {
	for _, p := range st.Queue {
		if p.Ticket == ticket {
			return false
		}
		if !r.Shared || !p.Shared {
			return true
		}
	}
	return false
}

// keep keeps the place of a ticket.
func (st *state) keep(r Request, ticket string, now int64) error {
	end := now + keepPlace.Microseconds()
	for i := range st.Queue {
		if st.Queue[i].Ticket == ticket {
			st.Queue[i].End = end
			return nil
		}
	}
	if len(st.Queue)+len(st.Holders) >= maxHolders {
		return fmt.Errorf("%w: %d hold or wait for %q", ErrTooMany, len(st.Queue)+len(st.Holders), r.Resource)
	}
	st.Queue = append(st.Queue, place{ticket, r.Shared, end})
	return nil
}

// Acquire takes a lock, or looks for it until wait is over.
func (s *Shared) Acquire(ctx context.Context, r Request) (int64, error) {
	ticket, deadline := rand.Text(), time.Now().Add(r.Wait)
	var kept time.Time // when the place in the queue was last renewed
	for pause := firstLook; ; pause = min(pause*3/2, longestLook) {
		taken, fresh, last := false, false, !time.Now().Before(deadline)
		err := s.change(ctx, r.Resource, func(st *state, now int64) (bool, error) {
			if taken, fresh = st.take(r, ticket, now); taken {
				return true, nil
			}
			if last {
				return st.leave(ticket), nil
			}
			if time.Since(kept) < keepPlace/3 {
				return false, nil
			}
			return true, st.keep(r, ticket, now)
		})
		switch {
		case errors.Is(err, kv.ErrBusy) && !last:
			err = nil // others were quicker, again and again: look once more
		case err == nil && taken:
			return s.fence(ctx, r, fresh)
		case err == nil && time.Since(kept) >= keepPlace/3:
			kept = time.Now()
		}
		if err == nil && !last {
			err = sleep(ctx, min(pause, max(time.Until(deadline), 0)))
		}
		if err != nil {
			s.forget(ctx, r, ticket, taken && fresh) // whether the last change was made is unknown
		}
		if err != nil || last {
			return 0, err
		}
	}
}

// fence is the token of a grant. Without one the grant is of no use.
func (s *Shared) fence(ctx context.Context, r Request, fresh bool) (int64, error) {
	token, err := s.count(ctx)
	for errors.Is(err, kv.ErrBusy) && ctx.Err() == nil {
		token, err = s.count(ctx)
	}
	if err == nil {
		err = ctx.Err() // the client may be gone
	}
	if err != nil {
		s.forget(ctx, r, "", fresh)
		return 0, err
	}
	return token, nil
}

// count counts, and is never behind the clock: what begins again without its data, or goes on where locks were in memory, gives out
// no token that is lower than those before.
func (s *Shared) count(ctx context.Context) (token int64, err error) {
	err = s.store.Update(ctx, fenceKey, func(old kv.Item) (kv.Item, error) {
		token = time.Now().UnixMicro()
		if old.Found {
			last, err := strconv.ParseInt(string(old.Value), 10, 64)
			if err != nil {
				return old, fmt.Errorf("the key %s, which counts locks, has something else: %w", fenceKey, err)
			}
			token = max(token, last+1)
		}
		return kv.Item{Key: fenceKey, Value: strconv.AppendInt(nil, token, 10), Found: true}, nil
	})
	return token, err
}

// leave gives a place in the queue back.
func (st *state) leave(ticket string) bool {
	before := len(st.Queue)
	st.Queue = slices.DeleteFunc(st.Queue, func(p place) bool { return p.Ticket == ticket })
	return len(st.Queue) != before
}

// forget takes back what a request that failed may have got. When the store is gone, so is the way to do that: then the lock ends
// with its time.
func (s *Shared) forget(ctx context.Context, r Request, ticket string, held bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.change(ctx, r.Resource, func(st *state, _ int64) (bool, error) {
		changed := st.leave(ticket)
		if i := st.holder(r.ID); i >= 0 && held {
			st.Holders, changed = slices.Delete(st.Holders, i, i+1), true
		}
		return changed, nil
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release gives a lock back.
func (s *Shared) Release(ctx context.Context, resource, id string) (ok bool, err error) {
	err = s.change(ctx, resource, func(st *state, _ int64) (bool, error) {
		i := st.holder(id)
		if ok = i >= 0; ok {
			st.Holders = slices.Delete(st.Holders, i, i+1)
		}
		return ok, nil
	})
	return ok && err == nil, err
}

// ForceRelease ends every lock of the resource.
func (s *Shared) ForceRelease(ctx context.Context, resource string) (ok bool, err error) {
	err = s.change(ctx, resource, func(st *state, _ int64) (bool, error) {
		ok = len(st.Holders) > 0
		st.Holders = nil
		return ok, nil
	})
	return ok && err == nil, err
}

// Exists says whether a lock is held.
func (s *Shared) Exists(ctx context.Context, resource, id string) (ok bool, err error) {
	err = s.change(ctx, resource, func(st *state, _ int64) (bool, error) {
		ok = id == anybody && len(st.Holders) > 0 || st.holder(id) >= 0
		return false, nil
	})
	return ok && err == nil, err
}

// UpdateTTL moves the end of a lock.
func (s *Shared) UpdateTTL(ctx context.Context, resource, id string, ttl time.Duration) (ok bool, err error) {
	err = s.change(ctx, resource, func(st *state, now int64) (bool, error) {
		i := st.holder(id)
		if ok = i >= 0; ok {
			st.Holders[i].End = now + ttl.Microseconds()
		}
		return ok, nil
	})
	return ok && err == nil, err
}
