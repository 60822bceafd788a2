package php

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// tempDir is the folder in which a pool keeps bodies and uploads until they are answered. The workers may look into it and
// take files out of it. When they run as somebody else it still belongs to Edge, so that a worker cannot put another folder
// in its place.
type tempDir struct {
	path string
	user *osproc.Account // who the workers run as, nil for Edge's own user
	lock *os.File        // the folder itself, locked for as long as it is in use
}

func newTempDir(parent, pool string, user *osproc.Account) (*tempDir, error) {
	prefix := "edge-" + safeName(pool) + "-"
	sweepTemp(parent, prefix)
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, fmt.Errorf("make the temporary folder of php pool %q: %w", pool, err)
	}
	d := &tempDir{path: path, user: user}
	if err := d.open(pool); err != nil {
		_ = d.remove()
		return nil, err
	}
	return d, nil
}

// open locks the folder and lets the workers in.
func (d *tempDir) open(pool string) (err error) {
	if d.lock, err = lockFolder(d.path); err != nil {
		return fmt.Errorf("lock the temporary folder of php pool %q: %w", pool, err)
	}
	if d.user == nil {
		return nil
	}
	if err := os.Chown(d.path, -1, int(d.user.GID)); err != nil {
		return fmt.Errorf("give the temporary folder of php pool %q to group %d: %w", pool, d.user.GID, err)
	}
	if err := os.Chmod(d.path, 0o730); err != nil {
		return fmt.Errorf("open the temporary folder of php pool %q to its workers: %w", pool, err)
	}
	return nil
}

// staleAfter is how old a folder without a lock must be to be removed: a new one is not locked for a moment.
const staleAfter = time.Minute

// sweepTemp removes the folders that a killed Edge left behind.
func sweepTemp(parent, prefix string) {
	if parent == "" {
		parent = os.TempDir()
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return // making the new folder will tell
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < staleAfter || !ownedByUs(info) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if lock, err := lockFolder(path); err == nil {
			_ = os.RemoveAll(path)
			lock.Close()
		}
	}
}

// lockFolder takes the lock of a folder, which ends with its process. It fails when somebody has it.
func lockFolder(path string) (*os.File, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		folder.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return folder, nil
}

func ownedByUs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// create makes a new file that the workers can read and move, in dir when that is given.
func (d *tempDir) create(dir, prefix string) (*os.File, error) {
	if dir == "" {
		dir = d.path
	}
	file, err := os.CreateTemp(dir, prefix)
	if err != nil {
		return nil, err
	}
	if d.user != nil {
		if err := file.Chown(int(d.user.UID), int(d.user.GID)); err != nil {
			file.Close()
			os.Remove(file.Name())
			return nil, fmt.Errorf("give %s to user %d: %w", file.Name(), d.user.UID, err)
		}
	}
	return file, nil
}

func (d *tempDir) remove() error {
	err := os.RemoveAll(d.path)
	if d.lock != nil {
		d.lock.Close()
	}
	return err
}

// safeName is a pool's name as a part of a file's name.
func safeName(name string) string {
	return strings.Map(func(c rune) rune {
		if c == filepath.Separator || c == '*' || c < ' ' {
			return '_'
		}
		return c
	}, name)
}

// spoolBuffer is what is copied to and from disk at a time.
const spoolBuffer = 64 << 10

var spoolBuffers = sync.Pool{New: func() any { return new([spoolBuffer]byte) }}

// spool copies src to dst and says which of the two failed. io.Copy would take the time of one allocation and mix the errors.
func spool(dst io.Writer, src io.Reader) (n int64, readErr, writeErr error) {
	buf := spoolBuffers.Get().(*[spoolBuffer]byte)
	defer spoolBuffers.Put(buf)
	for {
		got, err := src.Read(buf[:])
		if got > 0 {
			wrote, werr := dst.Write(buf[:got])
			n += int64(wrote)
			if werr != nil {
				return n, nil, werr
			}
		}
		if err == io.EOF {
			return n, nil, nil
		}
		if err != nil {
			return n, err, nil
		}
	}
}
