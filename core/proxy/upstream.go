package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/tlsclient"
)

// upstream is one server and what is known of it.
type upstream struct {
	config    Upstream
	name      string // in the cookie
	address   address
	transport http.RoundTripper
	close     func()

	active atomic.Int64 // requests that it has now
	down   atomic.Bool  // by the checks
	until  atomic.Int64 // Unix nanoseconds: left out for as long

	mu        sync.Mutex // guards what follows
	failures  int        // in a row
	ejections int        // in a row
	lastError string

	requests, ejected, retried, checksFailed atomic.Uint64
	failed                                   [len(reasons)]atomic.Uint64
	seconds                                  atomic.Int64 // nanoseconds until the heads of answers
}

// dialError means that no connection came about: the upstream has not seen the request.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

func (p *Proxy) newUpstream(i int, opts Options) (*upstream, error) {
	c := p.config.Upstreams[i]
	a, err := parseAddress(c.URL)
	if err != nil {
		return nil, err
	}
	u := &upstream{config: c, name: c.name(i), address: a, close: func() {}}
	if a.fastCGI {
		if opts.FastCGI == nil {
			return nil, errors.New("this server has no FastCGI client")
		}
		u.transport = opts.FastCGI(func(ctx context.Context) (net.Conn, error) { return p.dial(ctx, a.network, a.dial) }, p.config.FastCGI,
			p.config.Timeouts.Header)
		return u, nil
	}
	transport, err := p.newTransport(a)
	if err != nil {
		return nil, err
	}
	u.transport, u.close = transport, transport.CloseIdleConnections
	return u, nil
}

// newTransport keeps connections to one upstream. What upstreams send is bounded, and proxies of the environment do not count.
func (p *Proxy) newTransport(a address) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dial(ctx, a.network, a.dial) },
		DisableCompression:     true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        30 * time.Second, // less than servers usually keep theirs
		TLSHandshakeTimeout:    p.config.Timeouts.Dial,
		ResponseHeaderTimeout:  p.config.Timeouts.Header,
		MaxResponseHeaderBytes: 256 << 10,
		ReadBufferSize:         16 << 10,
		WriteBufferSize:        16 << 10,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	switch {
	case a.h2c:
		t.Protocols.SetUnencryptedHTTP2(true)
	case a.url.Scheme == "https":
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		var err error
		t.TLSClientConfig, err = p.config.TLS.client()
		return t, err
	default:
		t.Protocols.SetHTTP1(true)
	}
	return t, nil
}

// client is the configuration of connections to upstreams.
func (c *TLS) client() (*tls.Config, error) {
	t, err := (&tlsclient.Config{CA: c.CA, Cert: c.Cert, Key: c.Key, ServerName: c.Name}).Load()
	if err == nil {
		t.InsecureSkipVerify = c.Insecure
		t.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	}
	return t, err
}

func (p *Proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: p.config.Timeouts.Dial, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, &dialError{err}
	}
	if p.config.Timeouts.Idle > 0 {
		conn = &writeLimited{Conn: conn, limit: p.config.Timeouts.Idle}
	}
	return conn, nil
}

// writeLimited ends writes that the upstream does not take.
type writeLimited struct {
	net.Conn
	limit time.Duration
}

func (c *writeLimited) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// CloseWrite passes a half close on.
func (c *writeLimited) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// acquire takes a place for a request, if there is one.
func (u *upstream) acquire() bool {
	if n := u.active.Add(1); u.config.MaxRequests > 0 && n > int64(u.config.MaxRequests) {
		u.active.Add(-1)
		return false
	}
	return true
}

func (u *upstream) release() { u.active.Add(-1) }

func (u *upstream) isEjected(now time.Time) bool { return u.until.Load() > now.UnixNano() }

// succeeded ends a row of failures.
func (u *upstream) succeeded() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failures, u.ejections = 0, 0
}

// hasFailed notes a failure and leaves the upstream out when there were too many in a row. It returns for how long, or 0.
func (u *upstream) hasFailed(c *Passive, why reason, err error, now time.Time) time.Duration {
	u.failed[why].Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lastError = err.Error()
	u.failures++
	if c.Failures == 0 || u.failures < c.Failures || u.until.Load() > now.UnixNano() {
		return 0
	}
	d := c.Eject
	for range min(u.ejections, 30) {
		d = min(2*d, c.Max)
	}
	u.ejections++
	u.failures = c.Failures - 1 // it gets one chance afterwards
	u.ejected.Add(1)
	u.until.Store(now.Add(d).UnixNano())
	return d
}
