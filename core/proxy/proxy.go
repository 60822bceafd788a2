// Package proxy is the target of a route that passes requests on to other servers.
//
// httputil.ReverseProxy carries requests and answers: hop-by-hop headers, informational answers, trailers, flushes of streams. What
// is decided here is which upstream gets a request, when another one is asked, what clients and upstreams are told of each other, and
// what happens when something breaks. The files:
//
//	proxy.go      the handler: limits, headers, errors
//	attempt.go    one request, at one upstream after the other
//	balance.go    which upstream
//	upstream.go   connections to one, and whether it fails
//	body.go       bodies on their way
//	hints.go      answers before the answer
//	health.go     regular checks
//	tunnel.go     WebSockets
//	mirror.go     copies
package proxy

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/internal/origin"
	"github.com/edge-server/edge/internal/urlpath"
)

// Options is what New needs beside the configuration.
type Options struct {
	// Name is the route's, for logs and metrics.
	Name string

	Logger *slog.Logger

	// Tunnels are those that WebSockets go through. They outlive the Proxy.
	Tunnels *Tunnels

	// FastCGI makes a client of a FastCGI server. Nil: there are no such upstreams.
	FastCGI func(dial func(context.Context) (net.Conn, error), c FastCGI, header time.Duration) http.RoundTripper
}

// Proxy is the handler of a route.
type Proxy struct {
	config    Config
	name      string
	log       *slog.Logger
	upstreams []*upstream
	order     []*upstream // for turns
	turn      atomic.Uint64
	hash      hashKey
	tunnels   *Tunnels
	reverse   *httputil.ReverseProxy
	mirror    *mirror // nil without

	life  context.Context // of checks and copies
	end   context.CancelFunc
	mu    sync.Mutex // held while a task begins, and when none may any more
	tasks sync.WaitGroup

	unavailable atomic.Uint64 // requests for which there was no upstream
}

// New prepares a proxy. Nothing runs before Start; requests may come before it.
func New(c Config, opts Options) (*Proxy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Proxy{config: c, name: opts.Name, log: opts.Logger, tunnels: opts.Tunnels}
	if p.tunnels == nil {
		p.tunnels = NewTunnels()
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.life, p.end = context.WithCancel(context.Background())
	p.hash, _ = parseHash(c.Hash) // it was checked
	for i := range c.Upstreams {
		u, err := p.newUpstream(i, opts)
		if err != nil {
			return nil, err
		}
		p.upstreams = append(p.upstreams, u)
	}
	p.order = turns(p.upstreams)
	if c.Mirror != nil {
		p.mirror = p.newMirror(*c.Mirror)
	}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      roundTripper(p.roundTrip),
		ModifyResponse: p.modifyResponse,
		ErrorHandler:   p.answerError,
		BufferPool:     &buffers{},
		ErrorLog:       log.New(io.Discard, "", 0), // what breaks is logged where it breaks
	}
	return p, nil
}

// Config is what the proxy was made of.
func (p *Proxy) Config() Config { return p.config }

// Start begins the regular checks.
func (p *Proxy) Start() {
	if p.config.Health.Path == "" {
		return
	}
	for _, u := range p.upstreams {
		p.begin(func() { p.watch(u) }) // ends with life
	}
}

// begin runs a task, unless the proxy has stopped.
func (p *Proxy) begin(task func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return false
	}
	p.tasks.Go(task)
	return true
}

// Stop ends checks, copies and connections that are not used.
func (p *Proxy) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.end()
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { // ends with the tasks, which life ends
		defer close(done)
		p.tasks.Wait()
	}()
	defer func() {
		for _, u := range p.upstreams {
			u.close()
		}
		if p.mirror != nil {
			p.mirror.transport.CloseIdleConnections()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("proxy %s: checks and copies of requests did not end: %w", p.name, context.Cause(ctx))
	}
}

// exchange is one request on its way.
type exchange struct {
	writer   http.ResponseWriter
	request  *http.Request // of the client
	body     *body         // nil without
	upstream *upstream     // that has answered
	answer   io.ReadCloser // its body; closing it twice does no harm

	informing sync.Mutex // held while an informational answer is passed on
	settled   bool       // none is any more
}

type exchangeKey struct{}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if limit := int64(p.config.MaxBody); limit > 0 {
		if r.ContentLength > limit {
			tooLarge(w, r)
			return
		}
		if r.ContentLength != 0 {
			limited := *r
			limited.Body = http.MaxBytesReader(w, r.Body, limit)
			r = &limited
		}
	}
	x := &exchange{writer: w}
	ctx := context.WithValue(r.Context(), exchangeKey{}, x)
	if r.Context().Value(http.ServerContextKey) == nil {
		ctx = context.WithValue(ctx, http.ServerContextKey, new(http.Server)) // half an answer is to be cut, not to look whole
	}
	x.request = r.WithContext(ctx)
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		var err error
		if x.body, err = newBody(r, int64(p.config.Retry.Body)); err != nil {
			answerBodyError(w, r, err)
			return
		}
		x.request.Body = x.body.first()
		if x.body.source != nil {
			_ = http.NewResponseController(w).EnableFullDuplex() // an answer may begin before the body ends; only HTTP/1.1 needs to be told
		}
	}
	defer func() {
		if x.answer != nil {
			x.answer.Close() // whatever has panicked
		}
	}()
	p.reverse.ServeHTTP(w, x.request)
}

// rewrite makes the request that upstreams get; the upstream is chosen later.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	p.rewritePath(in, out)
	h := out.Header
	for _, name := range claims {
		delete(h, name)
	}
	if in.Header.Get("Upgrade") != "" && !isWebSocket(in) {
		// Another protocol would go past the routes: requests inside an h2c connection would be seen by nobody.
		delete(h, "Upgrade")
		delete(h, "Connection")
	} else if isWebSocket(in) && h.Get("Sec-Websocket-Key") == "" {
		h.Set("Sec-Websocket-Key", newKey()) // extended CONNECT has none
	}
	delete(h, "Expect") // the body is asked for when the upstream takes it
	if ip := clientIP(in); ip != "" {
		h.Set("X-Forwarded-For", ip)
		h.Set("X-Real-Ip", ip)
	}
	h.Set("X-Forwarded-Host", in.Host)
	h.Set("X-Forwarded-Proto", "http")
	if in.TLS != nil {
		h.Set("X-Forwarded-Proto", "https")
	}
	if p.config.Strip != "" {
		h.Set("X-Forwarded-Prefix", strings.TrimSuffix(p.config.Strip, "/"))
	}
	out.Trailer = in.Trailer // the server fills it when the body ends
	out.Host = in.Host
	if p.config.Host != "" {
		out.Host = p.config.Host // upstream is put in its place for each attempt
	}
	if _, said := h["User-Agent"]; !said {
		h["User-Agent"] = nil // net/http would write its own
	}
	setHeaders(h, p.config.Headers.Request)
}

// claims are headers by which a proxy says who asks. What a client writes there is not passed on; http.forwarded has read it.
var claims = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server",
	"X-Forwarded-Ssl", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Original-Url", "X-Rewrite-Url", "Http2-Settings",
}

// rewritePath passes on the path that the route was chosen by: one with dot segments must not mean something else to the upstream.
func (p *Proxy) rewritePath(in, out *http.Request) {
	out.URL.Scheme, out.URL.Host, out.URL.User = "http", "upstream", nil
	out.URL.RawQuery = in.URL.RawQuery // ReverseProxy leaves out what it cannot read
	clean, ok := urlpath.Clean(in.URL.Path)
	if !ok {
		clean = "/"
	}
	if clean != in.URL.Path {
		out.URL.Path, out.URL.RawPath = clean, ""
	}
	strip := strings.TrimSuffix(p.config.Strip, "/")
	if rest, ok := strings.CutPrefix(out.URL.Path, strip); strip != "" && ok && (rest == "" || rest[0] == '/') {
		raw, kept := strings.CutPrefix(out.URL.RawPath, (&url.URL{Path: strip}).EscapedPath())
		if !kept {
			raw = ""
		}
		out.URL.Path, out.URL.RawPath = "/"+strings.TrimPrefix(rest, "/"), raw
	}
}

// setHeaders sets headers; an empty value removes one.
func setHeaders(h http.Header, list map[string]string) {
	for name, value := range list {
		if value == "" {
			h.Del(name)
		} else {
			h.Set(name, value)
		}
	}
}

var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Proxy-Authenticate",
}

func isHopByHop(name string) bool { return slices.Contains(hopByHop, http.CanonicalHeaderKey(name)) }

func newKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// several are headers of answers of which there may be several, so that those of Edge stay beside the upstream's.
var several = []string{"Set-Cookie", "Vary", "Link", "Warning", "Www-Authenticate", "Cache-Tag", "Surrogate-Key", "Server-Timing"}

// modifyResponse is called with the head of an answer.
func (p *Proxy) modifyResponse(res *http.Response) error {
	x := res.Request.Context().Value(exchangeKey{}).(*exchange)
	res.Header.Del("Alt-Svc") // it speaks of the upstream's ports
	setHeaders(res.Header, p.config.Headers.Response)
	to := x.writer.Header()
	for name := range res.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			p.note(x.upstream, errHeader)
			return errHeader // net/http reads such names, and clients read them differently
		}
		if !slices.Contains(several, name) {
			delete(to, name) // the upstream's word counts
		}
	}
	if p.config.Sticky != "" && p.stuckTo(x.request) != x.upstream {
		cookie := http.Cookie{Name: p.config.Sticky, Value: x.upstream.name, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: x.request.TLS != nil}
		res.Header.Add("Set-Cookie", cookie.String())
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return takeTunnel(x, res)
	}
	if res.StatusCode >= http.StatusBadRequest {
		origin.Mark(x.writer) // the upstream's own
	}
	return nil
}

// answerError answers when there is no answer of an upstream. The client learns nothing but the status.
func (p *Proxy) answerError(w http.ResponseWriter, r *http.Request, err error) {
	x := r.Context().Value(exchangeKey{}).(*exchange)
	var t *tunnelled
	if errors.As(err, &t) {
		p.serveTunnel(w, x, t)
		return
	}
	if x.body != nil && x.body.failure() != nil {
		answerBodyError(w, x.request, x.body.failure())
		return
	}
	if x.request.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	status := statusOf(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, fmt.Sprintf("%d %s", status, strings.ToLower(http.StatusText(status))), status)
}

// answerBodyError answers when the body of a request cannot be read.
func answerBodyError(w http.ResponseWriter, r *http.Request, err error) {
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		tooLarge(w, r)
		return
	}
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "400 bad request: the body ends too early", http.StatusBadRequest)
}

func tooLarge(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	http.Error(w, "413 request entity too large", http.StatusRequestEntityTooLarge)
}

// buffers are those that bodies of answers are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip is the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
