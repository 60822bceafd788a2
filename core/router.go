package core

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-server/edge/internal/urlpath"
	"github.com/edge-server/edge/wasmhost"
)

// routeTable is what Edge.ServeHTTP reads once per request. It is immutable; a reload or a new plugin puts another in its place.
type routeTable struct {
	routes  []compiledRoute
	routers []*wasmhost.Plugin      // asked before the routes
	pools   map[string]http.Handler // that routers choose

	// handler is the global middleware around serveRoute.
	handler http.Handler

	// world is what the handlers use; its requests are counted there, because tables of one world follow each other.
	world *world
}

type compiledRoute struct {
	name    string
	hosts   []string // lower case
	paths   []string
	methods []string
	handler http.Handler // the route's middleware around its target
}

func compileRoute(m Match, h http.Handler) compiledRoute {
	r := compiledRoute{paths: m.Path, methods: m.Method, handler: h}
	for _, host := range m.Host {
		r.hosts = append(r.hosts, strings.ToLower(host))
	}
	return r
}

// serveRoute sends the request to the first route that matches.
func (t *routeTable) serveRoute(w http.ResponseWriter, r *http.Request) {
	if len(t.routers) > 0 {
		if r = t.askRouters(w, r); r == nil {
			return
		}
	}
	p, ok := routePath(r.URL.Path)
	if !ok {
		http.Error(w, "400 bad request: the path leaves the root", http.StatusBadRequest)
		return
	}
	host := routeHost(r.Host)
	for i := range t.routes {
		if t.routes[i].matches(host, p, r.Method) {
			t.routes[i].serve(w, r)
			return
		}
	}
	http.Error(w, "404 page not found", http.StatusNotFound)
}

func (r *compiledRoute) matches(host, path, method string) bool {
	return (len(r.hosts) == 0 || slices.ContainsFunc(r.hosts, func(pattern string) bool { return hostMatches(pattern, host) })) &&
		(len(r.paths) == 0 || slices.ContainsFunc(r.paths, func(pattern string) bool { return pathMatches(pattern, path) })) &&
		(len(r.methods) == 0 || slices.ContainsFunc(r.methods, func(m string) bool { return methodMatches(m, method) }))
}

// hostMatches: "example.com" matches itself, "*.example.com" matches exactly one more label.
func hostMatches(pattern, host string) bool {
	suffix, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return pattern == host
	}
	label, found := strings.CutSuffix(host, suffix)
	return found && label != "" && !strings.Contains(label, ".")
}

// pathMatches: "/a" matches itself; "/a/*" matches everything below /a/, not /a.
func pathMatches(pattern, path string) bool {
	prefix, wild := strings.CutSuffix(pattern, "*")
	if wild {
		return strings.HasPrefix(path, prefix)
	}
	return pattern == path
}

// methodMatches: GET includes HEAD, as in net/http's ServeMux.
func methodMatches(pattern, method string) bool {
	return pattern == method || pattern == http.MethodGet && method == http.MethodHead
}

// routeHost is the Host header as patterns are compared with it: lower case, no port, no final dot.
func routeHost(hostport string) string {
	host := hostport
	if strings.IndexByte(hostport, ':') >= 0 {
		if h, _, err := net.SplitHostPort(hostport); err == nil {
			host = h
		}
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// routePath is the path as patterns are compared with it, so that /public/../admin is matched as /admin whatever the target
// makes of it. It reports false for a path that climbs above the root.
func routePath(p string) (string, bool) {
	if p == "*" { // OPTIONS *
		return "/", true
	}
	return urlpath.Clean(p)
}
