package core

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/internal/origin"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/wasmhost"
)

// What stands before the name of a guard in lists of middleware.
const (
	concurrencyPrefix = "concurrency/"
	basicAuthPrefix   = "basic-auth/"
	accessPrefix      = "access/"
)

// guards are those of a world, by name.
type guards struct {
	gates  map[string]*guard.Gate
	auths  map[string]*guard.Auth
	access map[string]*guard.AccessList
	pages  *guard.Pages   // nil without
	routes []*guard.Pages // of the routes
}

// newGuards makes the guards of cfg. Concurrency limits that have not changed since old go on counting.
func (e *Edge) newGuards(cfg *Config, old *world) (*guards, error) {
	g := &guards{gates: map[string]*guard.Gate{}, auths: map[string]*guard.Auth{}, access: map[string]*guard.AccessList{}}
	if cfg.HTTP == nil {
		return g, nil
	}
	for name, c := range cfg.HTTP.Concurrency {
		if old.guards != nil && old.guards.gates[name] != nil && old.cfg.HTTP.Concurrency[name] == c {
			g.gates[name] = old.guards.gates[name]
			continue
		}
		g.gates[name] = guard.NewGate(c)
	}
	for name, c := range cfg.HTTP.Access {
		g.access[name] = guard.NewAccess(c)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.HTTP.BasicAuth)) {
		auth, err := guard.NewAuth(cfg.HTTP.BasicAuth[name], identify)
		g.auths[name] = auth
		errs = append(errs, within("http.basic_auth."+name, err))
	}
	pages, err := guard.NewPages(cfg.HTTP.Errors)
	g.pages, errs = pages, append(errs, within("http", err))
	for i := range cfg.HTTP.Routes {
		pages, err := guard.NewPages(cfg.HTTP.Routes[i].Errors)
		g.routes, errs = append(g.routes, pages), append(errs, within(fmt.Sprintf("http.routes[%d]", i), err))
	}
	return g, errors.Join(errs...)
}

// identify tells plugins, PHP and the access log who the user of a request is.
func identify(w http.ResponseWriter, r *http.Request, user string) *http.Request {
	middleware.SetUser(w, user)
	wasmhost.VariablesOf(r.Context()).SetUser(user)
	return php.WithAttributes(r, "REMOTE_USER", strings.ToValidUTF8(user, "?"), "AUTH_TYPE", "Basic")
}

// middleware is a guard by the name that lists of middleware have for it, or nil.
func (g *guards) middleware(name string) func(http.Handler) http.Handler {
	if gate := g.gates[strings.TrimPrefix(name, concurrencyPrefix)]; gate != nil && strings.HasPrefix(name, concurrencyPrefix) {
		return gate.Middleware
	}
	if auth := g.auths[strings.TrimPrefix(name, basicAuthPrefix)]; auth != nil && strings.HasPrefix(name, basicAuthPrefix) {
		return auth.Middleware
	}
	if list := g.access[strings.TrimPrefix(name, accessPrefix)]; list != nil && strings.HasPrefix(name, accessPrefix) {
		return list.Middleware
	}
	return nil
}

// ofRoute puts what belongs to a route around its handler: its error pages, and the limit of its bodies.
func (g *guards) ofRoute(cfg *Config, at int, next http.Handler) http.Handler {
	route := &cfg.HTTP.Routes[at]
	if cfg.HTTP.mostBody() != int64(cfg.HTTP.Limits.Body) || route.Limits.Body != 0 {
		limit := int64(cfg.HTTP.Limits.Body)
		if route.Limits.Body != 0 {
			limit = int64(route.Limits.Body)
		}
		next = limitBody(limit, next)
	}
	return g.routes[at].Middleware(next)
}

// mostBody is the largest body that any route takes, 0 without a limit.
func (h *HTTPConfig) mostBody() int64 {
	most := int64(h.Limits.Body)
	for i := range h.Routes {
		if limit := int64(h.Routes[i].Limits.Body); most > 0 {
			most = max(most, limit)
		}
	}
	return most
}

// withHosts lets requests for the hosts of the configuration pass.
func (e *Edge) withHosts(w *world, next http.Handler) http.Handler {
	return guard.Hosts(w.cfg.HTTP.Hosts, e.meters.measure(unmatched, http.HandlerFunc(guard.Misdirected)), next)
}

// ownAnswer says that the answers of a target are the site's own, which error pages leave alone.
func ownAnswer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin.Mark(w)
		next.ServeHTTP(w, r)
	})
}

// stats gathers what guards have counted.
func (g *guards) stats(w *world) telemetry.Guards {
	s := telemetry.Guards{
		RateLimits: map[string]telemetry.RateLimit{}, Concurrency: map[string]guard.GateStats{},
		BasicAuth: map[string]guard.AuthStats{}, Access: map[string]guard.AccessStats{},
	}
	for name, limit := range w.limits {
		s.RateLimits[name] = telemetry.RateLimit(limit.Stats())
	}
	for name, gate := range g.gates {
		s.Concurrency[name] = gate.Stats()
	}
	for name, auth := range g.auths {
		s.BasicAuth[name] = auth.Stats()
	}
	for name, list := range g.access {
		s.Access[name] = list.Stats()
	}
	return s
}

// validateGuards checks what stands between clients and routes.
func (h *HTTPConfig) validateGuards() error {
	errs := []error{
		within("http", guard.ValidateHosts(h.Hosts)), within("http.security_headers", h.SecurityHeaders.Validate()),
	}
	for _, name := range slices.Sorted(maps.Keys(h.Concurrency)) {
		errs = append(errs, within("http.concurrency."+name, h.Concurrency[name].Validate()))
	}
	for _, name := range slices.Sorted(maps.Keys(h.BasicAuth)) {
		errs = append(errs, within("http.basic_auth."+name, h.BasicAuth[name].Validate()))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Access)) {
		errs = append(errs, within("http.access."+name, h.Access[name].Validate()))
	}
	for i := range h.Errors {
		errs = append(errs, within(fmt.Sprintf("http.errors[%d]", i), h.Errors[i].Validate()))
	}
	for i := range h.Routes {
		key := fmt.Sprintf("http.routes[%d]", i)
		errs = append(errs, within(key+".limits", h.Routes[i].Limits.Validate()))
		for j := range h.Routes[i].Errors {
			errs = append(errs, within(fmt.Sprintf("%s.errors[%d]", key, j), h.Routes[i].Errors[j].Validate()))
		}
	}
	return errors.Join(errs...)
}

// unknownGuard returns why a name that begins as a guard's cannot be used as middleware, or "". known is false for other names.
func (h *HTTPConfig) unknownGuard(name string) (problem string, known bool) {
	missing := func(of, key string, have []string) (string, bool) {
		slices.Sort(have)
		if slices.Contains(have, of) {
			return "", true
		}
		return fmt.Sprintf("there is no %q in http.%s, which has %s", of, key, countNames(have)), true
	}
	if of, ok := strings.CutPrefix(name, concurrencyPrefix); ok {
		return missing(of, "concurrency", slices.Collect(maps.Keys(h.Concurrency)))
	}
	if of, ok := strings.CutPrefix(name, basicAuthPrefix); ok {
		return missing(of, "basic_auth", slices.Collect(maps.Keys(h.BasicAuth)))
	}
	if of, ok := strings.CutPrefix(name, accessPrefix); ok {
		return missing(of, "access", slices.Collect(maps.Keys(h.Access)))
	}
	return "", false
}

// resolveGuards makes relative paths of pages and users start at the folder of edge.yaml.
func (h *HTTPConfig) resolveGuards(from func(string) string) {
	for name, auth := range h.BasicAuth {
		auth.File = from(auth.File)
		h.BasicAuth[name] = auth
	}
	resolvePages(h.Errors, from)
	for i := range h.Routes {
		resolvePages(h.Routes[i].Errors, from)
	}
}

func resolvePages(list []guard.ErrorPages, from func(string) string) {
	for i := range list {
		list[i].File, list[i].Root = from(list[i].File), from(list[i].Root)
	}
}
