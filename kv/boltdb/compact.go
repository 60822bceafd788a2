package boltdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/kv"
)

// bbolt gives pages back to itself, never to the disk. A compaction copies what is there to a new file, which then takes the place
// of the old one in one step; a crash leaves one or the other, and perhaps FILE.compact, which the next compaction replaces.

// compactTx is how much one transaction of the copy holds.
const compactTx = 1 << 20

// Compaction is the result of one.
type Compaction struct {
	File   string `json:"file"`
	Before int64  `json:"before"` // bytes of the file
	After  int64  `json:"after"`
}

// Compact makes the store's file as small as its data. Reads go on; writes, to the other stores in the file too, wait for it.
func (s *Store) Compact(ctx context.Context) (result Compaction, err error) {
	if s.closed.Load() {
		return result, kv.ErrClosed
	}
	if err := s.flush(ctx); err != nil {
		return result, err
	}
	f := s.file
	err = f.do(ctx, &request{alone: func() error {
		if err := f.usable(); err != nil {
			return err
		}
		result, err = f.compact()
		return err
	}})
	return result, err
}

// CompactFile compacts a file that no server has open.
func CompactFile(cfg kv.BoltConfig) (result Compaction, err error) {
	path, err := resolve(cfg.File)
	if err != nil {
		return result, err
	}
	if _, err := os.Stat(path); err != nil {
		return result, err // else it would be made
	}
	db, err := openDB(path, cfg)
	if err != nil {
		return result, err
	}
	f := &file{path: path, cfg: cfg, db: db, log: slog.New(slog.DiscardHandler)}
	result, err = f.compact()
	return result, errors.Join(err, f.db.Close())
}

// compact runs in the writer, so nothing is written meanwhile.
func (f *file) compact() (result Compaction, err error) {
	before, err := os.Stat(f.path)
	if err != nil {
		return result, err
	}
	copied, err := f.copy(before.Mode().Perm())
	if err != nil {
		return result, fmt.Errorf("compact %s: %w; the file is as it was", f.path, err)
	}
	if err := f.replace(copied); err != nil {
		return result, fmt.Errorf("compact %s: %w; the file is as it was", f.path, err)
	}
	after, err := os.Stat(f.path)
	if err != nil {
		return result, err
	}
	if f.stores != nil {
		f.measure()
	}
	return Compaction{File: f.path, Before: before.Size(), After: after.Size()}, nil
}

// copy writes the data to a new file, which is open and locked, and on the disk.
func (f *file) copy(mode os.FileMode) (_ *bolt.DB, err error) {
	path := f.path + ".compact"
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	copied, err := bolt.Open(path, mode, &bolt.Options{
		Timeout: f.cfg.LockTimeout, FreelistType: bolt.FreelistMapType, PageSize: f.db.Info().PageSize, NoSync: true, NoGrowSync: true,
	})
	if err != nil {
		_ = os.Remove(path) // without room on the disk, bbolt leaves an empty file
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, copied.Close(), os.Remove(path))
		}
	}()
	err = func() (err error) {
		defer guard(f.path, &err)()
		return bolt.Compact(copied, f.db, compactTx)
	}()
	if err != nil {
		return nil, err
	}
	if err := trim(copied); err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	copied.NoSync, copied.NoGrowSync = f.cfg.Sync == kv.SyncNever, false
	copied.AllocSize, copied.MaxSize = f.db.AllocSize, f.db.MaxSize
	return copied, copied.Sync()
}

// trim is for the pages that the transactions of the copy have freed.
func trim(db *bolt.DB) error {
	tx, err := db.Begin(true)
	if err != nil {
		return err
	}
	return tx.Commit()
}

// replace puts the copy in the place of the file. Both are locked until the old one is closed, so nobody slips in between.
func (f *file) replace(copied *bolt.DB) error {
	f.swap.Lock()
	defer f.swap.Unlock()
	path := f.path + ".compact"
	if err := os.Rename(path, f.path); err != nil {
		return errors.Join(err, copied.Close(), os.Remove(path))
	}
	old := f.db
	f.db = copied
	if err := errors.Join(syncDir(filepath.Dir(f.path)), old.Close()); err != nil {
		f.log.Warn("kv: a boltdb file was compacted, with trouble", "file", f.path, "error", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
