package telemetry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// Rotate says when a log file gives way to a new one, and what becomes of it.
type Rotate struct {
	// MaxSize is where a file is put aside. 0: never. Default 100MiB.
	MaxSize bytesize.Size `koanf:"max_size"`

	// MaxAge is how long files that were put aside are kept. 0: for ever. Default 0s.
	MaxAge time.Duration `koanf:"max_age"`

	// Backups is how many of them are kept. 0: all. Default 10.
	Backups int `koanf:"backups"`

	// Compress packs them by gzip. Default true.
	Compress bool `koanf:"compress"`
}

// DefaultRotate is what an absent rotate section means.
func DefaultRotate() Rotate { return Rotate{MaxSize: 100 * bytesize.MiB, Backups: 10, Compress: true} }

// Validate returns every mistake.
func (r Rotate) Validate() error {
	var errs []error
	if r.MaxSize < 0 || r.MaxSize > 0 && r.MaxSize < 4*bytesize.KiB {
		errs = append(errs, fmt.Errorf("max_size: must be at least 4KiB, or 0, got %s", r.MaxSize))
	}
	if r.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("max_age: must not be negative, got %s", r.MaxAge))
	}
	if r.Backups < 0 {
		errs = append(errs, fmt.Errorf("backups: must not be negative, got %d", r.Backups))
	}
	return errors.Join(errs...)
}

// asideLayout is what stands in the name of a file that was put aside: edge.log is edge-2026-01-02T15-04-05.000000000.log then.
const asideLayout = "2006-01-02T15-04-05.000000000"

// File is a log file that rotates. Each Write is one line, or a few; none is torn apart.
type File struct {
	path string
	rule Rotate

	mu     sync.Mutex // protects what follows
	file   *os.File   // nil after Close
	size   int64
	closed bool

	tidy chan struct{} // a token asks for the old files to be looked after
	done chan struct{}
}

// OpenFile opens a file to append to. Its folder has to be there.
func OpenFile(path string, rule Rotate) (*File, error) {
	f := &File{path: path, rule: rule, tidy: make(chan struct{}, 1), done: make(chan struct{})}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	f.tidy <- struct{}{} // what an earlier run has left
	go func() {          // ends when tidy is closed by Close
		defer close(f.done)
		for range f.tidy {
			f.lookAfter()
		}
	}()
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write appends p. After Close it still does, one line at a time: the last words of a server come late.
func (f *File) Write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return appendOnce(f.path, p)
	}
	for err == nil && n < len(p) {
		var k int
		k, err = f.file.Write(p[n : n+f.fits(p[n:])])
		n, f.size = n+k, f.size+int64(k)
	}
	return n, err
}

// fits is how much of p goes into the file that is open then: all of it, or the lines for which there is room. When there is room for none,
// the file gives way to another.
func (f *File) fits(p []byte) int {
	room := int64(f.rule.MaxSize) - f.size
	if f.rule.MaxSize == 0 || int64(len(p)) <= room {
		return len(p)
	}
	if lines := bytes.LastIndexByte(p[:max(room, 0)], '\n') + 1; lines > 0 {
		return lines
	}
	if f.size > 0 {
		f.rotate()
	}
	most := min(int64(len(p)), int64(f.rule.MaxSize))
	if lines := bytes.LastIndexByte(p[:most], '\n') + 1; lines > 0 {
		return lines
	}
	if line := bytes.IndexByte(p, '\n') + 1; line > 0 {
		return line
	}
	return len(p)
}

// rotate puts the file aside. What does not work leaves the log in the file where it is: it is worth more than its size.
func (f *File) rotate() {
	ext := filepath.Ext(f.path)
	aside := strings.TrimSuffix(f.path, ext) + "-" + time.Now().UTC().Format(asideLayout) + ext
	if err := os.Rename(f.path, aside); err != nil {
		f.size = 0 // tried again when as much has been written again
		return
	}
	old := f.file
	if err := f.open(); err != nil {
		_ = os.Rename(aside, f.path)
		f.size = 0
		return
	}
	old.Close()
	select {
	case f.tidy <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Reopen opens the file anew when another one, or none, has its name: other programs put log files aside, too. What has been written before is
// in the one that was put aside. On an error the log goes on there.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	mine, err := f.file.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Stat(f.path); err == nil && os.SameFile(mine, named) {
		return nil
	}
	old := f.file
	if err := f.open(); err != nil {
		return fmt.Errorf("open the log anew: %w", err)
	}
	return old.Close()
}

// Close returns when old files are packed and the last byte is in the file.
func (f *File) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	close(f.tidy)
	err := f.file.Close()
	f.mu.Unlock()
	<-f.done
	return err
}

func appendOnce(path string, p []byte) (int, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return 0, err
	}
	n, err := file.Write(p)
	return n, errors.Join(err, file.Close())
}

// lookAfter packs the files that were put aside and removes those that are too many or too old. It does what it can.
func (f *File) lookAfter() {
	old := f.aside()
	for i, path := range old { // youngest first
		made, _ := f.madeAt(path)
		tooMany := f.rule.Backups > 0 && i >= f.rule.Backups
		tooOld := f.rule.MaxAge > 0 && time.Since(made) > f.rule.MaxAge
		switch {
		case tooMany || tooOld:
			_ = os.Remove(path)
		case f.rule.Compress && !strings.HasSuffix(path, ".gz"):
			_ = pack(path)
		}
	}
}

// aside lists the files that were put aside, the youngest first. Only names that this code makes count.
func (f *File) aside() []string {
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		path := filepath.Join(filepath.Dir(f.path), e.Name())
		if _, ok := f.madeAt(path); ok && e.Type().IsRegular() {
			list = append(list, path)
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(b, ".gz"), strings.TrimSuffix(a, ".gz"))
	})
	return list
}

// madeAt reads when a file was put aside from its name.
func (f *File) madeAt(path string) (time.Time, bool) {
	ext := filepath.Ext(f.path)
	name := strings.TrimSuffix(path, ".gz")
	name, isOurs := strings.CutPrefix(name, strings.TrimSuffix(f.path, ext)+"-")
	stamp, isLog := strings.CutSuffix(name, ext)
	made, err := time.Parse(asideLayout, stamp)
	return made, isOurs && isLog && err == nil
}

// pack makes path.gz of path. The packed file has its name only when it is whole.
func pack(path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	part := path + ".gz.part"
	to, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(to)
	_, err = io.Copy(z, from)
	if err = errors.Join(err, z.Close(), to.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := os.Rename(part, path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}
