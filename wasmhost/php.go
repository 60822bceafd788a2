package wasmhost

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

func phpFunctions() []edgeFunction {
	return append([]edgeFunction{
		{abi.PHPCall, "iiiiiii:i", whileRunning, phpCall},
	}, answerFunctions(abi.PHPStatus, abi.PHPHeader, abi.PHPHeaderNames, abi.PHPRead, abi.PHPClose)...)
}

func phpCall(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := textAt(mem, s[0], s[1], 256)
	if err != nil {
		return 0, err
	}
	pool, err := i.pool(name)
	if err != nil {
		return 0, err
	}
	ctx, cancel := i.waitingFor(s[6], httpTimeout)
	defer cancel()
	r, err := i.requestAt(ctx, mem, "/path", s[2], s[3], s[4], s[5])
	if err != nil {
		return 0, err
	}
	if r.URL.Host != "" || len(r.URL.Path) == 0 || r.URL.Path[0] != '/' {
		return 0, refusal(abi.ErrInvalid, "%.80q is not path and query", r.URL)
	}
	i.asClient(r)
	answer := &recorded{header: http.Header{}, limit: int(i.gen.limits.Body)}
	serveRecorded(pool, answer, r)
	switch {
	case answer.tooLarge:
		return 0, refusal(abi.ErrTooLarge, "the answer of the pool %q is larger than limits.body", name)
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case answer.broken:
		return 0, refusal(abi.ErrUnavailable, "the pool %q broke its answer off", name)
	}
	return i.ext.handles.add(&answered{
		status: answer.statusCode(), header: answer.sent, body: io.NopCloser(bytes.NewReader(answer.body)), ctx: context.Background(), cancel: func() {},
	})
}

// pool is one that the plugin may call.
func (i *instance) pool(name string) (http.Handler, error) {
	if !slices.Contains(i.gen.ext.grants.PHP, name) {
		return nil, refusal(abi.ErrDenied, "the pool %.64q is not granted: plugins.modules.%s.allow.php has %q", name, i.gen.name, i.gen.ext.grants.PHP)
	}
	if find := i.gen.ext.services.Pool; find != nil {
		if pool := find(name); pool != nil {
			return pool, nil
		}
	}
	return nil, refusal(abi.ErrUnavailable, "the pool %q is not running", name)
}

// asClient makes r a request of whoever the guest is working for.
func (i *instance) asClient(r *http.Request) {
	r.Host, r.RemoteAddr, r.RequestURI = "localhost", "127.0.0.1:0", r.URL.RequestURI()
	if x := i.exchange.r; x != nil {
		r.Host, r.RemoteAddr, r.TLS = x.Host, x.RemoteAddr, x.TLS
	}
}

// serveRecorded lets h answer. That it breaks an answer off, which it does by a panic, is not the end of the guest.
func serveRecorded(h http.Handler, w *recorded, r *http.Request) {
	defer func() {
		if cause := recover(); cause != nil {
			if cause != http.ErrAbortHandler { // a bug, and the server's to report
				panic(cause)
			}
			w.broken = true
		}
	}()
	h.ServeHTTP(w, r)
}

// recorded is an answer in memory, bounded.
type recorded struct {
	header   http.Header
	sent     http.Header // as it was when the status was decided
	status   int
	body     []byte
	limit    int
	tooLarge bool
	broken   bool
}

// Header is the header of the answer.
func (w *recorded) Header() http.Header { return w.header }

// WriteHeader keeps the final status; informational ones are dropped.
func (w *recorded) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write keeps p.
func (w *recorded) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.tooLarge || len(w.body)+len(p) > w.limit {
		w.tooLarge, w.body = true, nil
		return 0, errHeldTooLarge
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

// Flush has nobody to flush to.
func (w *recorded) Flush() { w.WriteHeader(http.StatusOK) }

func (w *recorded) statusCode() int {
	w.WriteHeader(http.StatusOK)
	return w.status
}
