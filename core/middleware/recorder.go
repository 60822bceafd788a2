// Package middleware holds the middleware that is built in: Recover, RequestID and AccessLog, and the target Files, which
// serves a folder.
//
// Each is a func(http.Handler) http.Handler. What wraps a ResponseWriter has Unwrap, and passes on Flush, Hijack, ReadFrom (which
// lets a file reach a socket without a copy) and 1xx answers.
package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// recorder remembers what became of an answer.
type recorder struct {
	http.ResponseWriter
	status   int // 0 until the final head is written
	bytes    int64
	hijacked bool
	user     string // whose password was right
}

// record returns a recorder of w. The middleware of this package share one when nothing stands between them.
func record(w http.ResponseWriter) *recorder {
	if rec, ok := w.(*recorder); ok {
		return rec
	}
	return &recorder{ResponseWriter: w}
}

// SetUser tells the recorders of a request, such as that of an access log, who its user is.
func SetUser(w http.ResponseWriter, user string) {
	for {
		if rec, ok := w.(*recorder); ok {
			rec.user = user
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = inner.Unwrap()
	}
}

// sent is how many bytes of a body went out: when an error page took the place of the answer, that is not what was written here.
func (r *recorder) sent() int64 {
	if r.status < http.StatusBadRequest {
		return r.bytes
	}
	for w := r.ResponseWriter; ; {
		if other, ok := w.(interface{ Replaced() (int64, bool) }); ok {
			if n, replaced := other.Replaced(); replaced {
				return n
			}
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return r.bytes
		}
		w = inner.Unwrap()
	}
}

// Unwrap lets http.ResponseController reach the methods that recorder does not have.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader passes on 1xx answers, of which there may be several, and remembers the one that follows them.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// begun notes that the first byte of a body sends the head too.
func (r *recorder) begun() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.begun()
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// WriteString saves io.WriteString the copy.
func (r *recorder) WriteString(s string) (int, error) {
	r.begun()
	n, err := io.WriteString(r.ResponseWriter, s)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom keeps sendfile(2) for io.Copy where the server has it.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	r.begun()
	var n int64
	var err error
	if to, ok := r.ResponseWriter.(io.ReaderFrom); ok {
		n, err = to.ReadFrom(src)
	} else {
		n, err = io.Copy(struct{ io.Writer }{r.ResponseWriter}, src)
	}
	r.bytes += n
	return n, err
}

// FlushError is what http.ResponseController calls.
func (r *recorder) FlushError() error {
	err := http.NewResponseController(r.ResponseWriter).Flush()
	if err == nil {
		r.begun()
	}
	return err
}

// Flush serves callers that ask for an http.Flusher.
func (r *recorder) Flush() {
	_ = r.FlushError() // that interface has nowhere to return it
}

// Hijack takes the connection over; what is said on it is not recorded.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.hijacked = true
	}
	return conn, rw, err
}
