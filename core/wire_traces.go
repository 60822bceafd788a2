package core

import (
	"net/http"

	"github.com/edge-server/edge/wasmhost"
)

// pluginStep is a plugin around next, as a span where there are traces.
func (e *Edge) pluginStep(p *wasmhost.Plugin, next http.Handler) http.Handler {
	if e.traces == nil {
		return p.Middleware(next)
	}
	return e.traces.Step("wasm:"+p.Name(), "edge.plugin", p.Name(), p.Middleware(next))
}

// poolStep is a pool of PHP workers, as a span where there are traces. What PHP calls meanwhile is under it.
func (e *Edge) poolStep(pool string, h http.Handler) http.Handler {
	if e.traces == nil {
		return h
	}
	return e.traces.Step("php:"+pool, "edge.pool", pool, h)
}
