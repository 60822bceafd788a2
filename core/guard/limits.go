package guard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/origin"
)

// Limits are those of one route.
type Limits struct {
	// Body is the largest request body in place of http.limits.body, more or less; larger ones get 413. 0: http.limits.body. Default 0.
	Body bytesize.Size `koanf:"body"`

	// Time is how long the client may have to wait for the beginning of the answer, its own body included; then it gets 504, or 408 when the body
	// has not come. A PHP worker goes on until its exec_timeout. 0 means for ever. Default 0.
	Time time.Duration `koanf:"time"`
}

// Validate checks the configuration.
func (c Limits) Validate() error {
	var errs []error
	if c.Body < 0 {
		errs = append(errs, fmt.Errorf("body: must not be negative, got %d", c.Body))
	}
	if c.Time < 0 {
		errs = append(errs, fmt.Errorf("time: must not be negative, got %s", c.Time))
	}
	return errors.Join(errs...)
}

// LimitTime answers in place of next when that has not begun to answer within limit. Then next runs on by itself, with an answer that goes
// nowhere, until it notices: HTTP/2 and HTTP/3 end an answer with its handler.
func LimitTime(limit time.Duration, next http.Handler) http.Handler {
	if limit == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		t := &timed{w: w, header: w.Header().Clone(), limit: limit, cancel: cancel, http1: r.ProtoMajor == 1, over: make(chan struct{})}
		if t.header == nil {
			t.header = http.Header{}
		}
		r = r.WithContext(ctx)
		r.Header = r.Header.Clone() // what runs on may change it
		if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
			t.body = timedBody{ReadCloser: r.Body, timed: t}
			r.Body = &t.body
		}
		ended := make(chan any, 1)
		t.mu.Lock()
		t.timer = time.AfterFunc(limit, t.expire)
		t.mu.Unlock()
		go func() { // ends with the handler, whose context ends with this request
			defer func() { ended <- withStack(recover()) }()
			next.ServeHTTP(t, r)
		}()
		select {
		case reason := <-ended:
			if expired := t.finish(reason == nil); reason != nil && !expired {
				panic(reason) // else it breaks off an answer that nobody waits for
			}
		case <-t.over:
		}
	})
}

// withStack adds to a panic where it was.
func withStack(reason any) any {
	if reason == nil || reason == http.ErrAbortHandler {
		return reason
	}
	return fmt.Sprintf("%v\n%s", reason, debug.Stack())
}

// timed is the answer of a request whose time is limited. Until its head goes out, the timer may answer instead; so the handler has headers
// of its own. There is no Unwrap: nobody may get past mu.
type timed struct {
	w      http.ResponseWriter
	limit  time.Duration
	cancel context.CancelCauseFunc
	body   timedBody
	http1  bool
	over   chan struct{} // closed when the timer has answered

	mu      sync.Mutex // guards w until the head is out, and what follows
	timer   *time.Timer
	header  http.Header
	headed  bool // by the handler
	expired bool // by the timer
	reading bool // the handler waits for more of the body
	late    bool // the time was over then
}

// Answered passes on who has made the answer.
func (t *timed) Answered(final bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.expired:
	case final:
		origin.Settle(t.w)
	default:
		origin.Mark(t.w)
	}
}

// control does something with the answer below, unless the timer has answered.
func (t *timed) control(do func(*http.ResponseController) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expired {
		return http.ErrHandlerTimeout
	}
	return do(http.NewResponseController(t.w))
}

// SetReadDeadline is for http.ResponseController.
func (t *timed) SetReadDeadline(at time.Time) error {
	return t.control(func(c *http.ResponseController) error { return c.SetReadDeadline(at) })
}

// SetWriteDeadline is for http.ResponseController.
func (t *timed) SetWriteDeadline(at time.Time) error {
	return t.control(func(c *http.ResponseController) error { return c.SetWriteDeadline(at) })
}

// EnableFullDuplex is for http.ResponseController.
func (t *timed) EnableFullDuplex() error {
	return t.control(func(c *http.ResponseController) error { return c.EnableFullDuplex() })
}

// Header is the header of the answer.
func (t *timed) Header() http.Header { return t.header }

// lastChance is how long a handler has that waited for the body, to answer when it is told that no more comes.
const lastChance = time.Second

// expire answers, unless the handler has.
func (t *timed) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.headed || t.expired:
	case t.reading:
		t.late = true
		_ = http.NewResponseController(t.w).SetReadDeadline(time.Unix(1, 0)) // else the wait ends with http.limits.body_timeout
		t.timer.Reset(lastChance)
	default:
		t.cancel(context.DeadlineExceeded)
		t.answer()
		close(t.over)
	}
}

// answer takes the handler's place.
func (t *timed) answer() {
	t.expired = true
	if t.http1 {
		_ = http.NewResponseController(t.w).EnableFullDuplex() // the rest of the body is nobody's business
		t.w.Header().Set("Connection", "close")
	}
	status := http.StatusGatewayTimeout
	if t.late {
		status = http.StatusRequestTimeout
	}
	http.Error(t.w, fmt.Sprintf("%d the limit of this route is %s", status, t.limit), status)
}

// finish is called when the handler has returned. It reports whether the timer has answered.
func (t *timed) finish(whole bool) (expired bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Stop()
	switch {
	case t.expired:
	case !t.headed && whole:
		t.pass()
	case whole:
		maps.Copy(t.w.Header(), t.header) // trailers
	}
	t.headed = true // a timer that runs already finds nothing to do
	return t.expired
}

// pass makes the handler's headers those of the answer.
func (t *timed) pass() {
	to := t.w.Header()
	clear(to)
	maps.Copy(to, t.header)
}

// begin is called with the head of the final answer. It reports false when the timer has answered.
func (t *timed) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expired {
		return false
	}
	if !t.headed {
		t.headed = true
		t.timer.Stop()
		t.pass()
	}
	return true
}

// WriteHeader passes the head on. Informational ones do not stop the clock.
func (t *timed) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.headed || t.expired {
			return
		}
		before := maps.Clone(t.w.Header())
		t.pass()
		t.w.WriteHeader(status)
		clear(t.w.Header())
		maps.Copy(t.w.Header(), before)
		return
	}
	t.mu.Lock()
	if t.late && !t.headed && !t.expired && status >= 400 {
		t.answer()
	}
	t.mu.Unlock()
	if t.begin() {
		t.w.WriteHeader(status)
	}
}

// Write passes the body on.
func (t *timed) Write(p []byte) (int, error) {
	if !t.begin() {
		return 0, http.ErrHandlerTimeout
	}
	return t.w.Write(p)
}

// WriteString saves a copy.
func (t *timed) WriteString(s string) (int, error) {
	if !t.begin() {
		return 0, http.ErrHandlerTimeout
	}
	return io.WriteString(t.w, s)
}

// ReadFrom keeps the short ways of the server.
func (t *timed) ReadFrom(src io.Reader) (int64, error) {
	if to, ok := t.w.(io.ReaderFrom); ok && t.begin() {
		return to.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{t}, src)
}

// FlushError sends what there is.
func (t *timed) FlushError() error {
	if !t.begin() {
		return http.ErrHandlerTimeout
	}
	return http.NewResponseController(t.w).Flush()
}

// Flush is FlushError.
func (t *timed) Flush() { _ = t.FlushError() }

// Hijack takes the connection over, whose time is not limited.
func (t *timed) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !t.begin() {
		return nil, nil, http.ErrHandlerTimeout
	}
	return http.NewResponseController(t.w).Hijack()
}

// timedBody is the body of the request; reads end when the time is over.
type timedBody struct {
	io.ReadCloser
	timed *timed
}

func (b *timedBody) Read(p []byte) (int, error) {
	if !b.timed.setReading(true) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := b.ReadCloser.Read(p)
	b.timed.setReading(false)
	return n, err
}

// setReading reports false when the time is over.
func (t *timed) setReading(on bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reading = on
	return !t.expired && !t.late
}
