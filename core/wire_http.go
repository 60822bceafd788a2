package core

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/core/compress"
	"github.com/edge-server/edge/core/forwarded"
	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/ratelimit"
	"github.com/edge-server/edge/core/routing"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/wasmhost"
)

// builtinMiddleware are the names that http.middleware and routes' use know beside plugins.
var builtinMiddleware = []string{"access-log", "request-id", "headers", "security-headers", "compress"}

func (e *Edge) newHTTP(cfg *Config) (*httpserver.Server, error) {
	store, err := e.certificateStore(cfg)
	if err != nil {
		return nil, cfg.located(err)
	}
	s, err := httpserver.New(cfg.HTTP.server(), httpserver.Options{
		Logger: e.channel("http"), StateDir: cfg.StateDir, Handler: e, Certificates: store, Hosts: cfg.certificateHosts(),
		Sockets: e.sockets, Legacy: e.legacy.http(),
	})
	if err != nil {
		return nil, cfg.located(err)
	}
	return s, nil
}

// compileRoutes composes what every request runs through. From the outside in:
// error pages, recover, who the client is, size limit, http.middleware, the host check, the redirect to TLS, the choice of a route, its error
// pages and the size of bodies, its use, its time, unnamed plugins, the target.
func (e *Edge) compileRoutes(w *world) (*routeTable, error) {
	t := &routeTable{world: w}
	if w.cfg.HTTP == nil {
		return t, nil
	}
	var errs []error
	unnamed := w.unnamedPlugins()
	for i := range w.cfg.HTTP.Routes {
		route := &w.cfg.HTTP.Routes[i]
		h, err := e.routeHandler(w, route, unnamed)
		errs = append(errs, within(fmt.Sprintf("http.routes[%d]", i), err))
		if err == nil {
			h = w.guards.ofRoute(w.cfg, i, h)
		}
		if e.traces != nil {
			h = namesSpan(route.key(), h)
		}
		t.routes = append(t.routes, compiledRoute{route.Name, e.meters.measure(route.key(), refuseLarge(w.cfg.HTTP.mostBody(), h))})
	}
	t.unmatched = e.meters.measure(unmatched, refuseLarge(w.cfg.HTTP.mostBody(), http.NotFoundHandler()))
	t.matcher = routing.New(w.cfg.matches())
	errs = append(errs, e.addRouters(t, w))
	h, err := e.chain(w, nil, w.cfg.HTTP.Middleware, e.withHosts(w, e.withRedirects(w, e.withWebSockets(http.HandlerFunc(t.serveRoute)))))
	errs = append(errs, within("http.middleware", err))
	if err := errors.Join(errs...); err != nil {
		return nil, w.cfg.located(err)
	}
	h = forwarded.Middleware(w.cfg.HTTP.Forwarded)(cutBody(w.cfg.HTTP.mostBody(), w.withVariables(h)))
	t.handler = w.guards.pages.Middleware(middleware.Recover(e.log)(h))
	if e.traces != nil {
		t.handler = middleware.Trace(e.traces.Request)(t.handler)
	}
	return t, nil
}

// routeHandler is the route's own middleware around the unnamed plugins around its target.
func (e *Edge) routeHandler(w *world, route *Route, unnamed []*wasmhost.Plugin) (http.Handler, error) {
	h, err := e.target(w, route)
	if err != nil {
		return nil, err
	}
	if route.Wasm == "" {
		h = withoutTrace(h)
	}
	for _, plugin := range slices.Backward(unnamed) {
		h = e.pluginStep(plugin, h)
	}
	return e.chain(w, route, route.Use, guard.LimitTime(route.Limits.Time, h))
}

// namesSpan tells the span of a request which route it took.
func namesSpan(route string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), r.Method, route)
		next.ServeHTTP(w, r)
	})
}

// chain wraps h in the named middleware, of a route or of all; the first name is outermost.
func (e *Edge) chain(w *world, route *Route, names []string, h http.Handler) (http.Handler, error) {
	for _, name := range slices.Backward(names) {
		switch name {
		case "access-log":
			h = e.accessLog(w.cfg.HTTP.AccessLog)(h)
		case "request-id":
			h = middleware.RequestID(h)
		case "compress":
			h = compress.Middleware(w.cfg.HTTP.Compress)(h)
		case "headers":
			h = middleware.Headers(w.cfg.HTTP.Headers)(h)
		case "security-headers":
			h = guard.Headers(w.cfg.HTTP.SecurityHeaders)(h)
		default:
			if wrap := w.guards.middleware(name); wrap != nil {
				h = w.cfg.HTTP.afterRedirect(name, wrap)(h)
				continue
			}
			if wrap := w.cacheOf(name, route); wrap != nil {
				h = wrap(h)
				continue
			}
			if limit, ok := w.limits[strings.TrimPrefix(name, rateLimitPrefix)]; ok && strings.HasPrefix(name, rateLimitPrefix) {
				h = limit.Middleware(h)
				continue
			}
			plugin, ok := w.plugins.Plugin(name)
			if !ok {
				return nil, fmt.Errorf("use: there is no plugin %q", name)
			}
			if err := needKind(plugin, wasmhost.KindMiddleware, "middleware"); err != nil {
				return nil, err
			}
			h = e.pluginStep(plugin, h)
		}
	}
	return h, nil
}

// sharedLimitTimeout is how long a request waits for the store of a rate limit.
const sharedLimitTimeout = 250 * time.Millisecond

// newLimits makes the rate limits of cfg; those that have not changed since old go on counting.
func (e *Edge) newLimits(cfg *Config, old *world) map[string]*ratelimit.Limit {
	limits := map[string]*ratelimit.Limit{}
	if cfg.HTTP == nil {
		return limits
	}
	for name, c := range cfg.HTTP.RateLimits {
		if limit, there := old.limits[name]; there && old.cfg.HTTP.RateLimits[name] == c {
			limits[name] = limit
			continue
		}
		var times ratelimit.Times
		if c.Store != "" {
			times = ratelimit.NewShared(e.stores[c.Store], sharedLimitTimeout)
		}
		limits[name] = ratelimit.New(name, c, times, e.channel("http"))
	}
	return limits
}

// target builds the one handler that a route ends in.
func (e *Edge) target(w *world, route *Route) (http.Handler, error) {
	switch {
	case route.PHP != "":
		h, err := e.phpTarget(w, route)
		if w.cfg.HTTP.TLS.ClientAuth != nil {
			h = withClientCertificate(h)
		}
		return withAttributes(h), err
	case route.Wasm != "":
		plugin, ok := w.plugins.Plugin(route.Wasm)
		if !ok {
			return nil, fmt.Errorf("wasm: there is no plugin %q", route.Wasm)
		}
		if err := needKind(plugin, wasmhost.KindMiddleware, "the target of a route"); err != nil {
			return nil, within("wasm", err)
		}
		return e.pluginStep(plugin, http.HandlerFunc(originFellThrough)), nil
	case route.WS != "":
		return e.rawTarget(w, route.WS)
	case route.Files != nil:
		return middleware.NewFiles(*route.Files)
	case route.Proxy != nil:
		return w.proxyOf(route)
	case route.Respond != nil:
		return ownAnswer(newResponder(route.Respond)), nil
	default:
		return newRedirector(route.Redirect), nil
	}
}

// withoutTrace refuses TRACE, which would show scripts what cookies they may not see. Plugins get it first: http-wasm lets them answer it.
func withoutTrace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodTrace {
			w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
			http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// originFellThrough answers when a plugin that a route names as its origin passes the request on: there is nothing behind it.
func originFellThrough(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "404 page not found", http.StatusNotFound)
}

// limitBody refuses a body that is announced as too large, and cuts one that turns out to be.
func limitBody(limit int64, next http.Handler) http.Handler {
	return refuseLarge(limit, cutBody(limit, next))
}

// refuseLarge refuses a body that is announced as too large. It stands where a request is logged and counted.
func refuseLarge(limit int64, next http.Handler) http.Handler {
	if limit == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength <= limit {
			next.ServeHTTP(w, r)
			return
		}
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // do not read it only to throw it away
		}
		http.Error(w, fmt.Sprintf("413 request entity too large: the limit is %d bytes", limit), http.StatusRequestEntityTooLarge)
	})
}

// cutBody cuts a body that turns out to be too large: its reader gets *http.MaxBytesError.
func cutBody(limit int64, next http.Handler) http.Handler {
	if limit == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// A copy: net/http looks at the Body it made to decide what to do with a body nobody read.
			limited := *r
			limited.Body = http.MaxBytesReader(w, r.Body, limit)
			r = &limited
		}
		next.ServeHTTP(w, r)
	})
}

// responder is the target respond.
type responder struct {
	status int
	header http.Header
	body   string
}

func newResponder(c *Respond) http.Handler {
	r := &responder{status: c.Status, header: http.Header{}, body: c.Body}
	r.header.Set("Content-Type", "text/plain; charset=utf-8")
	for name, value := range c.Headers {
		r.header.Set(name, value)
	}
	return r
}

func (h *responder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	for name, values := range h.header {
		header[name] = values
	}
	w.WriteHeader(h.status)
	if r.Method != http.MethodHead {
		io.WriteString(w, h.body) // an error here means that the client has gone
	}
}

// redirector is the target redirect.
type redirector struct {
	to     string
	status int
}

// placeholder is what a redirect's target may have: {uri}, {host} and the names of the route's path.
var placeholder = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_]*\}`)

func newRedirector(c *Redirect) http.Handler { return &redirector{c.To, c.Status} }

func (h *redirector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	uri := r.URL.RequestURI()
	if !strings.HasPrefix(uri, "/") {
		uri = "/"
	}
	if strings.HasPrefix(h.to, "{uri}") {
		// A target that begins with the client's path must not become //host, which leads to another server.
		uri = "/" + strings.TrimLeft(uri, "/\\")
	}
	host := routing.Host(r.Host)
	if strings.Contains(host, ":") && host[0] != '[' {
		host = "[" + host + "]" // an IPv6 address
	}
	to := placeholder.ReplaceAllStringFunc(h.to, func(text string) string {
		switch name := text[1 : len(text)-1]; name {
		case "uri":
			return uri
		case "host":
			return host
		default:
			return (&url.URL{Path: r.PathValue(name)}).EscapedPath()
		}
	})
	w.Header().Set("Location", to)
	w.WriteHeader(h.status)
}

func validHeader(name, value string) bool {
	return httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value)
}
