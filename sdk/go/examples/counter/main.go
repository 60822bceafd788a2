// Counter counts requests by path in the store "counters", which all servers of a fleet can share.
//
//	kv: {counters: {}}
//	plugins: {modules: {counter: {allow: {kv: [counters]}}}}
package main

import (
	"strconv"
	"strings"

	"github.com/edge-server/edge/sdk/go/edge"
)

func init() { edge.Handle(handle) }

func main() {}

func handle(r *edge.Request) edge.Result {
	path, _, _ := strings.Cut(r.URI(), "?")
	hits, err := count(path)
	if err != nil {
		edge.Warn("count " + path + ": " + err.Error()) // no reason to fail the request
		return edge.Next
	}
	r.Response().Header().Set("x-hits", strconv.FormatInt(hits, 10))
	return edge.Next
}

func count(path string) (int64, error) {
	store, err := edge.OpenStore("counters")
	if err != nil {
		return 0, err
	}
	return store.Increment("hits:"+path, 1, 0)
}
