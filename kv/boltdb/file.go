package boltdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/edge-server/edge/kv"
)

// Files opens each file once for all stores of the process that are in it. The zero value is not ready: see NewFiles.
type Files struct {
	log *slog.Logger

	mu   sync.Mutex // protects open, and users of the files in it
	open map[string]*file
}

// NewFiles returns a Files without any.
func NewFiles(log *slog.Logger) *Files { return &Files{log: log, open: map[string]*file{}} }

// file is an open file, its writer and the stores in it.
type file struct {
	path  string
	cfg   kv.BoltConfig // of the store that came first; Bucket means nothing here
	owner string        // the store that came first
	log   *slog.Logger
	users int // stores that have it open, and those about to

	queue chan *request
	stop  chan struct{} // closed by release
	done  chan struct{} // closed when the writer has ended; closeErr is set by then

	closeErr error

	// stuck is why the last flush of sync: interval failed. Until one holds, no more values are acknowledged.
	stuck atomic.Pointer[error]

	// swap is held by readers while they read, and by a compaction while it puts another file in the place of db.
	swap sync.RWMutex
	db   *bolt.DB

	mu     sync.Mutex // protects stores
	stores map[string]*Store

	// broken is why nothing can be written any more: what the disk holds after a failed sync is not known.
	broken atomic.Pointer[error]

	// room is how many bytes may be added, as of the last commit; without a limit it means nothing.
	room     atomic.Int64
	diskSize atomic.Int64
	free     atomic.Int64
}

// maxQueue bounds the writes that wait for the writer. Whoever comes later waits to get in.
const maxQueue = 1024

// acquire returns the file at path, which is opened when nobody has it.
func (f *Files) acquire(name string, cfg kv.BoltConfig) (*file, error) {
	path, err := resolve(cfg.File)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if shared, ok := f.open[path]; ok {
		if err := shared.agrees(cfg); err != nil {
			return nil, err
		}
		shared.users++
		return shared, nil
	}
	db, err := openDB(path, cfg)
	if err != nil {
		return nil, err
	}
	opened := &file{
		path: path, cfg: cfg, owner: name, log: f.log, users: 1, db: db, stores: map[string]*Store{},
		queue: make(chan *request, maxQueue), stop: make(chan struct{}), done: make(chan struct{}),
	}
	opened.measure()
	f.open[path] = opened
	go opened.write() // ends when release has closed stop; release waits for it
	return opened, nil
}

// release gives the file back; the last one closes it.
func (f *Files) release(ctx context.Context, opened *file) error {
	f.mu.Lock()
	opened.users--
	last := opened.users == 0
	if last {
		delete(f.open, opened.path) // whoever opens it now waits for the lock
		close(opened.stop)
	}
	f.mu.Unlock()
	if !last {
		return nil
	}
	select {
	case <-opened.done:
	case <-ctx.Done():
		return fmt.Errorf("close %s: its last writes are still under way: %w", opened.path, ctx.Err())
	}
	return opened.closeErr
}

// agrees compares what belongs to the file, not to a store in it.
func (f *file) agrees(cfg kv.BoltConfig) error {
	mine := f.cfg
	var differ []string
	for _, s := range []struct {
		key         string
		here, there any
	}{
		{"sync", cfg.Sync, mine.Sync}, {"sync_interval", cfg.SyncInterval, mine.SyncInterval},
		{"sweep_interval", cfg.SweepInterval, mine.SweepInterval}, {"max_file_size", cfg.MaxFileSize, mine.MaxFileSize},
		{"permissions", cfg.Permissions, mine.Permissions}, {"lock_timeout", cfg.LockTimeout, mine.LockTimeout},
	} {
		if s.here != s.there {
			differ = append(differ, fmt.Sprintf("boltdb.%s is %v there and %v here", s.key, s.there, s.here))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("store %q has the same file %s with other settings, which belong to the file: %s; write the same in both, or give each a boltdb.file of its own",
		f.owner, f.path, strings.Join(differ, ", "))
}

// resolve names a file in one way, whatever links lead to it.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // the file is not there yet
	if err != nil {
		return "", fmt.Errorf("the folder of boltdb.file %s: %w; create it, or name another file", path, err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// openDB opens a file as bbolt does, with errors that say what to do.
func openDB(path string, cfg kv.BoltConfig) (*bolt.DB, error) {
	mode, err := cfg.FileMode()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, mode); err != nil {
			return nil, fmt.Errorf("create %s: %w", path, err)
		}
	}
	for end := time.Now().Add(cfg.LockTimeout); ; {
		var handle *os.File
		db, err := openBolt(path, mode, &bolt.Options{
			Timeout:      max(time.Until(end), time.Millisecond),
			FreelistType: bolt.FreelistMapType,
			MaxSize:      int(cfg.MaxFileSize),
			NoSync:       cfg.Sync == kv.SyncNever,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(name, flag, mode)
				handle = f
				return f, err
			},
		})
		switch {
		case errors.Is(err, bolterrors.ErrTimeout):
			return nil, fmt.Errorf("%s is locked by another process, and was for %s (boltdb.lock_timeout): a boltdb file has one server at a time; "+
				"stop the other one (fuser %s names it), or give this store a boltdb.file of its own", path, cfg.LockTimeout, path)
		case err != nil:
			if handle != nil {
				handle.Close() // bbolt leaves it open, and locked, when it panics; else it is closed already
			}
			return nil, explain(path, err)
		}
		// While this process waited for the lock, the other one may have put a compacted file in the place of the one it had.
		if stillThere(path, handle) {
			if max := int(cfg.MaxFileSize); max > 0 {
				db.AllocSize = min(db.AllocSize, max/64)
			}
			return db, nil
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
}

// create makes an empty file. It gets its name when it is whole and on the disk: bbolt would leave one without content, or with
// half of it, when the power goes at that moment, and never open it again.
func create(path string, mode fs.FileMode) error {
	fresh, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(fresh.Name())
	if err := errors.Join(fresh.Chmod(mode), fresh.Close()); err != nil {
		return err
	}
	db, err := bolt.Open(fresh.Name(), mode, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	err = os.Link(fresh.Name(), path) // unlike a rename, it does not replace what another process has made meanwhile
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// openBolt is bolt.Open on a file that may be damaged.
func openBolt(path string, mode fs.FileMode, options *bolt.Options) (db *bolt.DB, err error) {
	if err := checkSize(path); err != nil {
		return nil, err
	}
	defer guard(path, &err)()
	return bolt.Open(path, mode, options)
}

func stillThere(path string, handle *os.File) bool {
	named, err := os.Stat(path)
	if err != nil {
		return false
	}
	opened, err := handle.Stat()
	return err == nil && os.SameFile(named, opened)
}

func explain(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open %s: %w: give the user that runs Edge the right to read and write it", path, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return fmt.Errorf("%s is no boltdb file, or its head is damaged (%w): name another boltdb.file, or put a backup in its place", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// guard turns what bbolt does on a damaged page, which is to panic or to read outside of the mapping, into an error.
func guard(path string, err *error) (recovered func()) {
	fault := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(fault)
		if reason := recover(); reason != nil {
			*err = fmt.Errorf("%s is damaged: %v; put a backup in its place", path, reason)
		}
	}
}

// view runs read in a transaction that sees the last commit.
func (f *file) view(read func(*bolt.Tx) error) (err error) {
	f.swap.RLock()
	defer f.swap.RUnlock()
	defer guard(f.path, &err)()
	return f.db.View(read)
}

// usable reports why nothing can be written any more.
func (f *file) usable() error {
	if why := f.broken.Load(); why != nil {
		return *why
	}
	return nil
}
