package httpcache

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// recorder is where a target writes an answer that may be stored. Such an answer is held back whole: those who wait for it must not
// depend on how fast one client reads. What turns out not to be for the store, or to be too large, passes through from there on. What
// the target flushes goes to the client as it comes, and into the store when it has come to its end.
type recorder struct {
	x       *exchange
	client  http.ResponseWriter // nil when nobody reads it
	header  http.Header         // not the client's: what middleware further out has written there is not the target's
	status  int
	mode    mode
	body    []byte
	length  int64 // that the target announced, or -1
	verdict verdict
	sent    bool // its head, to the client
	made    byte // byTarget, untouched
}

type mode int

const (
	undecided mode = iota
	holding        // until it is complete
	following      // passing to the client, and kept until it is complete
	passing        // to the client
	dropping       // a stored answer takes its place
)

// Unwrap lets http.ResponseController reach deadlines and the like.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.client }

// Answered is told who made the answer. The client's writers hear it, too.
func (rec *recorder) Answered(final bool) {
	if rec.made |= byTarget; final {
		rec.made |= untouched
	}
}

// Header is the header of the answer.
func (rec *recorder) Header() http.Header { return rec.header }

// WriteHeader decides what becomes of the answer.
func (rec *recorder) WriteHeader(status int) {
	if status < 200 {
		rec.inform(status)
		return
	}
	if rec.mode != undecided {
		return
	}
	rec.status, rec.length = status, -1
	if n, err := strconv.ParseInt(rec.header.Get("Content-Length"), 10, 64); err == nil {
		rec.length = n
	}
	switch rec.mode, rec.verdict = rec.x.head(status, rec.header); {
	case rec.mode != holding:
	case rec.length > int64(rec.x.c.cfg.MaxEntry):
		rec.pass("too-large")
		return
	case rec.length > 0:
		if !rec.x.c.hold(rec.length) {
			rec.pass("too-much-held")
			return
		}
		rec.body = make([]byte, 0, rec.length)
	}
	if rec.mode == passing {
		rec.pass(rec.verdict.why)
	}
}

// inform passes on an answer before the answer, such as 103.
func (rec *recorder) inform(status int) {
	if rec.client == nil {
		return
	}
	h := rec.client.Header()
	var added []string
	for name, values := range rec.header {
		if _, there := h[name]; !there && (rec.x.c.cfg.KeepTags || !slices.Contains(tagHeaders[:], name)) {
			h[name], added = values, append(added, name)
		}
	}
	rec.client.WriteHeader(status)
	for _, name := range added {
		delete(h, name)
	}
}

// pass sends what was held back, and lets the rest through. Those who wait fetch their own.
func (rec *recorder) pass(why string) {
	rec.mode = passing
	rec.x.unstored(why)
	rec.send("; detail=" + why)
	rec.x.c.drop(int64(cap(rec.body)))
	rec.body = nil
}

// send sends the head and what was held back of the body, if that has not been done.
func (rec *recorder) send(said string) {
	if rec.sent || rec.client == nil {
		return
	}
	rec.sent = true
	rec.x.copyHeader(rec.client.Header(), rec.header, rec.x.missed(rec.status)+said)
	rec.client.WriteHeader(rec.status)
	if len(rec.body) > 0 && rec.x.r.Method != http.MethodHead {
		_, _ = rec.client.Write(rec.body) // an error comes back with the next write
	}
}

// Write writes a part of the body.
func (rec *recorder) Write(p []byte) (int, error) {
	rec.open(p)
	switch {
	case rec.mode == dropping, rec.mode == passing && (rec.client == nil || rec.x.r.Method == http.MethodHead):
		return len(p), nil
	case rec.mode == passing:
		return rec.client.Write(p)
	}
	if len(rec.body)+len(p) > int(rec.x.c.cfg.MaxEntry) || rec.length >= 0 && int64(len(rec.body)+len(p)) > rec.length {
		rec.pass("too-large")
		return rec.Write(p)
	}
	if !rec.grow(len(p)) {
		rec.pass("too-much-held")
		return rec.Write(p)
	}
	rec.body = append(rec.body, p...)
	if rec.mode == following && rec.client != nil && rec.x.r.Method != http.MethodHead {
		return rec.client.Write(p)
	}
	return len(p), nil
}

// grow makes room for n more bytes of the body, if there is memory for it.
func (rec *recorder) grow(n int) bool {
	if len(rec.body)+n <= cap(rec.body) {
		return true
	}
	size := min(max(len(rec.body)+n, 2*cap(rec.body), 4096), max(int(rec.x.c.cfg.MaxEntry), len(rec.body)+n))
	if !rec.x.c.hold(int64(size - cap(rec.body))) {
		return false
	}
	grown := make([]byte, len(rec.body), size)
	copy(grown, rec.body)
	rec.body = grown
	return true
}

// open decides the status of an answer that has none, and the type of a body that says none.
func (rec *recorder) open(body []byte) {
	if rec.mode != undecided {
		return
	}
	if _, typed := rec.header["Content-Type"]; !typed && len(body) > 0 && rec.header.Get("Content-Encoding") == "" {
		rec.header.Set("Content-Type", http.DetectContentType(body))
	}
	rec.WriteHeader(http.StatusOK)
}

// WriteString saves io.WriteString the copy.
func (rec *recorder) WriteString(s string) (int, error) {
	if rec.mode == passing && rec.client != nil && rec.x.r.Method != http.MethodHead {
		return io.WriteString(rec.client, s)
	}
	return rec.Write([]byte(s))
}

// ReadFrom keeps the short ways of the server for what passes through.
func (rec *recorder) ReadFrom(src io.Reader) (int64, error) {
	if rec.mode == passing && rec.client != nil && rec.x.r.Method != http.MethodHead {
		if to, ok := rec.client.(io.ReaderFrom); ok {
			return to.ReadFrom(src)
		}
	}
	return io.Copy(struct{ io.Writer }{rec}, src)
}

// FlushError sends what there is: an answer in parts is not held back.
func (rec *recorder) FlushError() error {
	rec.open(nil)
	if rec.mode == holding {
		rec.mode = following
		rec.send("")
	}
	if rec.mode == dropping || rec.client == nil {
		return nil
	}
	return http.NewResponseController(rec.client).Flush()
}

// Flush is FlushError.
func (rec *recorder) Flush() { _ = rec.FlushError() }

// Hijack gives the connection away.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if rec.client == nil || rec.mode == holding || rec.mode == following || rec.mode == dropping {
		return nil, nil, errors.New("cache: the answer has begun")
	}
	conn, rw, err := http.NewResponseController(rec.client).Hijack()
	if err == nil {
		rec.mode = passing
		rec.x.unstored("hijacked")
	}
	return conn, rw, err
}

// complete reports whether the target wrote what it announced (RFC 9111, section 3.3), and nothing that a store cannot keep.
func (rec *recorder) complete() bool {
	if rec.length >= 0 && rec.length != int64(len(rec.body)) {
		return false
	}
	size := len(rec.body)
	for name, values := range rec.header {
		if strings.HasPrefix(name, http.TrailerPrefix) || name == "" || strings.ContainsAny(name, "\r\n: ") {
			return false
		}
		for _, value := range values {
			if strings.ContainsAny(value, "\r\n") {
				return false
			}
			size += len(name) + len(value)
		}
	}
	return size <= int(rec.x.c.cfg.MaxEntry)
}
