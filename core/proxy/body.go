package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// body is that of a request: kept, so that it can be sent again, or read from the client as the upstream takes it.
type body struct {
	kept   []byte
	source io.ReadCloser // nil when it is kept
	read   atomic.Bool   // somebody has begun to

	mu  sync.Mutex
	err error // of reading from the client
}

// newBody reads a body that is short enough to be kept. The error is the client's.
func newBody(r *http.Request, keep int64) (*body, error) {
	if r.ContentLength < 0 || r.ContentLength > keep {
		return &body{source: r.Body}, nil
	}
	b := &body{kept: make([]byte, r.ContentLength)}
	if _, err := io.ReadFull(r.Body, b.kept); err != nil {
		return nil, err
	}
	return b, nil
}

// repeatable reports whether another upstream can get it whole.
func (b *body) repeatable() bool { return b.source == nil || !b.read.Load() }

// first is what ReverseProxy holds and closes; upstreams get what next returns.
func (b *body) first() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// next is the body for an attempt, and how net/http gets it again when a connection that was kept turns out to be closed.
func (b *body) next() (io.ReadCloser, func() (io.ReadCloser, error)) {
	if b.source != nil {
		return &streamed{b}, nil
	}
	again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.kept)), nil }
	r, _ := again()
	return r, again
}

// failure is why the client's body could not be read to its end.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// streamed reads from the client. The server closes the client's body.
type streamed struct{ body *body }

func (s *streamed) Read(p []byte) (int, error) {
	s.body.read.Store(true)
	n, err := s.body.source.Read(p)
	if err != nil && err != io.EOF {
		s.body.mu.Lock()
		s.body.err = err
		s.body.mu.Unlock()
	}
	return n, err
}

func (s *streamed) Close() error { return nil }

// answer is the body of an upstream's answer.
type answer struct {
	io.ReadCloser
	proxy    *Proxy
	upstream *upstream
	ctx      context.Context
	idle     *time.Timer // ends the attempt; nil without a limit
	end      func()
	once     sync.Once
	broken   bool
}

func (p *Proxy) newAnswer(u *upstream, rc io.ReadCloser, ctx context.Context, cancel context.CancelCauseFunc, end func()) io.ReadCloser {
	a := &answer{ReadCloser: rc, proxy: p, upstream: u, ctx: ctx, end: end}
	if limit := p.config.Timeouts.Idle; limit > 0 {
		a.idle = time.AfterFunc(limit, func() { cancel(errIdle) })
		a.idle.Stop()
	}
	return a
}

func (a *answer) Read(p []byte) (int, error) {
	if a.idle != nil {
		a.idle.Reset(a.proxy.config.Timeouts.Idle)
		defer a.idle.Stop()
	}
	n, err := a.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		a.failed(err)
	}
	return n, err
}

// failed notes half an answer, unless it is the client who went.
func (a *answer) failed(err error) {
	cause := context.Cause(a.ctx)
	if a.broken || cause != nil && !errors.Is(cause, errIdle) {
		return
	}
	a.broken = true
	if cause != nil {
		err = cause
	}
	a.upstream.hasFailed(&a.proxy.config.Passive, reasonBody, err, time.Now())
	a.proxy.log.Warn("upstream broke off its answer", "route", a.proxy.name, "upstream", a.upstream.config.URL, "error", err)
}

func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.once.Do(a.end)
	return err
}
