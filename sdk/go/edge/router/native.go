//go:build !wasip1

package router

import (
	"net/http"
	"strconv"

	"github.com/edge-server/edge/sdk/go/edge"
)

var decisions []string

// Test takes a request through the registered router, in tests, and returns its decisions in order, such as "rewrite /v1",
// "to api".
func Test(h *edge.TestHost, r *http.Request) []string {
	decisions = nil
	h.Run(r, func() { run() })
	return decisions
}

func decide(words ...string) int32 {
	text := words[0]
	for _, word := range words[1:] {
		text += " " + word
	}
	decisions = append(decisions, text)
	return 0
}

func to(route string) int32    { return decide("to", route) }
func pool(name string) int32   { return decide("pool", name) }
func rewrite(uri string) int32 { return decide("rewrite", uri) }
func redirect(status uint32, url string) int32 {
	return decide("redirect", strconv.Itoa(int(status)), url)
}
func status(code uint32) int32               { return decide("status", strconv.Itoa(int(code))) }
func cache(parts string, ttlMS uint32) int32 { return decide("cache", parts, strconv.Itoa(int(ttlMS))) }
