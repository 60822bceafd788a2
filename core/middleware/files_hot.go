package middleware

import (
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// hotFiles remembers small files that were served, and how. Before one is served again, one stat tells whether the name still leads to the
// very same file: the same inode, not changed in content, size, owner or mode. That replaces opening the folder and the file, which takes
// more than half of the time of an answer.
type hotFiles struct {
	mu    sync.RWMutex
	files map[string]*hotFile // by clean path
	bytes int
	age   time.Duration // hotAge
}

const (
	hotBytes = 8 << 20 // of a route
	hotCount = 4096

	// hotAge is how long ago a file must have been changed: the clock of a file system may not tell two changes in a moment apart.
	hotAge = 2 * time.Second
)

// hotFile is an answer for a GET without conditions.
type hotFile struct {
	path     string // of the file, from the root of the system
	identity fileIdentity

	body                                             []byte
	contentType, tag, modified, cacheControl, length string
}

// find returns the file of a path if it is still what it was.
func (c *hotFiles) find(clean string) *hotFile {
	c.mu.RLock()
	f := c.files[clean]
	c.mu.RUnlock()
	if f == nil {
		return nil
	}
	if now, ok := identify(f.path); !ok || now != f.identity {
		c.drop(clean, f)
		return nil
	}
	return f
}

func (c *hotFiles) drop(clean string, f *hotFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files[clean] == f {
		delete(c.files, clean)
		c.bytes -= len(f.body)
	}
}

// keep remembers what was just served. Others, whichever, make room.
func (c *hotFiles) keep(clean string, f *hotFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.files[clean]; old != nil {
		c.bytes -= len(old.body)
		delete(c.files, clean)
	}
	for other, o := range c.files {
		if c.bytes+len(f.body) <= hotBytes && len(c.files) < hotCount {
			break
		}
		delete(c.files, other)
		c.bytes -= len(o.body)
	}
	if c.files == nil {
		c.files = map[string]*hotFile{}
	}
	c.files[clean] = f
	c.bytes += len(f.body)
}

// remember keeps a file that was read whole. Where other files or the header of the request decide about the answer, nothing is kept.
func (h *files) remember(f found, body []byte) {
	if f.path == "" || len(h.try) > 0 || len(h.encodings) > 0 {
		return
	}
	opened, ok := identityOf(f.info)
	if !ok || !opened.settled(time.Now(), h.hot.age) {
		return
	}
	full := filepath.Join(h.root, f.name)
	if named, ok := identify(full); !ok || named != opened {
		return
	}
	hot := &hotFile{
		path: full, identity: opened, body: append([]byte(nil), body...), length: strconv.Itoa(len(body)),
		contentType: contentTypeOf(f.info.Name(), body), modified: lastModified(f.info), cacheControl: h.cacheControl(f.name),
	}
	if h.etag != "none" {
		hot.tag = etag(f.info, h.etag == "weak", "")
	}
	h.hot.keep(f.path, hot)
}

// answer is what answerSmall does, without a file. The header's values share one allocation.
func (f *hotFile) answer(w http.ResponseWriter, r *http.Request) {
	header, values, n := w.Header(), new([5]string), 0
	for _, field := range [...]struct{ name, value string }{
		{"Etag", f.tag}, {"Last-Modified", f.modified}, {"Cache-Control", f.cacheControl}, {"Content-Length", f.length}, {"Content-Type", f.contentType},
	} {
		if field.value == "" || field.name == "Content-Type" && len(header["Content-Type"]) > 0 {
			continue
		}
		values[n] = field.value
		header[field.name] = values[n : n+1 : n+1]
		n++
	}
	header["X-Content-Type-Options"], header["Accept-Ranges"] = noSniff, acceptRanges
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(f.body) // an error is the client's going
	}
}
