// Hello sets a header on every answer.
package main

import "github.com/edge-server/edge/sdk/go/edge"

func init() { edge.Handle(handle) }

func main() {}

func handle(r *edge.Request) edge.Result {
	r.Response().Header().Set("x-hello", "from Go")
	return edge.Next
}
