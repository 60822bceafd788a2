package boltdb

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/kv"
)

// Store implements kv.Store over a bucket of a file.
type Store struct {
	kv.Base

	name   string
	files  *Files
	file   *file
	bucket []byte
	index  []byte

	overlay overlay // of sync: interval
	closed  atomic.Bool

	keys, bytes                          atomic.Int64 // as of the last commit
	hits, misses, sets, refused, expired atomic.Uint64
}

var _ kv.Store = (*Store)(nil)

// roadRunnerBucket is where RoadRunner's driver has everything.
const roadRunnerBucket = "default"

// Open opens the store name as cfg says; files is the same for all stores of the process.
func Open(ctx context.Context, files *Files, name string, cfg kv.BoltConfig) (*Store, error) {
	f, err := files.acquire(name, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Bucket == "" {
		cfg.Bucket = name
	}
	s := &Store{name: name, files: files, file: f, bucket: []byte(cfg.Bucket), index: []byte("edge:expires:" + cfg.Bucket)}
	s.overlay.pending = newLayer()
	if err := f.join(s); err != nil {
		return nil, errors.Join(err, files.release(ctx, f))
	}
	if err := s.adopt(ctx); err != nil {
		f.leave(s)
		return nil, errors.Join(err, files.release(ctx, f))
	}
	return s, nil
}

func (f *file) join(s *Store) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, taken := f.stores[string(s.bucket)]; taken {
		return fmt.Errorf("store %q has bucket %s of %s already: give one of them another boltdb.bucket, or another boltdb.file", other.name, s.bucket, f.path)
	}
	f.stores[string(s.bucket)] = s
	return nil
}

func (f *file) leave(s *Store) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.stores, string(s.bucket))
}

// all returns the stores of the file.
func (f *file) all() []*Store {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*Store, 0, len(f.stores))
	for _, s := range f.stores {
		list = append(list, s)
	}
	return list
}

// Can implements kv.Store.
func (*Store) Can() kv.Can {
	return kv.CanUpdate | kv.CanAdd | kv.CanIncrement | kv.CanTTL | kv.CanScan | kv.CanPersist
}

// Has sets Found of the items.
func (s *Store) Has(ctx context.Context, items []kv.Item) error {
	return s.read(ctx, items, func(*kv.Item, record) {})
}

// Get sets Found and Value of the items.
func (s *Store) Get(ctx context.Context, items []kv.Item) error {
	hits := uint64(0)
	err := s.read(ctx, items, func(item *kv.Item, r record) {
		hits++
		item.Value = r.value
	})
	if err == nil {
		s.hits.Add(hits)
		s.misses.Add(uint64(len(items)) - hits)
	}
	return err
}

// TTL sets Found and Expires of the items.
func (s *Store) TTL(ctx context.Context, items []kv.Item) error {
	return s.read(ctx, items, func(item *kv.Item, r record) { item.Expires = deadline(r.expires) })
}

// read finds every item and calls fill for those that are there. The record's value is the caller's to keep.
func (s *Store) read(ctx context.Context, items []kv.Item, fill func(*kv.Item, record)) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	settled, all := s.readOverlay(items, now, fill)
	if all {
		return nil
	}
	return s.file.view(func(tx *bolt.Tx) error {
		for i := range items {
			if settled != nil && settled[i] {
				continue
			}
			r, found, err := s.stored(tx, items[i].Key)
			if err != nil {
				return err
			}
			if items[i].Found = found && !r.expired(now); items[i].Found {
				r.value = append(make([]byte, 0, len(r.value)), r.value...) // the transaction's memory ends with it
				fill(&items[i], r)
			}
		}
		return nil
	})
}

// readOverlay fills in what the overlay knows, before the transaction begins: what is committed meanwhile is in both.
func (s *Store) readOverlay(items []kv.Item, now int64, fill func(*kv.Item, record)) (settled []bool, all bool) {
	if s.file.cfg.Sync != kv.SyncInterval {
		return nil, false
	}
	s.overlay.mu.RLock()
	defer s.overlay.mu.RUnlock()
	if s.overlay.flushing == nil && s.overlay.pending.empty() {
		return nil, false
	}
	all = true
	settled = make([]bool, len(items))
	for i := range items {
		r, found, known := s.overlay.find(items[i].Key)
		if settled[i] = known; !known {
			all = false
			continue
		}
		if items[i].Found = found && !r.expired(now); items[i].Found {
			fill(&items[i], r)
		}
	}
	return settled, all
}

// stored is what the file has under a key, expired or not.
func (s *Store) stored(tx *bolt.Tx, key string) (r record, found bool, err error) {
	b := tx.Bucket(s.bucket)
	if b == nil || key == "" {
		return r, false, nil
	}
	data := b.Get([]byte(key))
	if data == nil {
		return r, false, nil
	}
	if r, err = parse(key, data); err != nil {
		return r, false, s.damaged(key, err)
	}
	return r, true, nil
}

// Scan implements kv.Store. The cursor is the last key of the page before.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	if s.closed.Load() {
		return nil, "", kv.ErrClosed
	}
	if err := s.flush(ctx); err != nil {
		return nil, "", err
	}
	const maxPage, maxLooks = 10_000, 50_000
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	now, start := time.Now().UnixMilli(), max(prefix, cursor)
	err = s.file.view(func(tx *bolt.Tx) error {
		keys, next = nil, ""
		b := tx.Bucket(s.bucket)
		if b == nil {
			return nil
		}
		at, looks := b.Cursor(), 0
		for key, data := at.Seek([]byte(start)); key != nil && hasPrefix(key, prefix); key, data = at.Next() {
			if cursor != "" && string(key) <= cursor {
				continue
			}
			if looks++; len(keys) == limit || looks > maxLooks {
				return nil
			}
			next = string(key)
			if r, err := parse(next, data); data != nil && (err != nil || !r.expired(now)) {
				keys = append(keys, next) // one that is damaged, too: it can be deleted
			}
		}
		next = ""
		return nil
	})
	return keys, next, err
}

func hasPrefix(key []byte, prefix string) bool {
	return len(key) >= len(prefix) && string(key[:len(prefix)]) == prefix
}

// Stats returns a snapshot. Bytes are those of keys and values; MaxBytes bounds the file, which is larger.
func (s *Store) Stats() kv.Stats {
	return kv.Stats{
		Driver: "boltdb", Counts: true, Keys: s.keys.Load(), Bytes: s.bytes.Load(), MaxBytes: int64(s.file.cfg.MaxFileSize),
		Hits: s.hits.Load(), Misses: s.misses.Load(), Sets: s.sets.Load(), Refused: s.refused.Load(), Expired: s.expired.Load(),
	}
}

// Close commits what was acknowledged, and gives the file back.
func (s *Store) Close(ctx context.Context) error {
	if s.closed.Swap(true) {
		return nil
	}
	s.overlay.mu.Lock()
	s.overlay.closed = true
	s.overlay.mu.Unlock()
	flushed := s.flush(ctx)
	if flushed != nil {
		flushed = fmt.Errorf("acknowledged writes of the last %s are lost: %w", s.file.cfg.SyncInterval, flushed)
	}
	s.file.leave(s)
	return errors.Join(flushed, s.files.release(ctx, s.file))
}

func (s *Store) counts() counts { return counts{s.keys.Load(), s.bytes.Load()} }

// where names a key for people.
func (s *Store) where(key string) string {
	const shown = 64
	if len(key) > shown {
		key = key[:shown] + "…"
	}
	return fmt.Sprintf("key %q in bucket %s of %s", key, s.bucket, s.file.path)
}

func (s *Store) damaged(key string, why error) error {
	return fmt.Errorf("%s is damaged: %w; delete or set it (`edge kv del`), or put a backup in place of the file", s.where(key), why)
}

func (s *Store) full(key string, need int64) error {
	s.refused.Add(1)
	return fmt.Errorf("%w: %s needs up to %d bytes, and %s has %s of its boltdb.max_file_size %s in use; delete keys, give them a timeout, or raise it",
		kv.ErrFull, s.where(key), need, s.file.path, bytesize.Size(s.file.diskSize.Load()-s.file.free.Load()), s.file.cfg.MaxFileSize)
}
