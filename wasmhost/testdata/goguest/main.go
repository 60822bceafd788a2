// Goguest uses every part of the Go SDK; the path says which.
package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/edge-server/edge/sdk/go/edge"
)

func init() {
	config := string(edge.Config())
	edge.Enable(edge.BufferRequest)
	edge.Handle(func(r *edge.Request) edge.Result { return handle(r, config) })
	edge.HandleResponse(response)
}

func main() {}

func handle(r *edge.Request, config string) edge.Result {
	path, _, _ := strings.Cut(r.URI(), "?")
	switch path {
	case "/facts":
		h := r.Response().Header()
		h.Set("Config", config)
		h.Set("Line", r.Method()+" "+r.URI()+" "+r.Proto())
		h.Set("Peer", r.SourceAddr())
		h.Set("Names", strings.Join(r.Header().Names(), ","))
		h.Set("Values", strings.Join(r.Header().Values("x-list"), ","))
		h.Set("Absent", "<"+r.Header().Get("absent")+">")
		return r.Respond(201, "text/plain", "facts\n")
	case "/long":
		return r.Respond(200, "text/plain", r.Header().Get("x-long"))
	case "/body":
		body := make([]byte, 7)
		n, _ := io.ReadFull(r.Body(), body)
		r.Header().Set("Begin", string(body[:n]))
		return edge.Next
	case "/rewrite":
		upper := strings.ToUpper(string(r.Body().ReadAll()))
		r.SetMethod("PUT")
		r.SetURI("/rewritten?x=1")
		r.Header().Set("one", "1")
		r.Header().Add("one", "2")
		r.Header().Del("gone")
		io.WriteString(r.Body(), upper)
		return edge.Next
	case "/response":
		edge.Enable(edge.BufferResponse)
		return edge.NextWith(42)
	case "/panic":
		panic("at the disco")
	case "/log":
		edge.Debug("d")
		edge.Info("i")
		edge.Warn("w")
		edge.Error("e " + strconv.FormatBool(edge.DebugEnabled()))
	}
	return edge.Next
}

func response(r *edge.Response) {
	if r.Ctx() != 42 {
		return
	}
	body := r.Body().ReadAll()
	r.Header().Set("Was", strconv.Itoa(r.Status())+" "+strconv.FormatBool(r.Failed()))
	r.SetStatus(299)
	r.Body().WriteString("<")
	r.Body().Write(body)
	r.Body().WriteString(">")
}
