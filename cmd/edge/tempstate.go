package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// staleAfter is how old a folder without a lock must be to be removed: a new one is not locked for a moment.
const staleAfter = time.Minute

// tempState makes a state folder for a server that leaves nothing behind, and removes those of servers that were killed. The lock of
// a folder ends with its process.
func tempState(prefix string) (path string, remove func() error, err error) {
	sweepState(os.TempDir(), prefix)
	if path, err = os.MkdirTemp("", prefix); err != nil {
		return "", nil, err
	}
	lock, err := lockFolder(path)
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("lock the state folder: %w", err), os.RemoveAll(path))
	}
	return path, func() error { return errors.Join(os.RemoveAll(path), lock.Close()) }, nil
}

func sweepState(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return // making the new folder will tell
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), prefix) || !info.IsDir() || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if lock, err := lockFolder(path); err == nil {
			_ = os.RemoveAll(path) // what stays is swept another time
			lock.Close()
		}
	}
}

// lockFolder fails when somebody has the lock.
func lockFolder(path string) (*os.File, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(os.NewSyscallError("flock", err), folder.Close())
	}
	return folder, nil
}
