package boltdb

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// sweepBatch bounds what a sweep removes in one transaction, so that writes do not wait for it.
const sweepBatch = 1000

// sweep removes what has ended, from every store.
func (f *file) sweep() {
	for _, s := range f.all() {
		for s.due(time.Now().UnixMilli()) {
			r := &request{done: make(chan struct{}), run: func(c *change) error { return c.sweep(s) }}
			if f.commit([]*request{r}); r.err != nil {
				f.log.Warn("kv: keys that have ended could not be removed; nobody sees them, and the next sweep tries again", "file", f.path, "error", r.err)
				return
			}
			if f.run(f.gather(nil)); f.stopping() {
				return
			}
		}
	}
}

func (f *file) stopping() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

// due reports whether the first deadline of the index has come.
func (s *Store) due(now int64) (due bool) {
	_ = s.file.view(func(tx *bolt.Tx) error { // a damaged index is found by whoever writes
		index := tx.Bucket(s.index)
		if index == nil {
			return nil
		}
		key, _ := index.Cursor().First()
		expires, _, ok := parseIndexKey(key)
		due = key != nil && (!ok || expires <= now)
		return nil
	})
	return due
}

// sweep removes the first of what has ended. An entry of the index may be older than what stands under its key: then it goes alone.
func (c *change) sweep(s *Store) error {
	p, err := c.on(s)
	if err != nil {
		return err
	}
	var entries [][]byte
	for cursor, n := p.index.Cursor(), 0; n < sweepBatch; n++ {
		entry, _ := cursor.First()
		if n > 0 {
			entry, _ = cursor.Seek(append(entries[n-1], 0))
		}
		if expires, _, ok := parseIndexKey(entry); entry == nil || ok && expires > c.now {
			break
		}
		entries = append(entries, append(make([]byte, 0, len(entry)+1), entry...))
	}
	for _, entry := range entries {
		expires, key, ok := parseIndexKey(entry)
		if old, found := p.old(string(key)); ok && found && old.expires == expires {
			if err := p.remove(string(key)); err != nil {
				return err
			}
			p.expired++
			continue
		}
		c.dirty = true
		if err := p.index.Delete(entry); err != nil {
			return err
		}
	}
	return nil
}
