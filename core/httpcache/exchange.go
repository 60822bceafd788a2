package httpcache

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/edge-server/edge/kv"
)

// exchange is one request on its way through the cache.
type exchange struct {
	c     *Cache
	w     http.ResponseWriter // nil in the background
	r     *http.Request
	next  http.Handler
	route *Route
	key   string
	place place

	control directives // of the request
	state   state      // of the cache when the exchange began
	marker  entry
	entry   entry // that answers such requests, fresh or not
	marked  bool
	found   bool
	variant variant // with the names of marker
	fwd     string  // why the target is asked, as RFC 9211 says it

	flight   *flight
	asked    bool   // the target is asked whether entry has changed
	landings uint64 // of other requests, when this one looked into the store
	plain    bool   // the target sees the client's conditions
	began    time.Time
}

// serve answers a request from the store, or lets the target answer.
func (c *Cache) serve(w http.ResponseWriter, r *http.Request, route *Route, next http.Handler) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		c.serveMethod(w, r, next)
		return
	}
	if why := c.bypass(r); why != "" {
		c.pass(w, r, next, "bypass", why)
		return
	}
	x := exchange{c: c, w: w, r: r, next: next, route: route, landings: c.flights.landings.Load()}
	x.open()
	if x.serveStored(time.Now()) {
		return
	}
	switch {
	case x.control.onlyIfCached: // RFC 9111, section 5.2.1.7
		c.count(refusedIfCached)
		c.say(w.Header(), "; fwd=request; detail=only-if-cached")
		http.Error(w, "504 gateway timeout: nothing is stored that answers this request, and it asks for nothing else", http.StatusGatewayTimeout)
	case x.control.noStore: // RFC 9111, section 5.2.1.5
		c.pass(w, r, next, "request", "no-store")
	case !x.found && r.Method == http.MethodHead:
		c.pass(w, r, next, "method", "")
	case !x.found && len(r.Header["Range"]) > 0:
		c.pass(w, r, next, "partial", "") // fetching all of a large file for a part of it would not help
	default:
		fetching := new(exchange) // x needs no memory, which most requests do not need either
		*fetching = x
		fetching.fetch()
	}
}

// disguised are headers by which frameworks take a request for another one.
var disguised = [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Prefix"}

// bypass says why a request does not take part, or "". What takes part must be described by its key and nothing else: headers that make
// the target see another method, path, host or scheme than the key has would let one client choose what the next ones get.
func (c *Cache) bypass(r *http.Request) string {
	h := r.Header
	switch {
	case r.ContentLength > 0, r.ContentLength < 0 && r.ProtoMajor != 3, len(r.TransferEncoding) > 0: // of HTTP/3 nobody knows; see request
		return "body"
	case len(h["Upgrade"]) > 0:
		return "upgrade"
	case r.URL.IsAbs():
		return "absolute-form"
	case strings.Contains(r.URL.RawQuery, "#"): // no client sends it, and keys have it where a URL cannot
		return "malformed"
	case len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0: // only the target knows (RFC 9111, section 4.3.2)
		return "precondition"
	case c.cfg.Cookies == cookiesBypass && len(h["Cookie"]) > 0:
		return "cookie"
	case strings.Contains(h.Get("Accept"), "text/event-stream"):
		return "streaming"
	}
	for _, name := range disguised {
		if len(h[name]) > 0 {
			return "disguised"
		}
	}
	if len(h["X-Forwarded-Host"]) == 0 && len(h["X-Forwarded-Proto"]) == 0 && len(h["X-Forwarded-Port"]) == 0 && len(h["Forwarded"]) == 0 {
		return ""
	}
	return forwardedElsewhere(r)
}

// forwardedElsewhere compares what proxies say about the URL with the key. http.forwarded drops what peers say that are not trusted, and
// takes the scheme from those that are.
func forwardedElsewhere(r *http.Request) string {
	h, scheme := r.Header, schemeOf(r)
	for _, host := range h["X-Forwarded-Host"] {
		if !strings.EqualFold(host, r.Host) {
			return "x-forwarded-host"
		}
	}
	for _, proto := range h["X-Forwarded-Proto"] {
		if !strings.EqualFold(proto, scheme) {
			return "x-forwarded-proto"
		}
	}
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	for _, said := range h["X-Forwarded-Port"] {
		if said != port {
			return "x-forwarded-port"
		}
	}
	for _, line := range h["Forwarded"] {
		for part := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ';' || c == ',' }) {
			name, value, _ := strings.Cut(trim(part), "=")
			value = strings.Trim(trim(value), `"`)
			switch name = strings.ToLower(trim(name)); {
			case name == "host" && !strings.EqualFold(value, r.Host), name == "proto" && !strings.EqualFold(value, scheme):
				return "forwarded"
			}
		}
	}
	return ""
}

// pass lets the target answer as if there were no cache.
func (c *Cache) pass(w http.ResponseWriter, r *http.Request, next http.Handler, fwd, detail string) {
	c.count(bypassed)
	if c.cfg.CacheStatus {
		text := c.name + "; fwd=" + fwd
		if detail != "" {
			text += "; detail=" + detail
		}
		w.Header()["Cache-Status"] = []string{text}
	}
	c.watch(w, r, next, false)
}

// say adds to Cache-Status (RFC 9211).
func (c *Cache) say(h http.Header, text string) {
	if c.cfg.CacheStatus {
		h["Cache-Status"] = append(h["Cache-Status"], c.name+text)
	}
}

// open reads the request, and what the store has for it.
func (x *exchange) open() {
	x.control = parseControl(x.r.Header["Cache-Control"])
	if x.control.broken || len(x.r.Header["Pragma"]) > 0 && len(x.r.Header["Cache-Control"]) == 0 && strings.Contains(x.r.Header.Get("Pragma"), "no-cache") {
		x.control.noCache = true // RFC 9111, section 5.4
	}
	if !x.c.cfg.ObeyClients {
		d := parseControl(nil)
		d.onlyIfCached, d.noStore = x.control.onlyIfCached, x.control.noStore
		x.control = d
	}
	scheme := schemeOf(x.r)
	x.place = place{hostOf(scheme, x.r.Host), x.r.URL.EscapedPath(), x.c.query(x.r.URL.RawQuery)}
	x.key = x.c.key(x.route.Scope, scheme, x.place.host, x.place.path, x.place.query)
	x.look()
}

// look asks the store, once for what has one answer, twice for what has several.
func (x *exchange) look() {
	x.fwd, x.marked, x.found, x.state = "uri-miss", false, false, state{}
	items := []kv.Item{{Key: x.c.stateKey}, {Key: x.key}}
	if err := x.c.guard.get(items); err != nil {
		return
	}
	if items[0].Found {
		x.state = parseState(items[0].Value)
	}
	if !items[1].Found || x.state.epoch == 0 {
		return
	}
	e, ok := decode(items[1].Value)
	if !ok || e.epoch != x.state.epoch || string(e.name) != x.key {
		return
	}
	if e.marker() {
		x.marker, x.marked = e, true
		x.fwd = "vary-miss"
		names := e.names()
		x.variant = variantOf(x.r.Header, names)
		key := x.variantKey()
		items = items[:1]
		items[0] = kv.Item{Key: key}
		if err := x.c.guard.get(items); err != nil || !items[0].Found {
			return
		}
		if e, ok = decode(items[0].Value); !ok || e.epoch != x.state.epoch || string(e.name) != key || e.variant != x.variant {
			return
		}
	}
	if !x.marked && len(e.vary) > 0 {
		return
	}
	if !x.c.takesPart(x.r, e.flags) {
		x.fwd = "bypass"
		return
	}
	x.entry, x.found = e, true
}

// variantKey is the key of the answer to this request among several.
func (x *exchange) variantKey() string {
	return variantKey(x.key, string(x.marker.variant[:]), x.variant)
}

// serveStored answers from the store if that may be (RFC 9111, section 4).
func (x *exchange) serveStored(now time.Time) bool {
	if !x.found {
		return false
	}
	d, e := &x.control, &x.entry
	fresh := e.fresh(now) / 1000
	if e.fresh(now) < 0 {
		fresh = min(fresh, -1)
	}
	switch {
	case d.noCache, d.noStore && !d.onlyIfCached, e.flags&alwaysAsk != 0, // RFC 9111, sections 5.2.1.4 and 5.2.2.4
		d.maxAge != absent && e.age(now)/1000 > d.maxAge && d.maxStale == absent,
		d.minFresh != absent && fresh < d.minFresh:
		x.fwd = "request"
		if e.flags&alwaysAsk != 0 {
			x.fwd = "stale"
		}
		return false
	case e.fresh(now) > 0:
		x.c.count(hit)
		x.answer(e, now, "; hit; ttl=", fresh)
		return true
	case e.times.whileRevalidate > 0 && -e.fresh(now) <= e.times.whileRevalidate: // RFC 5861, section 3
		x.c.count(staleHit)
		x.refresh()
		x.answer(e, now, "; hit; ttl=", fresh)
		return true
	case d.maxStale != absent && -fresh <= d.maxStale && e.flags&mustRevalidate == 0: // RFC 9111, section 5.2.1.2
		x.c.count(staleHit)
		x.answer(e, now, "; hit; ttl=", fresh)
		return true
	}
	x.fwd = "stale"
	return false
}
