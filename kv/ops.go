package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Operations are those of a [Store] beyond the seven that every driver has. Which a driver has is said by its Can; [Base] answers
// ErrUnsupported to all of them.
type Operations interface {
	// Update changes one key in one step: nothing else happens to the key between the look at it and the change. It hands the key
	// as it is to change, Found false if it is not there, and stores what that returns: Value until Expires, or nothing (the key is
	// removed) when Found is false or Expires has come. An error of change changes nothing, and is returned as it is.
	//
	// change is quick, does not call the store, and keeps neither item nor their values. An optimistic driver calls it again
	// whenever somebody else was faster, so it starts from its argument every time; ErrBusy when that does not end. ErrKind for a
	// sorted set. It asks for CanUpdate.
	Update(ctx context.Context, key string, change func(Item) (Item, error)) error

	// Add stores, like Set, those items whose key is not there, each in one step. It sets Found where the key was there already and
	// nothing was stored. A deadline in the past stores nothing, and Found says whether the key was there. It asks for CanAdd.
	Add(ctx context.Context, items []Item) error

	// Increment adds delta, which may be negative, to the decimal number under key in one step, and returns the sum. A key that is
	// not there counts as 0 and is made with the deadline expires (zero: for ever); the deadline of one that is there stays. When
	// expires has come already, the key is made and gone at once. ErrNumber when the value is no number or the sum has no room in
	// 64 bits, ErrKind for a sorted set; nothing is changed then. It asks for CanIncrement.
	Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error)

	// Scan returns up to about limit keys that begin with prefix, and where to go on: the first cursor is "", and next == "" is the
	// end. A page may be empty or somewhat longer than limit without being the last. Keys that are there during the whole scan come
	// at least once; others may. It asks for CanScan.
	Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error)

	// The operations on sorted sets ask for CanSorted. A set is a key of its own kind: Has, TTL, Expire, Delete, Scan work on it, Get
	// does not find it, Set replaces it; where a value is in the way these answer ErrKind. It is made by the first member and gone
	// with the last. Members are in order of score and, with the same score, of their bytes. Scores are never NaN.

	// ZAdd sets the scores of members and returns how many are new.
	ZAdd(ctx context.Context, key string, members []Ranked) (added int64, err error)

	// ZIncrement adds delta to the score of a member, 0 if it is not there, and returns the sum.
	ZIncrement(ctx context.Context, key, member string, delta float64) (float64, error)

	// ZRemove removes members and returns how many were there.
	ZRemove(ctx context.Context, key string, members []string) (removed int64, err error)

	// ZRange returns the members that span describes, in its order.
	ZRange(ctx context.Context, key string, span Span) ([]Ranked, error)

	// ZRank returns the place of a member, 0 for the lowest score, or for the highest when reverse is set.
	ZRank(ctx context.Context, key, member string, reverse bool) (rank int64, found bool, err error)

	// ZScore returns the score of a member.
	ZScore(ctx context.Context, key, member string) (score float64, found bool, err error)

	// ZCard returns the number of members, 0 for a set that is not there.
	ZCard(ctx context.Context, key string) (int64, error)
}

// Ranked is a member of a sorted set.
type Ranked struct {
	Member string  `json:"member"`
	Score  float64 `json:"score"`
}

// Span is a part of a sorted set.
type Span struct {
	// Start and Stop are places, both included, 0 for the first; negative ones count from the end, so that 0 and -1 are all.
	Start, Stop int64

	// ByScore takes the members whose score is between Min and Max, both included, instead; then Start is how many of these to
	// skip, and Stop, when it is positive, how many to return at most.
	ByScore  bool
	Min, Max float64

	// Reverse begins with the highest score; places count from there.
	Reverse bool
}

// Base answers ErrUnsupported to every operation of Operations: a driver embeds it and overrides what it has.
type Base struct{}

var _ Operations = Base{}

// Update implements Operations.
func (Base) Update(context.Context, string, func(Item) (Item, error)) error { return ErrUnsupported }

// Add implements Operations.
func (Base) Add(context.Context, []Item) error { return ErrUnsupported }

// Increment implements Operations.
func (Base) Increment(context.Context, string, int64, time.Time) (int64, error) {
	return 0, ErrUnsupported
}

// Scan implements Operations.
func (Base) Scan(context.Context, string, string, int) ([]string, string, error) {
	return nil, "", ErrUnsupported
}

// ZAdd implements Operations.
func (Base) ZAdd(context.Context, string, []Ranked) (int64, error) { return 0, ErrUnsupported }

// ZIncrement implements Operations.
func (Base) ZIncrement(context.Context, string, string, float64) (float64, error) {
	return 0, ErrUnsupported
}

// ZRemove implements Operations.
func (Base) ZRemove(context.Context, string, []string) (int64, error) { return 0, ErrUnsupported }

// ZRange implements Operations.
func (Base) ZRange(context.Context, string, Span) ([]Ranked, error) { return nil, ErrUnsupported }

// ZRank implements Operations.
func (Base) ZRank(context.Context, string, string, bool) (int64, bool, error) {
	return 0, false, ErrUnsupported
}

// ZScore implements Operations.
func (Base) ZScore(context.Context, string, string) (float64, bool, error) {
	return 0, false, ErrUnsupported
}

// ZCard implements Operations.
func (Base) ZCard(context.Context, string) (int64, error) { return 0, ErrUnsupported }

// updater is what the helpers below need of a driver.
type updater interface {
	Update(ctx context.Context, key string, change func(Item) (Item, error)) error
}

// errThere stops an update that found its key.
var errThere = errors.New("the key is there already")

// AddByUpdate is Add for a driver that has Update and no quicker way.
func AddByUpdate(ctx context.Context, s updater, items []Item) error {
	for i := range items {
		item := &items[i]
		item.Found = false
		err := s.Update(ctx, item.Key, func(old Item) (Item, error) {
			if old.Found {
				return old, errThere
			}
			return Item{Key: item.Key, Value: item.Value, Expires: item.Expires, Found: true}, nil
		})
		if errors.Is(err, errThere) || errors.Is(err, ErrKind) {
			item.Found = true
		} else if err != nil {
			return ItemError{At: i, Err: err}
		}
	}
	return nil
}

// IncrementByUpdate is Increment for a driver that has Update and no quicker way.
func IncrementByUpdate(ctx context.Context, s updater, key string, delta int64, expires time.Time) (sum int64, err error) {
	err = s.Update(ctx, key, func(old Item) (Item, error) {
		next := Item{Key: key, Expires: old.Expires, Found: true}
		if !old.Found {
			next.Expires = expires
		}
		if sum, err = Sum(old, delta); err != nil {
			return old, err
		}
		next.Value = strconv.AppendInt(nil, sum, 10)
		return next, nil
	})
	if err != nil {
		return 0, err
	}
	return sum, nil
}

// Sum adds delta to the decimal number that a key holds, 0 if it is not there.
func Sum(old Item, delta int64) (int64, error) {
	var n int64
	if old.Found {
		var err error
		if n, err = strconv.ParseInt(string(old.Value), 10, 64); err != nil {
			return 0, fmt.Errorf("%w: the key holds %.24q", ErrNumber, old.Value)
		}
	}
	if sum := n + delta; (sum > n) == (delta > 0) {
		return sum, nil
	}
	return 0, fmt.Errorf("%w: %d%+d leaves the range", ErrNumber, n, delta)
}

// A Watcher is a Store that hears which keys change on its server, by whomever. A tier in front of it keeps copies by it.
type Watcher interface {
	// Watch tells changes what happens until ctx ends or the store closes, and returns then. It connects again by itself: Lost is
	// called as soon as changes may have been missed, Ready whenever the stream works (the first time too). Calls come one at a
	// time, in the order of the changes, and no later than the reply of a read that saw the new value may be cached.
	Watch(ctx context.Context, changes Changes) error
}

// Changes is told by a Watcher what happens.
type Changes interface {
	Ready()                // from now on every change is told
	Changed(keys []string) // these keys were written, removed or expired; none: any may have been
	Lost()                 // changes may be missed until Ready
}

// As finds the first store of type T in store and those it wraps.
func As[T any](store Store) (T, bool) {
	for {
		if t, ok := store.(T); ok {
			return t, true
		}
		wrapper, ok := store.(interface{ Unwrap() Store })
		if !ok {
			var none T
			return none, false
		}
		store = wrapper.Unwrap()
	}
}
