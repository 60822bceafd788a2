package php

import (
	"net/http"
	"strings"
)

// Handler answers the requests of one route. With queue.fair: route, routes that wait take turns; ServeHTTP itself is one more
// route, without a name.
func (p *Pool) Handler(route string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.handle(w, r, route) })
}

// flowOf is with whom a request shares its turns in the queue.
func (p *Pool) flowOf(r *http.Request, route string) string {
	switch p.cfg.Queue.Fair {
	case fairRoute:
		return route
	case fairHost:
		return hostFlow(r.Host)
	}
	return ""
}

// hostFlow is a host in lower case and without its port.
func hostFlow(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
