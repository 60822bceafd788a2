package acme

import (
	"context"
	"fmt"
	"sync"

	"github.com/caddyserver/certmagic"
)

// files is storage in a folder that belongs to this process alone, as state_dir does: its locks need no files.
type files struct {
	*certmagic.FileStorage

	mu   sync.Mutex
	held map[string]chan struct{} // closed when a lock is given back
}

var _ certmagic.Storage = (*files)(nil)

func newFiles(dir string) *files {
	return &files{FileStorage: &certmagic.FileStorage{Path: dir}, held: map[string]chan struct{}{}}
}

// Lock implements certmagic.Locker.
func (f *files) Lock(ctx context.Context, name string) error {
	for {
		given := f.take(name)
		if given == nil {
			return nil
		}
		select {
		case <-given:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take takes a lock, or returns what is closed when its holder gives it back.
func (f *files) take(name string) (given <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if given, held := f.held[name]; held {
		return given
	}
	f.held[name] = make(chan struct{})
	return nil
}

// TryLock implements certmagic.TryLocker.
func (f *files) TryLock(_ context.Context, name string) (bool, error) {
	return f.take(name) == nil, nil
}

// Unlock implements certmagic.Locker.
func (f *files) Unlock(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	given, held := f.held[name]
	if !held {
		return fmt.Errorf("the lock %q is not held", name)
	}
	delete(f.held, name)
	close(given)
	return nil
}
