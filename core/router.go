package core

import (
	"net/http"

	"github.com/edge-server/edge/core/routing"
	"github.com/edge-server/edge/wasmhost"
)

// routeTable is what Edge.ServeHTTP reads once per request. It is immutable; a reload or a new plugin puts another in its place.
type routeTable struct {
	matcher   *routing.Table
	routes    []compiledRoute
	unmatched http.Handler            // answers when no route takes the request
	routers   []*wasmhost.Plugin      // asked before the routes
	pools     map[string]http.Handler // that routers choose

	// handler is the global middleware around serveRoute.
	handler http.Handler

	// world is what the handlers use; its requests are counted there, because tables of one world follow each other.
	world *world
}

type compiledRoute struct {
	name    string
	handler http.Handler // the route's middleware around its target
}

// serveRoute sends the request to the first route that matches.
func (t *routeTable) serveRoute(w http.ResponseWriter, r *http.Request) {
	if len(t.routers) > 0 {
		if r = t.askRouters(w, r); r == nil {
			return
		}
	}
	path, ok := routing.Clean(r.URL.Path)
	if !ok {
		http.Error(w, "400 bad request: the path leaves the root", http.StatusBadRequest)
		return
	}
	found, ok := t.matcher.Find(r, path)
	if !ok {
		t.unmatched.ServeHTTP(w, r)
		return
	}
	found.SetPathValues(r)
	t.routes[found.Route].serve(w, r)
}
