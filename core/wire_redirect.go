package core

import (
	"net/http"
	"slices"
	"strings"

	"github.com/edge-server/edge/core/httpserver"
)

// withRedirects answers what came to a listener with redirect, behind the middleware of all requests and the check of the host: so it is in
// the access log, and nobody is sent to a host that is not served.
func (e *Edge) withRedirects(w *world, next http.Handler) http.Handler {
	if !w.cfg.HTTP.redirects() {
		return next
	}
	redirect := e.meters.measure(unmatched, http.HandlerFunc(httpserver.Redirect))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if httpserver.IsRedirected(r) {
			redirect.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// redirects reports whether a listener sends clients on to another one.
func (h *HTTPConfig) redirects() bool {
	return slices.ContainsFunc(h.Listen, func(l httpserver.Listen) bool { return l.Redirect })
}

// afterRedirect keeps middleware of all requests that asks for a password away from those that are sent on to TLS: without it, the password
// would be there for everybody to read.
func (h *HTTPConfig) afterRedirect(name string, ask func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	if !strings.HasPrefix(name, basicAuthPrefix) || !h.redirects() {
		return ask
	}
	return func(next http.Handler) http.Handler {
		asked := ask(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if httpserver.IsRedirected(r) {
				next.ServeHTTP(w, r)
				return
			}
			asked.ServeHTTP(w, r)
		})
	}
}
