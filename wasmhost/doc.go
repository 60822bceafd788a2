// Package wasmhost runs WebAssembly plugins as HTTP middleware. It implements the http_handler ABI of http-wasm, written
// down in sdk/abi and docs/abi.md.
//
// The nouns, from the outside in:
//
//   - [Host] owns all plugins and watches their files.
//   - [Plugin] is a name that routes refer to. What it runs can change while it serves: its file is replaced on disk.
//   - A generation is one content of that file: a wazero runtime with its own memory limit, the compiled module, and the
//     instances of it. Requests count themselves in and out of a generation; a replaced one is closed when the last is out.
//   - A template is what the first instance of a generation was after its start: memory and globals.
//   - An instance is one linear memory, a copy of the template. It serves one request at a time, from handle_request to
//     handle_response, and can be put back to the template (template.go, memory_linux.go).
//
// A request meets, in this order: Plugin.Middleware (middleware.go), generation (generation.go), pool (pool.go), instance
// (instance.go), and the host functions that the guest calls back (host_*.go) working on the request's exchange
// (exchange.go).
//
// What a module is, its exports say (kinds.go): middleware and origin, router (route.go), KV driver (kvdriver.go), WebSocket
// handler (ws.go), cron (sched.go). Calls that are no request of a chain go through Plugin.run (calls.go). What guests import
// beside http_handler are the namespaces of abi.go: each function returns errors as numbers and never traps, and each namespace
// that reaches beyond the request needs a grant (grants.go). The other parts of the server are there as Services, interfaces
// that core joins.
//
// What bounds a guest: package meter rewrites each module so that it counts instructions and stack, instance.run gives every
// call its budget (metering.go), and trap.go says why a call was stopped. Who may run at all is decided before anything of
// a file is read (admission.go); on_error and the breaker say what becomes of requests (middleware.go, breaker.go).
//
// What surprises: an instance is busy while the rest of the chain runs, because handle_response must meet the memory that
// handle_request left. A stream of an hour takes an instance for an hour, unless the guest has no handle_response worth the
// name, which the host finds out (abi.NoResponse, or an empty body).
package wasmhost
