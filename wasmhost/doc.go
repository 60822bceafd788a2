// Package wasmhost runs WebAssembly plugins as HTTP middleware. It implements the http_handler ABI of http-wasm, written
// down in sdk/abi and docs/abi.md.
//
// The nouns, from the outside in:
//
//   - [Host] owns all plugins and watches their files.
//   - [Plugin] is a name that routes refer to. What it runs can change while it serves: its file is replaced on disk.
//   - A generation is one content of that file: a wazero runtime with its own memory limit, the compiled module, and the
//     instances of it. Requests count themselves in and out of a generation; a replaced one is closed when the last is out.
//   - An instance is one linear memory. It serves one request at a time, from handle_request to handle_response.
//
// A request meets, in this order: Plugin.Middleware (middleware.go), generation (generation.go), pool (pool.go), instance
// (instance.go), and the host functions that the guest calls back (host_*.go) working on the request's exchange
// (exchange.go).
//
// What surprises: an instance is busy while the rest of the chain runs, because handle_response must meet the memory that
// handle_request left. A stream of an hour takes an instance for an hour, unless the guest has no handle_response worth the
// name, which the host finds out (abi.NoResponse, or an empty body).
package wasmhost
