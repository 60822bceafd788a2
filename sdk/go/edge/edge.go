package edge

import (
	"strconv"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge/internal/kind"
)

// Result is what a handler returns: [Next], [Done], or [NextWith].
type Result uint64

const (
	// Next passes the request on to the rest of the chain.
	Next Result = 1

	// Done ends the chain: the plugin has answered.
	Done Result = 0
)

// NextWith passes the request on, and [Response.Ctx] of the same request returns ctx.
func NextWith(ctx uint32) Result { return Result(abi.Next(ctx)) }

// plugin is what the plugin's init has registered. A wasm instance has one plugin, so this is a variable of the package.
var plugin struct {
	request  func(*Request) Result
	response func(*Response)
	config   func([]byte) error
}

// Handle registers the plugin's handler. Call it in init.
func Handle(handler func(r *Request) Result) { plugin.request = handler }

// HandleResponse registers a function that runs after the rest of the chain has answered. Call it in init.
func HandleResponse(handler func(r *Response)) { plugin.response = handler }

// Features are bits for [Enable].
type Features uint32

const (
	// BufferRequest keeps what the plugin reads of the request's body for the rest of the chain.
	BufferRequest = Features(abi.FeatureBufferRequest)

	// BufferResponse holds the answer of the rest of the chain back for HandleResponse.
	BufferResponse = Features(abi.FeatureBufferResponse)

	// Trailers allows changes of trailers.
	Trailers = Features(abi.FeatureTrailers)
)

// Enable turns features on, in init for all requests and in a handler for that one. It returns what is on.
func Enable(features Features) Features { return Features(enableFeatures(uint32(features))) }

// Config returns the plugin's configuration: a text of edge.yaml as it stands there, anything else as JSON.
func Config() []byte {
	return append([]byte(nil), fetch(getConfig)...)
}

// Level is how much a line of the log matters.
type Level int32

const (
	LevelDebug = Level(abi.LogDebug)
	LevelInfo  = Level(abi.LogInfo)
	LevelWarn  = Level(abi.LogWarn)
	LevelError = Level(abi.LogError)
)

// Log writes a line to the server's log. See [Debug], [Info], [Warn] and [Error].
func Log(level Level, message string) { writeLog(int32(level), message) }

// LogEnabled reports whether lines of a level are kept: a reason not to put a message together.
func LogEnabled(level Level) bool { return logEnabled(int32(level)) != 0 }

// Debug is for what a developer wants to know. See [DebugEnabled].
func Debug(message string) { writeLog(abi.LogDebug, message) }

// Info is for what an operator wants to know. See [Debug].
func Info(message string) { writeLog(abi.LogInfo, message) }

// Warn is for what an operator should look at. See [Debug].
func Warn(message string) { writeLog(abi.LogWarn, message) }

// Error is for what failed. See [Debug].
func Error(message string) { writeLog(abi.LogError, message) }

// DebugEnabled reports whether [Debug] writes anything: a reason not to put a message together.
func DebugEnabled() bool { return LogEnabled(LevelDebug) }

// handleRequest is the export of that name. It is not wrapped in another function, as calls are dear in Go's WebAssembly. A panic in
// it is the runtime's to explain, on stderr, which the server logs with the trap: a deferred recover costs more than a small handler.
//
//go:wasmexport handle_request
func handleRequest() uint64 {
	if plugin.request == nil {
		return withoutHandler()
	}
	request.clear()
	return uint64(plugin.request(&request))
}

func withoutHandler() uint64 {
	if kind.Other { // a router that lies in the folder unnamed is middleware too
		return uint64(Next)
	}
	panic("edge.Handle was not called; call it in init, because main does not run")
}

// handleResponse is the export of that name.
//
//go:wasmexport handle_response
func handleResponse(reqCtx, isError uint32) {
	if plugin.response != nil {
		request.response.answered(reqCtx, isError != 0)
		plugin.response(&request.response)
	}
}

// request is the one in progress. An instance has one at a time, and an allocation costs a guest as much as the call itself.
var request Request

// ExplainError is for packages of this module: the server repeats the text of err when the export that runs returns an error.
func ExplainError(err error) { setError(err.Error()) }

// ExplainPanic is for this SDK: it logs a panic and lets it go on: it ends as a trap, which by itself says nothing.
func ExplainPanic(function string) {
	if cause := recover(); cause != nil {
		Error("panic in " + function + ": " + describe(cause))
		panic(cause)
	}
}

// describe does without fmt, which is a third of a small plugin's size.
func describe(cause any) string {
	switch c := cause.(type) {
	case error:
		return c.Error()
	case string:
		return c
	case int:
		return strconv.Itoa(c)
	case interface{ String() string }:
		return c.String()
	}
	return "a value that is neither an error nor a text"
}

// scratch receives strings from the server. An instance runs on one goroutine, so one is enough. It does not grow past
// what the server ever answers, which is bounded by the size of a header.
var scratch = make([]byte, 2048)

// grow makes room for n bytes and reports whether there was none.
func grow(n uint32) bool {
	if n <= uint32(len(scratch)) {
		return false
	}
	scratch = make([]byte, n)
	return true
}

// interned are strings met before, so that the usual method, host or user agent does not cost an allocation each time.
var interned [64]string

// text makes a string of b.
func text(b []byte) string {
	if len(b) == 0 || len(b) > 64 {
		return string(b)
	}
	slot := &interned[(31*uint(len(b))+7*uint(b[0])+uint(b[len(b)-1]))%uint(len(interned))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}

// fetch calls a getter that writes into scratch, once more with a larger one if need be. The result is valid until the next
// call.
func fetch(get func(buf []byte) uint32) []byte {
	n := get(scratch)
	if grow(n) {
		n = get(scratch)
	}
	return scratch[:n]
}
