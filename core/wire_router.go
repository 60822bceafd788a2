package core

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/wasmhost"
)

// addRouters finds the plugins of http.routers, and what they may choose.
func (e *Edge) addRouters(t *routeTable, w *world) error {
	var errs []error
	for i, name := range w.cfg.HTTP.Routers {
		plugin, ok := w.plugins.Plugin(name)
		if !ok {
			errs = append(errs, fmt.Errorf("http.routers[%d]: there is no plugin %q", i, name))
			continue
		}
		if err := needKind(plugin, wasmhost.KindRouter, "a router"); err != nil {
			errs = append(errs, fmt.Errorf("http.routers[%d]: %w", i, err))
		}
		t.routers = append(t.routers, plugin)
	}
	t.pools = map[string]http.Handler{}
	for name := range maps.Keys(w.cfg.PHP) {
		h, err := e.phpTarget(w, &Route{Name: name, PHP: name})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		t.pools[name] = limitBody(int64(w.cfg.HTTP.Limits.Body), withAttributes(withoutTrace(h)))
	}
	return errors.Join(errs...)
}

// askRouters lets routers decide. It returns the request for the routes of edge.yaml, rewritten perhaps, or nil when it was answered.
func (t *routeTable) askRouters(w http.ResponseWriter, r *http.Request) *http.Request {
	for _, router := range t.routers {
		d, err := router.Decide(w, r)
		if err == nil && d.Kept() && !t.has(d) { // a reload took away what it names
			router.ForgetDecisions()
			d, err = router.Decide(w, r)
		}
		if err != nil {
			return nil // the client has its answer
		}
		r = d.Apply(r)
		if d.Decided() {
			t.follow(d, w, r)
			return nil
		}
	}
	return r
}

// forgetDecisions has routers decide anew after a reload that changed what they can decide between.
func forgetDecisions(old, next *world, t *routeTable) {
	samePools := slices.Equal(slices.Sorted(maps.Keys(old.cfg.PHP)), slices.Sorted(maps.Keys(next.cfg.PHP)))
	if next.cfg.HTTP == nil || samePools && old.cfg.HTTP != nil && reflect.DeepEqual(old.cfg.HTTP.Routes, next.cfg.HTTP.Routes) {
		return
	}
	for _, router := range t.routers {
		router.ForgetDecisions()
	}
}

// has reports whether what the decision names is there.
func (t *routeTable) has(d *wasmhost.Decision) bool {
	switch {
	case d.Route != "":
		return t.named(d.Route) != nil
	case d.Pool != "":
		return t.pools[d.Pool] != nil
	}
	return true
}

func (t *routeTable) named(name string) *compiledRoute {
	for i := range t.routes {
		if t.routes[i].name == name {
			return &t.routes[i]
		}
	}
	return nil
}

// follow serves the request as a router has decided.
func (t *routeTable) follow(d *wasmhost.Decision, w http.ResponseWriter, r *http.Request) {
	switch {
	case d.Route != "":
		if route := t.named(d.Route); route != nil {
			route.serve(w, r)
			return
		}
	case d.Pool != "":
		if pool := t.pools[d.Pool]; pool != nil {
			pool.ServeHTTP(w, r)
			return
		}
	case d.Redirect != "":
		w.Header().Set("Location", d.Redirect)
		w.WriteHeader(d.Status)
		return
	default:
		answerStatus(w, r, d.Status)
		return
	}
	// A reload took away what the decision is about, just now.
	http.Error(w, http.StatusText(http.StatusNotFound), http.StatusNotFound)
}

// answerStatus is the status and its name.
func answerStatus(w http.ResponseWriter, r *http.Request, status int) {
	if status == http.StatusNoContent || status == http.StatusNotModified || r.Method == http.MethodHead {
		w.WriteHeader(status)
		return
	}
	http.Error(w, http.StatusText(status), status)
}

// serve is the route's handler; plugins are told which route it is.
func (r *compiledRoute) serve(w http.ResponseWriter, req *http.Request) {
	wasmhost.VariablesOf(req.Context()).SetRoute(r.name)
	r.handler.ServeHTTP(w, req)
}

// withVariables gives requests room for what plugins say about them, if there are plugins that do.
func (w *world) withVariables(next http.Handler) http.Handler {
	if w.plugins == nil {
		return next
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.plugins.UsesVariables() {
			r = wasmhost.WithVariables(r)
		}
		next.ServeHTTP(rw, r)
	})
}

// withAttributes shows PHP the variables of the request as attributes.
func withAttributes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, v := range wasmhost.VariablesOf(r.Context()).All() {
			r = php.WithAttribute(r, v.Name, v.Value)
		}
		next.ServeHTTP(w, r)
	})
}

// variablesAttr is the variables of a request for the access log.
func variablesAttr(r *http.Request) (slog.Attr, bool) {
	list := wasmhost.VariablesOf(r.Context()).All()
	if len(list) == 0 {
		return slog.Attr{}, false
	}
	attrs := make([]any, len(list))
	for i, v := range list {
		attrs[i] = slog.String(v.Name, middleware.Printable(v.Value))
	}
	return slog.Group("vars", attrs...), true
}
