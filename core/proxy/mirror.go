package proxy

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// mirror sends copies of requests to another server. Whatever becomes of them, the client does not notice.
type mirror struct {
	proxy     *Proxy
	config    Mirror
	target    *url.URL
	transport *http.Transport
	places    chan struct{}

	sent, failed, dropped atomic.Uint64
}

func (p *Proxy) newMirror(c Mirror) *mirror {
	target, _ := url.Parse(c.URL) // it was checked
	return &mirror{
		proxy: p, config: c, target: target, places: make(chan struct{}, c.Max),
		transport: &http.Transport{
			DisableCompression: true, MaxIdleConnsPerHost: c.Max, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: c.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// send copies a request whose body, if it has one, is kept.
func (m *mirror) send(out *http.Request, b *body) {
	if m.config.Percent < 100 && rand.IntN(100) >= m.config.Percent {
		return
	}
	if b != nil && b.source != nil {
		m.dropped.Add(1)
		return
	}
	select {
	case m.places <- struct{}{}:
	default:
		m.dropped.Add(1)
		return
	}
	ctx, cancel := context.WithTimeout(m.proxy.life, m.config.Timeout)
	r := out.Clone(ctx)
	r.URL.Scheme, r.URL.Host = m.target.Scheme, m.target.Host
	r.Body, r.ContentLength, r.GetBody = nil, 0, nil
	if b != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b.kept)), int64(len(b.kept))
	}
	begun := m.proxy.begin(func() { // ends after Timeout
		defer cancel()
		defer func() { <-m.places }()
		m.sent.Add(1)
		res, err := m.transport.RoundTrip(r)
		if err != nil {
			m.failed.Add(1)
			return
		}
		defer res.Body.Close()
		_, _ = io.CopyN(io.Discard, res.Body, 1<<20) // so that the connection can be used again
	})
	if !begun {
		cancel()
		<-m.places
	}
}
