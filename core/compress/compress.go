// Package compress is the middleware that sends answers compressed to clients that take them so (RFC 9110, section 8.4).
//
// An answer is compressed when its type is worth it, it is not encoded yet and nobody forbids it (Cache-Control: no-transform). What
// comes without a length is held back until it is long enough, or ends, or is flushed: a stream is compressed from its first flush
// on, and what is flushed arrives. Answers that depend on Accept-Encoding say so in Vary, compressed or not.
//
// Compression tells the length of secrets that stand beside text of an attacker's choice (BREACH): answers that repeat what a request
// says beside a token that must stay secret should mask it, as frameworks do for CSRF tokens.
package compress

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// maxHeld is how much of an answer may be held back until its length is known.
const maxHeld = 64 << 10

// Middleware compresses what passes through it.
func Middleware(c Config) func(http.Handler) http.Handler {
	m := &compressor{config: c, encoders: map[string]*encoders{}}
	for _, name := range c.Encodings {
		m.encoders[name] = newEncoders(name)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}
}

type compressor struct {
	config   Config
	encoders map[string]*encoders
}

func (m *compressor) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect {
		next.ServeHTTP(w, r)
		return
	}
	cw := &writer{ResponseWriter: w, compressor: m, encoding: Choose(r.Header["Accept-Encoding"], m.config.Encodings), head: r.Method == http.MethodHead}
	finished := false
	defer func() {
		if !finished {
			cw.abandon() // a panic: the server cuts the answer short
			return
		}
		cw.finish()
	}()
	next.ServeHTTP(cw, r)
	finished = true
}

// writer is the answer of one request.
type writer struct {
	http.ResponseWriter
	compressor *compressor
	encoding   string // that the client takes, or ""
	head       bool

	status  int
	decided bool    // about encoder
	encoder encoder // nil: as it is
	held    []byte  // the beginning, until that is decided
}

// Unwrap lets http.ResponseController reach deadlines and the like. Flush and Hijack are ours.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status; it is sent with the first bytes.
func (w *writer) WriteHeader(status int) {
	switch {
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.ResponseWriter.WriteHeader(status)
	case w.status != 0:
	default:
		w.status = status
		if w.encoding == "" || !w.worthIt() {
			w.decide(false)
		} else if n, ok := w.length(); ok {
			w.decide(n >= int64(w.compressor.config.MinSize))
		}
	}
}

// Write writes a part of the body.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.open(p); err != nil {
		return 0, err
	}
	if w.decided {
		return w.pass(p)
	}
	w.held = append(w.held, p...)
	if len(w.held) >= int(w.compressor.config.MinSize) {
		w.decide(true)
		return len(p), w.release()
	}
	return len(p), nil
}

// open decides the status, and the type of a body that has none: of what is compressed nobody could tell it later.
func (w *writer) open(body []byte) error {
	if w.status != 0 {
		return nil
	}
	if _, typed := w.Header()["Content-Type"]; !typed && len(body) > 0 && w.Header().Get("Content-Encoding") == "" {
		w.Header().Set("Content-Type", http.DetectContentType(body))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (w *writer) pass(p []byte) (int, error) {
	if w.encoder != nil {
		return w.encoder.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// release sends what was held back.
func (w *writer) release() error {
	held := w.held
	w.held = nil
	if len(held) == 0 {
		return nil
	}
	_, err := w.pass(held)
	return err
}

// ReadFrom keeps the short ways of the server for answers that are not compressed.
func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	if w.decided && w.encoder == nil {
		if to, ok := w.ResponseWriter.(io.ReaderFrom); ok {
			return to.ReadFrom(src)
		}
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// FlushError sends what there is. The beginning of a stream need not be long to be compressed: more follows.
func (w *writer) FlushError() error {
	if err := w.open(nil); err != nil {
		return err
	}
	if !w.decided {
		w.decide(true)
	}
	if err := w.release(); err != nil {
		return err
	}
	if w.encoder != nil {
		if err := w.encoder.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is FlushError.
func (w *writer) Flush() { _ = w.FlushError() }

// Hijack gives the connection away; nothing is compressed then.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.encoder != nil || len(w.held) > 0 {
		return nil, nil, errors.New("compress: the answer has begun")
	}
	w.decided = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// finish ends the answer.
func (w *writer) finish() {
	if w.status == 0 && w.held == nil {
		return // the server answers, or somebody hijacked the connection
	}
	if !w.decided {
		w.decide(false) // it was short
		_ = w.release()
	}
	if w.encoder == nil {
		return
	}
	_ = w.encoder.Close() // an error means that the client is gone
	w.compressor.encoders[w.encoding].put(w.encoder)
	w.encoder = nil
}

// abandon leaves an answer unfinished: a closed encoder would make it look whole.
func (w *writer) abandon() {
	if w.encoder != nil {
		w.compressor.encoders[w.encoding].put(w.encoder)
		w.encoder = nil
	}
}

// decide sends the head, for an answer that is compressed or not.
func (w *writer) decide(compressed bool) {
	w.decided = true
	h := w.Header()
	if w.eligible() {
		addVary(h)
	}
	compressed = compressed && w.encoding != ""
	if compressed {
		h.Set("Content-Encoding", w.encoding)
		h.Del("Content-Length")
		h.Del("Accept-Ranges")
		if tag := h.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
			h.Set("Etag", "W/"+tag) // the same content, not the same bytes (RFC 9110, section 8.8.1)
		}
	}
	w.ResponseWriter.WriteHeader(w.status)
	if compressed && !w.head {
		w.encoder = w.compressor.encoders[w.encoding].get(w.ResponseWriter)
	}
}

// worthIt reports whether the answer may be compressed, whatever its length.
func (w *writer) worthIt() bool {
	if !w.eligible() {
		return false
	}
	n, known := w.length()
	return !w.head || known && n >= int64(w.compressor.config.MinSize)
}

// eligible reports whether answers such as this one are compressed for clients that take them.
func (w *writer) eligible() bool {
	h := w.Header()
	switch {
	case w.status < 200, w.status == http.StatusNoContent, w.status == http.StatusNotModified, w.status == http.StatusPartialContent,
		h.Get("Content-Encoding") != "", h.Get("Content-Range") != "", hasToken(h["Cache-Control"], "no-transform"):
		return false
	}
	return w.compressor.config.typeFits(h.Get("Content-Type"))
}

func (w *writer) length() (int64, bool) {
	n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	return n, err == nil
}

// typeFits reports whether the type is one of Types.
func (c *Config) typeFits(contentType string) bool {
	name, _, _ := strings.Cut(contentType, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	for _, pattern := range c.Types {
		switch main, all := strings.CutSuffix(pattern, "/*"); {
		case name == pattern,
			all && strings.HasPrefix(name, main) && len(name) > len(main) && name[len(main)] == '/',
			pattern[0] == '+' && strings.HasSuffix(name, pattern):
			return true
		}
	}
	return false
}

func addVary(h http.Header) {
	if !hasToken(h["Vary"], "Accept-Encoding") && !hasToken(h["Vary"], "*") {
		h.Add("Vary", "Accept-Encoding")
	}
}

func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
