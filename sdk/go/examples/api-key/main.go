// Api-key lets requests in that bring a key. The configuration is a text:
//
//	plugins: {modules: {api-key: {config: "s3cret alice\n0ther bob\n"}}}
package main

import (
	"crypto/subtle"
	"errors"
	"iter"
	"strings"

	"github.com/edge-server/edge/sdk/go/edge"
)

func init() {
	edge.CheckConfig(check)
	edge.Handle(handle)
}

func main() {}

func check(config []byte) error {
	for range keys(string(config)) {
		return nil
	}
	return errors.New(`no keys: write a line "KEY NAME" for each`)
}

func handle(r *edge.Request) edge.Result {
	given := r.Header().Get("x-api-key")
	r.Header().Del("x-client") // what a client says of itself counts for nothing

	// All keys are looked at, so that the time tells nothing of which one matches.
	client := ""
	for key, name := range keys(string(edge.Config())) {
		if subtle.ConstantTimeCompare([]byte(key), []byte(given)) == 1 {
			client = name
		}
	}
	if client == "" {
		r.Response().Header().Set("www-authenticate", "ApiKey")
		return r.Respond(401, "text/plain", "an API key is needed\n")
	}
	r.Header().Del("x-api-key")
	r.Header().Set("x-client", client)
	return edge.Next
}

// keys are the keys and names of the configuration.
func keys(config string) iter.Seq2[string, string] {
	return func(yield func(key, name string) bool) {
		for line := range strings.SplitSeq(config, "\n") {
			key, name, _ := strings.Cut(line, " ")
			if key != "" && name != "" && !yield(key, name) {
				return
			}
		}
	}
}
