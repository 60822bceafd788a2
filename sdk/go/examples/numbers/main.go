// Numbers is an origin: it answers by itself, piece by piece.
//
//	http: {routes: [{match: {path: /numbers}, wasm: numbers}]}
package main

import (
	"strconv"
	"strings"

	"github.com/edge-server/edge/sdk/go/edge"
)

func init() { edge.Handle(handle) }

func main() {}

const most = 100_000

func handle(r *edge.Request) edge.Result {
	path, query, _ := strings.Cut(r.URI(), "?")
	if path != "/numbers" {
		return r.Respond(404, "application/json", `{"error":"not found"}`)
	}
	n := 10
	for pair := range strings.SplitSeq(query, "&") {
		if text, ok := strings.CutPrefix(pair, "n="); ok {
			var err error
			if n, err = strconv.Atoi(text); err != nil || n < 0 || n > most {
				return r.Respond(400, "application/json", `{"error":"n is a number from 0 to 100000"}`)
			}
			break
		}
	}
	r.Response().Header().Set("content-type", "application/json")
	write(r.Response().Body(), n)
	return edge.Done
}

func write(body *edge.Body, n int) {
	piece := []byte{'['}
	for i := 1; i <= n; i++ {
		piece = strconv.AppendInt(piece, int64(i), 10)
		if i < n {
			piece = append(piece, ',')
		}
		if i%1000 == 0 {
			body.Write(piece)
			body.Flush() // a client that is gone is no news here
			piece = piece[:0]
		}
	}
	body.Write(append(piece, ']'))
}
