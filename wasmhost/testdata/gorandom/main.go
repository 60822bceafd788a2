// Gorandom tells a number that its instance drew from Go's own generator.
package main

import (
	"math/rand/v2"
	"strconv"

	"github.com/edge-server/edge/sdk/go/edge"
)

func init() {
	edge.Info("started")
	edge.Handle(func(r *edge.Request) edge.Result {
		r.Response().Header().Set("x-random", strconv.FormatUint(rand.Uint64(), 16))
		return edge.Next
	})
	edge.HandleResponse(func(*edge.Response) {}) // keeps the instance while the rest of the chain runs
}

func main() {}
