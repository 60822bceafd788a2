// Package router is for plugins that decide where a request goes. Importing it makes a plugin a router.
//
//	func init() {
//		router.Handle(func(r *router.Request) {
//			if strings.HasPrefix(r.URI(), "/api/") {
//				r.To("api")
//			}
//		})
//	}
//
// http.routers of edge.yaml names the plugin. Whoever decides nothing leaves the request to http.routes.
package router

import (
	"time"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/internal/kind"
)

func init() { kind.Other = true }

var handler func(*Request)

// Handle registers the router. Call it in init.
func Handle(handle func(r *Request)) { handler = handle }

// Request is a request that looks for its target. Of several decisions the last counts.
type Request struct {
	request edge.Request
	decided bool
}

// Method is "GET".
func (r *Request) Method() string { return r.request.Method() }

// URI is path and query, percent-encoded.
func (r *Request) URI() string { return r.request.URI() }

// SourceAddr is the peer's address and port.
func (r *Request) SourceAddr() string { return r.request.SourceAddr() }

// Header is the header of the request, which may be changed.
func (r *Request) Header() edge.Header { return r.request.Header() }

// To sends the request to the route of http.routes with that name.
func (r *Request) To(route string) error { return r.decide(to(route)) }

// Pool sends the request to a PHP pool.
func (r *Request) Pool(name string) error { return r.decide(pool(name)) }

// Redirect sends the client elsewhere: 301, 302, 303, 307 or 308.
func (r *Request) Redirect(status int, url string) error {
	return r.decide(redirect(uint32(status), url))
}

// Status answers with a status and its name.
func (r *Request) Status(code int) error { return r.decide(status(uint32(code))) }

// Rewrite changes path and query; this alone decides nothing.
func (r *Request) Rewrite(uri string) error { return problem(rewrite(uri)) }

// Cache gives requests that are equal in parts the same decision without a call, for so long. parts is a list such as
// "path,header:accept", out of method, host, path, query, ip, header:NAME, cookie:NAME.
func (r *Request) Cache(parts string, ttl time.Duration) error {
	return problem(cache(parts, uint32(min(ttl.Milliseconds(), 1<<31-1))))
}

func (r *Request) decide(n int32) error {
	r.decided = r.decided || n >= 0
	return problem(n)
}

func problem(n int32) error {
	if n < 0 {
		return abi.Errno(n)
	}
	return nil
}

// run is the export route.
func run() int32 {
	defer edge.ExplainPanic(abi.Route)
	r := Request{}
	if handler != nil {
		handler(&r)
	}
	if r.decided {
		return 1
	}
	return 0
}
