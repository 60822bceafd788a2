// Goheader does in Go what header.c does: it reads one header and writes one, in both phases.
package main

import "github.com/edge-server/edge/sdk/go/edge"

var calls int

func init() {
	edge.Handle(func(r *edge.Request) edge.Result {
		r.Header().Set("x-seen", r.Header().Get("x-request-id"))
		return edge.Next
	})
	edge.HandleResponse(func(*edge.Response) { calls++ })
}

func main() {}
