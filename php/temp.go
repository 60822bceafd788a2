package php

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// tempDir is the folder in which a pool keeps bodies and uploads until they are answered. The workers may look into it and
// take files out of it. When they run as somebody else it still belongs to Edge, so that a worker cannot put another folder
// in its place.
type tempDir struct {
	path string
	user *account // who the workers run as, nil for Edge's own user
}

func newTempDir(parent, pool string, user *account) (*tempDir, error) {
	path, err := os.MkdirTemp(parent, "edge-"+safeName(pool)+"-")
	if err != nil {
		return nil, fmt.Errorf("make the temporary folder of php pool %q: %w", pool, err)
	}
	d := &tempDir{path: path, user: user}
	if user == nil {
		return d, nil
	}
	if err := os.Chown(path, -1, int(user.gid)); err != nil {
		return nil, fmt.Errorf("give the temporary folder of php pool %q to group %d: %w", pool, user.gid, err)
	}
	if err := os.Chmod(path, 0o730); err != nil {
		return nil, fmt.Errorf("open the temporary folder of php pool %q to its workers: %w", pool, err)
	}
	return d, nil
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
		if err := file.Chown(int(d.user.uid), int(d.user.gid)); err != nil {
			file.Close()
			os.Remove(file.Name())
			return nil, fmt.Errorf("give %s to user %d: %w", file.Name(), d.user.uid, err)
		}
	}
	return file, nil
}

func (d *tempDir) remove() error { return os.RemoveAll(d.path) }

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
