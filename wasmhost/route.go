package wasmhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

// Decision is what a router said about a request.
type Decision struct {
	// URI is path and query of the request from now on; "" leaves them.
	URI string

	// At most one of these: a route of http.routes by its name, a PHP pool, where the client is sent (with Status), or the status
	// of an answer without a content. None leaves the request to the routes of edge.yaml.
	Route, Pool, Redirect string
	Status                int

	host    *string // of the request from now on; nil leaves it
	decided bool
	kept    bool   // by the host
	parts   string // by which it may be kept, and for how long
	ttl     time.Duration
}

// Kept reports whether the router was not asked, since it had decided about an equal request.
func (d *Decision) Kept() bool { return d.kept }

// Decided reports whether the router decided where the request goes.
func (d *Decision) Decided() bool { return d.decided }

func routeFunctions() []edgeFunction {
	return []edgeFunction{
		{abi.RouteTo, "ii:i", inRoute, routeTo},
		{abi.RoutePool, "ii:i", inRoute, routePool},
		{abi.RouteRewrite, "ii:i", inRoute, routeRewrite},
		{abi.RouteRedirect, "iii:i", inRoute, routeRedirect},
		{abi.RouteStatus, "i:i", inRoute, routeStatus},
		{abi.RouteCache, "iii:i", inRoute, routeCache},
	}
}

// target begins a new decision about the target; what was said before about it does not count.
func (d *Decision) target() *Decision {
	d.Route, d.Pool, d.Redirect, d.Status = "", "", "", 0
	return d
}

func routeTo(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := textAt(mem, s[0], s[1], 256)
	if err != nil {
		return 0, err
	}
	if has := i.gen.ext.services.HasRoute; has == nil || name == "" || !has(name) {
		return 0, refusal(abi.ErrNotFound, "http.routes has no route with the name %.64q", name)
	}
	i.ext.route.target().Route = name
	return 0, nil
}

func routePool(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := textAt(mem, s[0], s[1], 256)
	if err != nil {
		return 0, err
	}
	if _, err := i.pool(name); err != nil {
		return 0, err
	}
	i.ext.route.target().Pool = name
	return 0, nil
}

func routeRewrite(i *instance, mem api.Memory, s []uint64) (int64, error) {
	uri, err := textAt(mem, s[0], s[1], maxRequestHead)
	if err != nil {
		return 0, err
	}
	if uri == "" {
		uri = "/"
	}
	if _, err := parseURI(uri); err != nil {
		return 0, refusal(abi.ErrInvalid, "%v", err)
	}
	i.ext.route.URI = uri
	return 0, nil
}

// parseURI reads path and query.
func parseURI(uri string) (*url.URL, error) {
	if uri[0] != '/' && uri != "*" || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
		return nil, fmt.Errorf(`%.80q is not path and query: it begins with "/" and is percent-encoded`, uri)
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, fmt.Errorf("%.80q: %w", uri, errors.Unwrap(err)) // the error around it has all of the URI
	}
	return u, nil
}

func routeRedirect(i *instance, mem api.Memory, s []uint64) (int64, error) {
	to, err := textAt(mem, s[1], s[2], 8<<10)
	status := int(uint32(s[0]))
	switch {
	case err != nil:
		return 0, err
	case !slices.Contains([]int{301, 302, 303, 307, 308}, status):
		return 0, refusal(abi.ErrInvalid, "%d is no status of a redirect: 301, 302, 303, 307 or 308", status)
	case to == "" || strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return 0, refusal(abi.ErrInvalid, "%.80q is not a URL in its percent-encoded form", to)
	}
	d := i.ext.route.target()
	d.Redirect, d.Status = to, status
	return 0, nil
}

func routeStatus(i *instance, _ api.Memory, s []uint64) (int64, error) {
	status := uint32(s[0])
	if status < 200 || status > 599 {
		return 0, refusal(abi.ErrInvalid, "%d is not a final status: 200 to 599", status)
	}
	i.ext.route.target().Status = int(status)
	return 0, nil
}

const maxDecisionTTL = time.Hour

func routeCache(i *instance, mem api.Memory, s []uint64) (int64, error) {
	parts, err := textAt(mem, s[0], s[1], 256)
	if err != nil {
		return 0, err
	}
	for part := range strings.SplitSeq(parts, ",") {
		kind, name, named := strings.Cut(strings.TrimSpace(part), ":")
		switch kind {
		case "method", "host", "path", "query", "ip":
			if !named {
				continue
			}
		case "header", "cookie":
			if name != "" {
				continue
			}
		}
		return 0, refusal(abi.ErrInvalid, "%.40q is no part of a request: method, host, path, query, ip, header:NAME or cookie:NAME", part)
	}
	ttl, err := ttlOf(uint64(uint32(s[2])))
	if err != nil {
		return 0, err
	}
	i.ext.route.parts, i.ext.route.ttl = parts, min(ttl, maxDecisionTTL)
	return 0, nil
}

// ErrNoDecision: the router failed, and the client has its answer.
var ErrNoDecision = errors.New("the router failed")

// Decide asks the router where the request goes. The header of the answer, and the request's, may be changed by it. With an error the
// client has been answered.
func (p *Plugin) Decide(w http.ResponseWriter, r *http.Request) (*Decision, error) {
	if p.goesAround() {
		return &Decision{}, nil
	}
	gen := p.enter()
	if gen == nil {
		return undecided(p.withoutGuest(w))
	}
	if d := gen.ext.decisions.find(r); d != nil {
		gen.leave()
		return d, nil
	}
	epoch := gen.ext.decisions.epoch.Load()
	inst, err := gen.lend(r.Context())
	if err != nil {
		return undecided(p.withoutInstance(w, err))
	}
	p.counters.requests.Add(1)
	d, err := inst.decide(w, r)
	if err != nil {
		if p.passesOn(gen, inst, err) != nil { // on_error: open
			return &Decision{}, nil
		}
		p.requestFailed(gen, inst, err)
		return nil, ErrNoDecision
	}
	kept := d.ttl > 0 && inst.exchange.changed == 0 && !inst.exchange.varsSet
	gen.recycle(inst)
	if kept {
		again := *d
		again.kept = true
		gen.ext.decisions.keep(r, &again, epoch)
	}
	return d, nil
}

// undecided is the decision of a router that is not there.
func undecided(goesOn bool) (*Decision, error) {
	if goesOn {
		return &Decision{}, nil
	}
	return nil, ErrNoDecision
}

// decide calls route.
func (i *instance) decide(w http.ResponseWriter, r *http.Request) (*Decision, error) {
	features := i.features
	i.features = 0 // they are about an answer that passes through, and there is none here
	i.begin(w, r)
	i.features = features
	i.exchange.phase = phaseRoute
	d := &Decision{}
	i.ext.route = d
	i.startClock()
	stack := [1]uint64{}
	err := i.run(i.mod.ExportedFunction(abi.Route), stack[:])
	i.stopClock(&i.gen.ext.plugin.counters)
	if err != nil {
		return nil, err
	}
	if x := &i.exchange; x.owned && x.r.Host != r.Host {
		d.host = &x.r.Host
	}
	switch result := uint32(stack[0]); result {
	case 0:
		d.target()
	case 1:
		d.decided = d.Route != "" || d.Pool != "" || d.Status != 0
		if !d.decided {
			return nil, &Trap{Kind: TrapMisuse, cause: fmt.Errorf("route returned 1, but said nothing about where the request goes%s", because(i.ext.said))}
		}
	default:
		return nil, &Trap{Kind: TrapMisuse, cause: fmt.Errorf("route returned %d, which is neither 0 nor 1%s", int32(result), because(i.ext.said))}
	}
	return d, nil
}

const (
	maxDecisions = 4096 // of a generation
	maxPartsKeys = 8    // different sets of parts
	maxKeyBytes  = 1024 // of the values of the parts

	maxDecisionBytes = 4 << 10 // of URI and redirect; a longer one is made each time
)

// decisionCache keeps decisions by the parts of the request that they depend on.
type decisionCache struct {
	epoch atomic.Uint64 // changes when all are dropped; what was decided before is not kept afterwards

	mu    sync.RWMutex // guards all below
	parts []string
	known map[string]keptDecision
}

type keptDecision struct {
	*Decision
	until time.Time
}

func (c *decisionCache) find(r *http.Request) *Decision {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var buf [maxKeyBytes]byte
	for n, parts := range c.parts {
		key, ok := appendParts(append(buf[:0], byte(n)), parts, r)
		if !ok {
			continue
		}
		if d, found := c.known[string(key)]; found && time.Now().Before(d.until) {
			return d.Decision
		}
	}
	return nil
}

func (c *decisionCache) keep(r *http.Request, d *Decision, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch.Load() != epoch || len(d.URI)+len(d.Redirect) > maxDecisionBytes {
		return
	}
	n := slices.Index(c.parts, d.parts)
	if n < 0 {
		if len(c.parts) == maxPartsKeys {
			return
		}
		n, c.parts = len(c.parts), append(c.parts, d.parts)
	}
	key, ok := appendParts([]byte{byte(n)}, d.parts, r)
	if !ok {
		return
	}
	now := time.Now()
	if len(c.known) >= maxDecisions {
		for k, kept := range c.known {
			if now.After(kept.until) {
				delete(c.known, k)
			}
		}
		if len(c.known) >= maxDecisions {
			clear(c.known)
		}
	}
	if c.known == nil {
		c.known = map[string]keptDecision{}
	}
	c.known[string(key)] = keptDecision{d, now.Add(d.ttl)}
}

// appendParts appends the values of parts, each with its length in front, so that no two requests share a key by chance. It
// reports false for values that are too long to be kept.
func appendParts(key []byte, parts string, r *http.Request) ([]byte, bool) {
	for part := range strings.SplitSeq(parts, ",") {
		kind, name, _ := strings.Cut(strings.TrimSpace(part), ":")
		switch kind {
		case "method":
			key = appendPart(key, r.Method)
		case "host":
			key = appendPart(key, strings.ToLower(r.Host))
		case "path":
			key = appendPart(key, r.URL.EscapedPath())
		case "query":
			key = appendPart(key, r.URL.RawQuery)
		case "ip":
			host, _, err := net.SplitHostPort(r.RemoteAddr)
			if err != nil {
				host = r.RemoteAddr
			}
			key = appendPart(key, host)
		case "header":
			values := r.Header.Values(name)
			if strings.EqualFold(name, hostHeader) { // which net/http keeps elsewhere
				values = []string{r.Host}
			}
			key = binary.AppendUvarint(key, uint64(len(values)))
			for _, value := range values {
				key = appendPart(key, value)
			}
		case "cookie":
			value, there := "", byte(0)
			if cookie, err := r.Cookie(name); err == nil {
				value, there = cookie.Value, 1
			}
			key = appendPart(append(key, there), value)
		}
		if len(key) > maxKeyBytes {
			return nil, false
		}
	}
	return key, true
}

func appendPart(key []byte, value string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(value))), value...)
}

// Apply returns the request as the router wants it to go on.
func (d *Decision) Apply(r *http.Request) *http.Request {
	if d.host != nil {
		out := *r
		out.Host = *d.host
		r = &out
	}
	if d.URI == "" {
		return r
	}
	parsed, err := parseURI(d.URI)
	if err != nil { // it was checked when it was given
		return r
	}
	out, u := *r, *r.URL
	u.Path, u.RawPath, u.RawQuery, u.ForceQuery = parsed.Path, parsed.RawPath, parsed.RawQuery, parsed.ForceQuery
	out.URL, out.RequestURI = &u, d.URI
	return &out
}

// ForgetDecisions drops the decisions that are kept: what they were made of has changed.
func (p *Plugin) ForgetDecisions() {
	gen := p.enter()
	if gen == nil {
		return
	}
	defer gen.leave()
	c := &gen.ext.decisions
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch.Add(1)
	clear(c.known)
}
