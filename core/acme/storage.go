package acme

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
)

// Store is what a Manager needs of a store that several servers share.
type Store interface {
	// Load returns the value of a key.
	Load(ctx context.Context, key string) (value []byte, found bool, err error)

	// Save sets the value of a key, for ever.
	Save(ctx context.Context, key string, value []byte) error

	// Remove removes keys; those that are not there are no error.
	Remove(ctx context.Context, keys ...string) error

	// Keys returns all keys that begin with prefix.
	Keys(ctx context.Context, prefix string) ([]string, error)

	// Claim makes owner the holder of a key for the time ttl, unless there is another one, and reports whether owner holds it.
	Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error)

	// Yield ends what Claim began, unless it has ended by itself.
	Yield(ctx context.Context, key, owner string) error
}

const (
	// lockTime is how long a lock outlives a server that died with it.
	lockTime = 30 * time.Second

	// lockRenewal is how often a server that lives renews it.
	lockRenewal = lockTime / 3

	// lockPoll is how often one that waits looks.
	lockPoll = 500 * time.Millisecond

	filePrefix, lockPrefix = "acme/", "acme-lock/"
)

// storage is certmagic.Storage over a Store.
type storage struct {
	store Store
	owner string // of locks: this process

	mu   sync.Mutex
	held map[string]context.CancelFunc // ends the renewal of a lock
}

var _ certmagic.Storage = (*storage)(nil)

func newStorage(store Store) *storage {
	return &storage{store: store, owner: rand.Text(), held: map[string]context.CancelFunc{}}
}

// Store implements certmagic.Storage.
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	return s.store.Save(ctx, filePrefix+key, value)
}

// Load implements certmagic.Storage.
func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	value, found, err := s.store.Load(ctx, filePrefix+key)
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	return value, err
}

// Delete implements certmagic.Storage: a key that is a folder goes with what is in it.
func (s *storage) Delete(ctx context.Context, key string) error {
	below, err := s.store.Keys(ctx, filePrefix+key+"/")
	if err != nil {
		return err
	}
	return s.store.Remove(ctx, append(below, filePrefix+key)...)
}

// Exists implements certmagic.Storage.
func (s *storage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List implements certmagic.Storage.
func (s *storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	prefix := filePrefix
	if path = strings.Trim(path, "/"); path != "" {
		prefix += path + "/"
	}
	keys, err := s.store.Keys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, key := range keys {
		rest := strings.TrimPrefix(key, prefix)
		parts := strings.Split(rest, "/")
		for n := 1; n <= len(parts); n++ {
			list = append(list, strings.TrimPrefix(prefix, filePrefix)+strings.Join(parts[:n], "/"))
			if !recursive {
				break
			}
		}
	}
	if len(list) == 0 {
		return nil, fs.ErrNotExist
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Stat implements certmagic.Storage. When a key was changed is not known.
func (s *storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	value, found, err := s.store.Load(ctx, filePrefix+key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	if found {
		return certmagic.KeyInfo{Key: key, Size: int64(len(value)), IsTerminal: true}, nil
	}
	below, err := s.store.Keys(ctx, filePrefix+key+"/")
	if err == nil && len(below) == 0 {
		err = fs.ErrNotExist
	}
	return certmagic.KeyInfo{Key: key}, err
}

// Lock implements certmagic.Locker: it waits until nobody holds the lock.
func (s *storage) Lock(ctx context.Context, name string) error {
	for {
		taken, err := s.TryLock(ctx, name)
		if taken || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// TryLock implements certmagic.TryLocker. The lock is renewed until Unlock.
func (s *storage) TryLock(ctx context.Context, name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, held := s.held[name]; held { // by another goroutine of this process, which the store cannot tell from this one
		return false, nil
	}
	owner := s.owner
	taken, err := s.store.Claim(ctx, lockPrefix+name, owner, lockTime)
	if err != nil || !taken {
		return false, err
	}
	renewal, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.held[name] = stop
	go s.renew(renewal, name, owner) // ends with Unlock
	return true, nil
}

// renew keeps a lock. One that was lost, because the store was away for too long, stays lost: certmagic can bear that.
func (s *storage) renew(ctx context.Context, name, owner string) {
	tick := time.NewTicker(lockRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if held, err := s.store.Claim(ctx, lockPrefix+name, owner, lockTime); err == nil && !held {
				return
			}
		}
	}
}

// Unlock implements certmagic.Locker.
func (s *storage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	stop, held := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if !held {
		return fmt.Errorf("the lock %q is not held", name)
	}
	stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return s.store.Yield(ctx, lockPrefix+name, s.owner)
}

// guarded counts the locks that are held, so that a stop can wait until they are given back. It tells of a storage that fails: to certmagic
// that is one more handshake without a certificate, of which clients may cause as many as they like.
type guarded struct {
	certmagic.Storage
	log    *slog.Logger
	warned atomic.Int64 // seconds since 1970

	mu   sync.Mutex
	held int
	idle chan struct{} // a lock was given back; holds one
}

// warnEvery is how often the log has a storage that fails.
const warnEvery = 60

// tell puts what is wrong with the storage itself into the log, once in a while.
func (g *guarded) tell(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) {
		return err
	}
	now, last := time.Now().Unix(), g.warned.Load()
	if now-last >= warnEvery && g.warned.CompareAndSwap(last, now) {
		g.log.Warn("the store of certificates fails: those that are not in memory cannot be served until it is back", "error", err)
	}
	return err
}

// Load implements certmagic.Storage.
func (g *guarded) Load(ctx context.Context, key string) ([]byte, error) {
	value, err := g.Storage.Load(ctx, key)
	return value, g.tell(err)
}

// Store implements certmagic.Storage.
func (g *guarded) Store(ctx context.Context, key string, value []byte) error {
	return g.tell(g.Storage.Store(ctx, key, value))
}

// Stat implements certmagic.Storage.
func (g *guarded) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	info, err := g.Storage.Stat(ctx, key)
	return info, g.tell(err)
}

// List implements certmagic.Storage.
func (g *guarded) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	list, err := g.Storage.List(ctx, path, recursive)
	return list, g.tell(err)
}

// Lock implements certmagic.Locker.
func (g *guarded) Lock(ctx context.Context, name string) error {
	err := g.tell(g.Storage.Lock(ctx, name))
	if err == nil {
		g.count(1)
	}
	return err
}

// TryLock implements certmagic.TryLocker.
func (g *guarded) TryLock(ctx context.Context, name string) (bool, error) {
	tries, ok := g.Storage.(certmagic.TryLocker)
	if !ok {
		return true, g.Lock(ctx, name)
	}
	taken, err := tries.TryLock(ctx, name)
	if g.tell(err) == nil && taken {
		g.count(1)
	}
	return taken, err
}

// Unlock implements certmagic.Locker.
func (g *guarded) Unlock(ctx context.Context, name string) error {
	defer g.count(-1)
	return g.Storage.Unlock(ctx, name)
}

func (g *guarded) count(n int) {
	g.mu.Lock()
	g.held += n
	g.mu.Unlock()
	select {
	case g.idle <- struct{}{}:
	default:
	}
}

// wait returns when no lock is held, or when ctx ends.
func (g *guarded) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		held := g.held
		g.mu.Unlock()
		if held <= 0 {
			return nil
		}
		select {
		case <-g.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
