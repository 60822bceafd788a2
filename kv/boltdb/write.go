package boltdb

import (
	"context"
	"fmt"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/kv"
)

// view is what a write sees and changes: the transaction (part), or the overlay over the last commit (overlaid).
type view interface {
	// get returns what is there and has not expired.
	get(key string) (record, bool, error)
	put(key string, value []byte, expires int64) error
	remove(key string) error
	clear() error
}

// change runs a write, which may happen more than once, and returns when it is as safe as sync says.
func (s *Store) change(ctx context.Context, write func(view, int64) error) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.file.cfg.Sync == kv.SyncInterval {
		return s.changeOverlay(ctx, write)
	}
	return s.file.do(ctx, &request{run: func(c *change) error {
		p, err := c.on(s)
		if err != nil {
			return err
		}
		return write(p, c.now)
	}})
}

func (s *Store) changeOverlay(ctx context.Context, write func(view, int64) error) error {
	if err := s.file.usable(); err != nil {
		return err
	}
	o := &s.overlay
	now := time.Now().UnixMilli()
	locked := func() (tooMuch bool, err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.closed {
			return false, kv.ErrClosed
		}
		err = write(overlaid{s, now}, now)
		return o.pending.bytes > maxOverlay, err
	}
	tooMuch, err := locked()
	if err != nil || !tooMuch {
		return err
	}
	return s.flush(ctx)
}

// flush commits what the overlays of the file hold.
func (s *Store) flush(ctx context.Context) error {
	if s.file.cfg.Sync != kv.SyncInterval {
		return nil
	}
	return s.file.do(ctx, &request{run: func(*change) error { return nil }})
}

// set stores or, when the deadline has come, removes.
func set(v view, now int64, key string, value []byte, expires time.Time) error {
	end := millis(expires)
	if end != 0 && end <= now {
		return v.remove(key)
	}
	return v.put(key, value, end)
}

// Set stores the items one by one and stops at the first that has no room.
func (s *Store) Set(ctx context.Context, items []kv.Item) error {
	if err := checkKeys(items); err != nil {
		return err
	}
	return s.change(ctx, func(v view, now int64) error {
		for i := range items {
			if err := set(v, now, items[i].Key, items[i].Value, items[i].Expires); err != nil {
				return kv.ItemError{At: i, Err: err}
			}
		}
		s.sets.Add(uint64(len(items)))
		return nil
	})
}

// Add stores the items whose key is not there.
func (s *Store) Add(ctx context.Context, items []kv.Item) error {
	if err := checkKeys(items); err != nil {
		return err
	}
	return s.change(ctx, func(v view, now int64) error {
		for i := range items {
			item := &items[i]
			var err error
			if _, item.Found, err = v.get(item.Key); err != nil {
				return kv.ItemError{At: i, Err: err}
			}
			if item.Found {
				continue
			}
			if err := set(v, now, item.Key, item.Value, item.Expires); err != nil {
				return kv.ItemError{At: i, Err: err}
			}
			s.sets.Add(1)
		}
		return nil
	})
}

// Expire moves deadlines.
func (s *Store) Expire(ctx context.Context, items []kv.Item) error {
	return s.change(ctx, func(v view, now int64) error {
		for i := range items {
			r, found, err := v.get(items[i].Key)
			if items[i].Found = found; err != nil {
				return err
			}
			if !found {
				continue
			}
			if err := set(v, now, items[i].Key, r.value, items[i].Expires); err != nil {
				return err
			}
		}
		return nil
	})
}

// Clear removes every key of the store.
func (s *Store) Clear(ctx context.Context) error {
	return s.change(ctx, func(v view, _ int64) error { return v.clear() })
}

// Update changes one key in one step.
func (s *Store) Update(ctx context.Context, key string, modify func(kv.Item) (kv.Item, error)) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return s.change(ctx, func(v view, now int64) error {
		r, found, err := v.get(key)
		if err != nil {
			return err
		}
		old := kv.Item{Key: key, Found: found}
		if found {
			old.Value, old.Expires = r.value, deadline(r.expires)
		}
		changed, err := modify(old)
		switch {
		case err != nil:
			return err
		case !changed.Found:
			return v.remove(key)
		}
		s.sets.Add(1)
		return set(v, now, key, changed.Value, changed.Expires)
	})
}

// Increment adds to a decimal number.
func (s *Store) Increment(ctx context.Context, key string, delta int64, expires time.Time) (sum int64, err error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	err = s.change(ctx, func(v view, now int64) error {
		r, found, err := v.get(key)
		if err != nil {
			return err
		}
		if sum, err = kv.Sum(kv.Item{Value: r.value, Found: found}, delta); err != nil {
			return fmt.Errorf("%s: %w", s.where(key), err)
		}
		end := deadline(r.expires)
		if !found {
			end = expires
		}
		s.sets.Add(1)
		return set(v, now, key, strconv.AppendInt(nil, sum, 10), end)
	})
	if err != nil {
		return 0, err
	}
	return sum, nil
}

// adopt makes the store's buckets, and counts what is there if nobody has.
func (s *Store) adopt(ctx context.Context) error {
	var found survey
	err := s.file.do(ctx, &request{run: func(c *change) error {
		found = survey{}
		if b := c.tx.Bucket([]byte(storesBucket)); b != nil {
			if known, ok := parseCounts(b.Get(s.bucket)); ok {
				s.keys.Store(known.keys)
				s.bytes.Store(known.bytes)
				_, err := c.on(s)
				return err
			}
		}
		var err error
		if found, err = s.survey(c.tx); err != nil {
			return err
		}
		p, err := c.on(s)
		if err != nil {
			return err
		}
		p.counts = found.counts
		c.dirty = true
		return nil
	}})
	if err == nil {
		found.tell(s)
	}
	return err
}

// survey is what a bucket holds that Edge has not written to.
type survey struct {
	counts  counts
	foreign int64 // values of RoadRunner
	damaged int64
	first   error // about the first of these
	other   bool  // the bucket is empty, and RoadRunner's, which nobody has, is not
}

func (s *Store) survey(tx *bolt.Tx) (found survey, err error) {
	if rr := tx.Bucket([]byte(roadRunnerBucket)); rr != nil && string(s.bucket) != roadRunnerBucket && tx.Bucket(s.bucket) == nil {
		key, _ := rr.Cursor().First()
		found.other = key != nil && tx.Bucket([]byte(storesBucket)) == nil
	}
	b := tx.Bucket(s.bucket)
	if b == nil {
		return found, nil
	}
	return found, b.ForEach(func(key, data []byte) error {
		if data == nil {
			return fmt.Errorf("bucket %s of %s has a bucket %q in it: it is not a store's; name another boltdb.bucket", s.bucket, s.file.path, key)
		}
		found.counts.keys++
		found.counts.bytes += int64(len(key))
		r, err := parse(string(key), data)
		switch {
		case err != nil:
			if found.damaged++; found.first == nil {
				found.first = s.damaged(string(key), err)
			}
			found.counts.bytes += int64(len(data))
			return nil
		case r.foreign:
			found.foreign++
		}
		found.counts.bytes += int64(len(r.value))
		return nil
	})
}

// tell logs what an operator should know of a file that comes from elsewhere. It happens once in the life of a bucket.
func (found survey) tell(s *Store) {
	log := s.file.log.With("store", s.name, "file", s.file.path, "bucket", string(s.bucket))
	if found.foreign > 0 {
		log.Info("kv: RoadRunner wrote this boltdb file: its values are read where they are and turn into Edge's format when they are set, which "+
			"RoadRunner cannot read; none has a deadline, since RoadRunner keeps these in memory", "values", found.foreign)
	}
	if found.damaged > 0 {
		log.Warn("kv: values of this boltdb file are damaged; reading one is an error", "values", found.damaged, "first", found.first)
	}
	if found.other {
		log.Warn("kv: the store is empty, and the file has RoadRunner's bucket: write boltdb.bucket: default to read it")
	}
}
