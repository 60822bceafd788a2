// Package edge is for writing Edge plugins in Go.
//
// A plugin is a main package that registers a handler in init:
//
//	package main
//
//	import "github.com/edge-server/edge/sdk/go/edge"
//
//	func init() {
//		edge.Handle(func(r *edge.Request) edge.Result {
//			if r.Header().Get("Authorization") == "" {
//				return r.Respond(401, "text/plain", "who are you?\n")
//			}
//			r.Header().Set("X-User", "somebody")
//			return edge.Next
//		})
//	}
//
//	func main() {} // never runs
//
// Build it, put the file into the plugin folder, and it runs:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o plugins-wasm/hello.wasm .
//
// # The request
//
// The handler sees the request before the rest of the chain does, and may change it: [Request.SetMethod],
// [Request.SetURI], [Request.Header], [Request.Body]. With [Next] it goes on. With [Done] the plugin has answered by
// itself, through [Request.Response], and nothing behind it runs; [Request.Respond] does both in one line.
//
// Reading the body takes it away from the rest of the chain, unless [BufferRequest] is on: then the server keeps what was
// read, up to plugins.modules.NAME.limits.body. Turn features on in init for all requests, or in the handler for one:
//
//	func init() {
//		edge.Enable(edge.BufferRequest)
//		edge.Handle(handle)
//	}
//
// # The response
//
// Headers of the response that are set before [Next] stay unless a later handler overwrites them, which is enough for most
// plugins and costs nothing. To see or change what the rest of the chain answered, register a second function and turn on
// [BufferResponse], which makes the server hold the answer back until that function returns:
//
//	func init() {
//		edge.Enable(edge.BufferResponse)
//		edge.Handle(func(r *edge.Request) edge.Result { return edge.Next })
//		edge.HandleResponse(func(r *edge.Response) {
//			if r.Status() == 404 {
//				r.Body().WriteString("nothing here\n") // replaces the body
//			}
//		})
//	}
//
// Plugins without HandleResponse are cheaper: the server does not keep an instance waiting for the answer.
//
// # State
//
// Variables live as long as the instance, which serves one request at a time; there are several instances, and they come
// and go. So a variable is a cache, never the truth. Goroutines do not run between requests.
//
// # Settings, logs, panics
//
// [Config] is plugins.modules.NAME.config of edge.yaml, a text as it is or anything else as JSON. [Debug], [Info], [Warn]
// and [Error] write to the server's log. A panic is logged, the client gets 500 without a word of it, and the instance is
// replaced.
//
// # Beside requests
//
// A plugin may use the server's stores ([OpenStore]), call other servers and PHP ([Call], [Dial]), keep variables of the request
// that later plugins, PHP and the access log see ([SetVar]), count ([NewCounter]), leave work in a queue ([Push]) and publish to
// WebSockets ([Publish]). Most of it has to be granted: plugins.modules.NAME.allow. What a plugin does not use it does not import.
//
// # Other kinds
//
// Package router decides where requests go, cron runs at intervals, ws takes WebSocket connections, and driver is a key-value
// store. Importing one makes the plugin one of that kind.
//
// # Tests
//
// Natively, that is in go test on your machine, the package is a server in memory: [TestHost] runs the registered handlers
// around a net/http handler.
//
//	func TestHello(t *testing.T) {
//		r := httptest.NewRequest("GET", "/", nil)
//		res := (&edge.TestHost{}).Do(r)
//		if res.StatusCode != 401 { … }
//	}
package edge
