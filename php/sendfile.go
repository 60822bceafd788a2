package php

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/edge-server/edge/internal/httprange"
)

// PHP may answer with the name of a file in place of a body: the worker is free at once, and the file goes from the disk to the
// client by the kernel, with ranges, conditions and HEAD as for any static file. Two headers say so:
//
//	X-Sendfile: /srv/app/storage/report.pdf     a path in one of sendfile.folders, or relative to the pool's dir
//	X-Accel-Redirect: /protected/report.pdf     a URI below a prefix of sendfile.accel
//
// Whatever PHP may have been talked into, nothing outside of these folders is opened, by no .. and by no link, and nothing that the
// workers' user may not read.
const (
	headerSendfile = "X-Sendfile"
	headerAccel    = "X-Accel-Redirect"
	// accelPrefix begins the headers by which PHP talks to the server in front of it. With sendfile.accel that is Edge.
	accelPrefix = "X-Accel-"
)

var (
	errFileMissing   = errors.New("the file that php names does not exist")
	errFileForbidden = errors.New("the file that php names is not to be sent")
)

// on reports whether PHP may name files at all.
func (s *Sendfile) on() bool { return len(s.Folders) > 0 || len(s.Accel) > 0 }

// hides reports whether the header is between PHP and Edge only.
func (s *Sendfile) hides(name string) bool {
	return len(s.Folders) > 0 && name == headerSendfile || len(s.Accel) > 0 && strings.HasPrefix(name, accelPrefix)
}

// check finds out at the start what would fail at the first download.
func (s *Sendfile) check() error {
	var errs []error
	for i, folder := range s.Folders {
		if err := checkFolder(folder); err != nil {
			errs = append(errs, fmt.Errorf("sendfile.folders.%d: %w", i, err))
		}
	}
	for prefix, folder := range s.Accel {
		if err := checkFolder(folder); err != nil {
			errs = append(errs, fmt.Errorf("sendfile.accel.%s: %w", prefix, err))
		}
	}
	return errors.Join(errs...)
}

func checkFolder(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a folder", name)
	}
	return err
}

// passFile answers with the file that the head names, if it names one, and takes what only Edge is to see out of the head.
func (p *Pool) passFile(w http.ResponseWriter, r *http.Request, h *head, pid int) (done bool, err error) {
	s := &p.cfg.Sendfile
	accel, name := "", ""
	if len(s.Accel) > 0 {
		accel = h.value(headerAccel)
	}
	if len(s.Folders) > 0 {
		name = h.value(headerSendfile)
	}
	h.dropHidden(s)
	if accel == "" && name == "" || h.status == http.StatusNoContent || h.status == http.StatusNotModified {
		return false, nil
	}
	file, info, err := p.openAsWorker(accel, name)
	if err != nil {
		p.log.Warn("a file that php named was not sent", "pool", p.name, "pid", pid, "error", err)
		return true, err
	}
	defer file.Close()
	sendFile(w, r, h, file, info)
	return true, nil
}

func sendFile(w http.ResponseWriter, r *http.Request, h *head, file *os.File, info fs.FileInfo) {
	dst := w.Header()
	h.addTo(dst, false)
	if dst["Etag"] == nil {
		dst["Etag"] = []string{fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())}
	}
	switch h.status {
	case 0, http.StatusOK, http.StatusPartialContent:
	default: // such as the page of a 404: a part of it makes no sense
		r = withoutConditions(r)
		w = &statusWriter{w, h.status}
	}
	http.ServeContent(w, httprange.Request(r), info.Name(), modTime(dst, info), file)
}

// modTime is what PHP says about the age of the file, or else the file system.
func modTime(header http.Header, info fs.FileInfo) time.Time {
	said := header.Get("Last-Modified")
	if said == "" {
		return info.ModTime()
	}
	t, _ := http.ParseTime(said) // the zero time leaves the header as it is
	return t
}

// withoutConditions is a request for the whole file whatever the client has of it.
func withoutConditions(r *http.Request) *http.Request {
	plain := *r
	plain.Header = r.Header.Clone()
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		plain.Header.Del(name)
	}
	return &plain
}

// statusWriter answers with PHP's status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(int)             { w.ResponseWriter.WriteHeader(w.status) }
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// dropHidden removes the headers that are not for the client.
func (h *head) dropHidden(s *Sendfile) {
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !s.hides(f.name) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

// value returns the first value of a header.
func (h *head) value(name string) string {
	for _, f := range h.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// openAsWorker opens the file with the rights of the worker's user: Edge may be root, and PHP is not to read by it what it could not
// read itself.
func (p *Pool) openAsWorker(accel, name string) (file *os.File, info fs.FileInfo, err error) {
	open := func() error {
		file, info, err = p.openSendfile(accel, name)
		return err
	}
	err = p.AsWorker(open)
	return file, info, err
}

// AsWorker runs f with the rights that the workers' user has to files.
func (p *Pool) AsWorker(f func() error) error {
	if p.user == nil {
		return f()
	}
	return p.user.As(f)
}

// openSendfile opens the file of X-Accel-Redirect, or else that of X-Sendfile.
func (p *Pool) openSendfile(accel, name string) (*os.File, fs.FileInfo, error) {
	if accel != "" {
		return p.cfg.Sendfile.openAccel(accel)
	}
	if !filepath.IsAbs(name) {
		p.mu.Lock()
		name = filepath.Join(p.spec.dir, name)
		p.mu.Unlock()
	}
	name = filepath.Clean(name)
	file, info, err := p.cfg.Sendfile.openPath(name)
	if real := resolved(name); errors.Is(err, errFileForbidden) && real != name {
		return p.cfg.Sendfile.openPath(real) // a link of one folder may lead into another
	}
	return file, info, err
}

// openAccel opens the file of a URI: that of the longest prefix.
func (s *Sendfile) openAccel(uri string) (*os.File, fs.FileInfo, error) {
	text, _, _ := strings.Cut(uri, "?")
	name, err := url.PathUnescape(text)
	if err != nil || !strings.HasPrefix(name, "/") {
		return nil, nil, fmt.Errorf("%w: %s %q is not a path", errFileForbidden, headerAccel, uri)
	}
	name = path.Clean(name)
	longest, rest := "", ""
	for prefix := range s.Accel {
		if below, ok := cutFolder(name, path.Clean(prefix)); ok && len(prefix) > len(longest) {
			longest, rest = prefix, below
		}
	}
	if longest == "" {
		return nil, nil, fmt.Errorf("%w: %s %q is below no prefix of sendfile.accel", errFileForbidden, headerAccel, uri)
	}
	return openBelow(s.Accel[longest], rest)
}

// openPath opens the file in whichever folder has it, written as configured or with all links followed: PHP tends to know the
// real path, as below releases/7, of what is configured by a link such as current.
func (s *Sendfile) openPath(name string) (*os.File, fs.FileInfo, error) {
	err := fmt.Errorf("%w: %s is in none of sendfile.folders", errFileForbidden, name)
	for _, folder := range s.Folders {
		folder, absErr := filepath.Abs(folder)
		if absErr != nil {
			return nil, nil, absErr
		}
		for _, spelled := range []string{folder, resolved(folder)} {
			rest, ok := cutFolder(name, spelled)
			if !ok {
				continue
			}
			file, info, openErr := openBelow(folder, rest)
			if openErr == nil {
				return file, info, nil
			}
			err = openErr
		}
	}
	return nil, nil, err
}

// cutFolder returns what of a clean path is below folder.
func cutFolder(name, folder string) (rest string, below bool) {
	if folder == "/" {
		return strings.TrimPrefix(name, "/"), true
	}
	rest, below = strings.CutPrefix(name, folder)
	if rest == "" && below {
		return ".", true
	}
	return strings.TrimPrefix(rest, "/"), below && rest[0] == '/'
}

// openBelow opens a regular file of a folder. Opening does not wait, as it would for a pipe without a writer.
func openBelow(folder, name string) (*os.File, fs.FileInfo, error) {
	whole := filepath.Join(folder, name)
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errFileForbidden, err)
	}
	defer root.Close()
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil, fmt.Errorf("%w: %s", errFileMissing, whole)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", errFileForbidden, whole, err)
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		return file, info, nil
	}
	file.Close()
	return nil, nil, fmt.Errorf("%w: %s is not a regular file", errFileForbidden, whole)
}
