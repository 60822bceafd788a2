package boltdb

import (
	"context"
	"errors"
	"time"

	"github.com/edge-server/edge/kv"
)

// A transaction writes every page that it changes to a place that is free, and what that leaves is free only after it. So a delete of
// keys in many pages needs room first, which a full file does not have. In parts it has: each gives back what the next one needs.

// Delete removes keys, damaged ones too, and sets Found.
func (s *Store) Delete(ctx context.Context, items []kv.Item) error {
	err := s.change(ctx, func(v view, _ int64) error {
		for i := range items {
			_, found, err := v.get(items[i].Key)
			items[i].Found = found || err != nil
			if err := v.remove(items[i].Key); err != nil {
				return err
			}
		}
		return nil
	})
	if half := len(items) / 2; half > 0 && errors.Is(err, kv.ErrFull) { // it was rolled back
		if err = s.Delete(ctx, items[:half]); err == nil {
			err = s.Delete(ctx, items[half:])
		}
	}
	return err
}

// relieve commits the deletes that overlays hold in parts. It reports whether it committed any.
func (f *file) relieve() (done bool) {
	for _, s := range f.all() {
		for n := s.overlay.deletes() / 2; n > 0; {
			layer := s.overlay.takeDeletes(n)
			if layer == nil {
				break
			}
			err := f.commitDeletes(s, layer)
			switch {
			case err == nil:
				done = true
			case errors.Is(err, kv.ErrFull):
				n /= 2
			default:
				return done
			}
		}
	}
	return done
}

func (f *file) commitDeletes(s *Store, l *layer) error {
	c := &change{file: f, now: time.Now().UnixMilli(), taken: []*Store{s}}
	var err error
	if c.tx, err = f.begin(); err != nil {
		c.settleOverlays(false)
		return err
	}
	if err, _ := c.try(func(c *change) error { return c.apply(s, l) }); err != nil {
		return errors.Join(err, c.rollback())
	}
	if !c.dirty {
		c.settleOverlays(true)
		return c.rollback()
	}
	return c.commit()
}

func (o *overlay) deletes() int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.pending.cleared {
		return 0
	}
	return len(o.pending.gone)
}

// takeDeletes moves up to n deletes from pending to flushing, and returns them.
func (o *overlay) takeDeletes(n int) *layer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending.cleared || len(o.pending.gone) == 0 {
		return nil
	}
	taken := newLayer()
	for key := range o.pending.gone {
		if n--; n < 0 {
			break
		}
		taken.remove(key)
		delete(o.pending.gone, key)
		o.pending.bytes -= footprint(key, nil)
	}
	o.flushing = &taken
	return &taken
}
