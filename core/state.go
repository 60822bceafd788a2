package core

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

const lockName = "edge.lock"

// stateLock is the state folder, held by this process alone.
type stateLock struct {
	mu   sync.Mutex // guards what follows: stops may overlap
	file *os.File   // nil once released

	// shared is set while another process has the same lock: to give it back would be to take it from that one, too.
	shared bool
}

// openStateDir creates the state folder and locks it, so that two servers never share sockets or stores by mistake.
//
// Its mode is 0700. When workers run as another user than this process, they must reach rpc.sock in it: then it is 0711,
// which lets them pass but not look, and what is secret in it is 0600 or in a 0700 folder of its own.
//
// held is the lock of the process whose place this one takes, which is ours then; nil without one.
func openStateDir(cfg *Config, held *os.File) (*stateLock, error) {
	if err := os.MkdirAll(cfg.StateDir, stateDirMode(cfg)); err != nil {
		return nil, fmt.Errorf("state_dir: %w", err)
	}
	if err := checkOwn(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("state_dir: %w", err)
	}
	if err := os.Chmod(cfg.StateDir, stateDirMode(cfg)); err != nil {
		return nil, fmt.Errorf("state_dir: %w: it must belong to the user that runs edge", err)
	}
	path := filepath.Join(cfg.StateDir, lockName)
	if sameFile(held, path) {
		return &stateLock{file: held, shared: true}, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state_dir: %w", err)
	}
	if err := lockFile(file); err != nil {
		holder := make([]byte, 32)
		n, _ := file.ReadAt(holder, 0)
		return nil, errors.Join(fmt.Errorf("state_dir %s is in use by the edge with pid %s: stop it, or set another state_dir",
			cfg.StateDir, strings.TrimSpace(string(holder[:n]))), file.Close())
	}
	sweepWorkerSockets(cfg.StateDir)
	if err := errors.Join(file.Truncate(0), writeAt(file, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		return nil, errors.Join(fmt.Errorf("state_dir: write %s: %w", path, err), file.Close())
	}
	return &stateLock{file: file}, nil
}

func stateDirMode(cfg *Config) os.FileMode {
	if len(workerUIDs(cfg)) > 0 {
		return 0o711
	}
	return 0o700
}

// checkOwn refuses a folder that is there for something else, such as /tmp or the application's: its mode is about to change.
func checkOwn(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	for _, entry := range entries {
		switch entry.Name() {
		case lockName, "ca": // the CA may be older than the first start: `edge trust` makes it
			return nil
		}
	}
	return fmt.Errorf("%s has other things in it, such as %s: name a folder that Edge has for itself", dir, entries[0].Name())
}

// openTo lets the workers of cfg, which a reload brings, pass through the state folder. It never closes it: older ones may be left.
func (l *stateLock) openTo(cfg *Config) error {
	if stateDirMode(cfg) == 0o700 {
		return nil
	}
	if err := os.Chmod(cfg.StateDir, stateDirMode(cfg)); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	return nil
}

// release lets the next process have the folder. The lock file stays: removing it would let two processes lock two files.
func (l *stateLock) release() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	var err error
	if !l.shared {
		err = unlockFile(l.file)
	}
	err = errors.Join(err, l.file.Close())
	l.file = nil
	return err
}

// share says whether another process has the lock as well.
func (l *stateLock) share(with bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared = with
}

// fd is the descriptor, or -1 once the lock was given back.
func (l *stateLock) fd() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return -1
	}
	return int(l.file.Fd())
}

// sign writes who holds the lock.
func (l *stateLock) sign() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	text := strconv.Itoa(os.Getpid()) + "\n"
	return errors.Join(writeAt(l.file, text), l.file.Truncate(int64(len(text)))) // it is never empty
}

// sameFile reports whether the file at path is the open one.
func sameFile(open *os.File, path string) bool {
	if open == nil {
		return false
	}
	a, err := open.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
