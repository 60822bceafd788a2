// Rewrite is a router: old addresses are redirected, an API moves, the rest is left to the routes of edge.yaml.
package main

import (
	"strings"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/router"
)

func init() { router.Handle(route) }

func main() {}

func route(r *router.Request) {
	if err := decide(r); err != nil {
		edge.Warn(err.Error() + ": " + edge.LastError())
	}
}

func decide(r *router.Request) error {
	// The same address gets the same decision without a call.
	if err := r.Cache("path,query", time.Minute); err != nil {
		return err
	}
	uri := r.URI()
	if rest, ok := strings.CutPrefix(uri, "/old/"); ok {
		return r.Redirect(308, "/new/"+rest)
	}
	if rest, ok := strings.CutPrefix(uri, "/api/v1/"); ok {
		if err := r.Rewrite("/v1/" + rest); err != nil {
			return err
		}
		return r.To("api")
	}
	if path, _, _ := strings.Cut(uri, "?"); path == "/teapot" {
		return r.Status(418)
	}
	return nil
}
