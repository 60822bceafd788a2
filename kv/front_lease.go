package kv

import (
	"context"
	"fmt"
	"time"
)

// checkTags holds the limits for tags. Every tag costs a key.
func (f *Front) checkTags(tags []string) error {
	const most = 256
	if len(tags) > most {
		return fmt.Errorf("%w: %d tags on one value, at most %d", ErrLimit, len(tags), most)
	}
	for _, tag := range tags {
		if tag == "" {
			return fmt.Errorf("%w: a tag cannot be empty", ErrLimit)
		}
		if err := f.checkKey(tag); err != nil {
			return err
		}
	}
	return nil
}

// SetTagged stores item under tags; see Tagged.
func (f *Front) SetTagged(ctx context.Context, item Item, tags []string) error {
	began := time.Now()
	err := f.check([]Item{item})
	if err == nil {
		err = f.checkTags(tags)
	}
	if err == nil {
		err = f.tags.SetTagged(ctx, item, tags)
	}
	f.wrote([]Item{item}, err)
	return f.done(opTagged, began, err)
}

// GetTagged is Get of one item that tells its tags, too.
func (f *Front) GetTagged(ctx context.Context, item *Item) (tags []string, err error) {
	began := time.Now()
	if err = f.checkKey(item.Key); err == nil {
		tags, err = f.tags.GetTagged(ctx, item)
	}
	return tags, f.done(opGet, began, err)
}

// AddTagged stores item under tags if its key is not there, and reports whether it did.
func (f *Front) AddTagged(ctx context.Context, item Item, tags []string) (added bool, err error) {
	began := time.Now()
	if err = f.check([]Item{item}); err == nil {
		err = f.checkTags(tags)
	}
	if err == nil {
		added, err = f.tags.AddTagged(ctx, item, tags)
	}
	if added {
		f.wrote([]Item{item}, err)
	}
	return added, f.done(opTagged, began, err)
}

// InvalidateTags makes the values under tags void; see Tagged.
func (f *Front) InvalidateTags(ctx context.Context, tags []string) error {
	began := time.Now()
	err := f.checkTags(tags)
	if err == nil {
		err = f.tags.InvalidateTags(ctx, tags)
	}
	return f.done(opTagged, began, err)
}

// GetOrCompute returns a value or the task to compute it; see Tagged.
func (f *Front) GetOrCompute(ctx context.Context, key string, lease, wait time.Duration, tags []string) (c Computation, err error) {
	began := time.Now()
	if err = f.checkKey(key); err == nil {
		err = f.checkTags(tags)
	}
	if err == nil {
		c, err = f.tags.GetOrCompute(ctx, &f.waits, key, lease, wait, tags)
	}
	return c, f.done(opLease, began, err)
}

// Computed ends a computation; see Tagged.
func (f *Front) Computed(ctx context.Context, item Item, token string) (ok bool, err error) {
	began := time.Now()
	if err = f.check([]Item{item}); err == nil {
		ok, err = f.tags.Computed(ctx, &f.waits, item, token)
	}
	if ok {
		f.wrote([]Item{item}, err)
	}
	return ok, f.done(opLease, began, err)
}

// Abandon gives a computation to the next caller.
func (f *Front) Abandon(ctx context.Context, key, token string) (ok bool, err error) {
	began := time.Now()
	if err = f.checkKey(key); err == nil {
		ok, err = f.tags.Abandon(ctx, &f.waits, key, token)
	}
	return ok, f.done(opLease, began, err)
}

// Lock gives a key to one holder at a time: an empty token says that others have held it for all of wait. See Tagged.
func (f *Front) Lock(ctx context.Context, key string, lease, wait time.Duration) (token string, fence int64, err error) {
	began := time.Now()
	if err = f.checkKey(key); err == nil {
		token, fence, err = f.tags.Lock(ctx, &f.waits, key, lease, wait)
	}
	return token, fence, f.done(opLock, began, err)
}

// Renew makes a lock last longer; false says that it is lost.
func (f *Front) Renew(ctx context.Context, key, token string, lease time.Duration) (ok bool, err error) {
	began := time.Now()
	if err = f.checkKey(key); err == nil {
		ok, err = f.tags.Renew(ctx, key, token, lease)
	}
	return ok, f.done(opLock, began, err)
}

// Unlock gives a lock back; false says that it was lost before.
func (f *Front) Unlock(ctx context.Context, key, token string) (ok bool, err error) {
	began := time.Now()
	if err = f.checkKey(key); err == nil {
		ok, err = f.tags.Unlock(ctx, &f.waits, key, token)
	}
	return ok, f.done(opLock, began, err)
}
