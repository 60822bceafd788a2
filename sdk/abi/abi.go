// Package abi is the contract between Edge and its wasm plugins: the http_handler ABI of http-wasm, in names, numbers and
// packed values. Host and guests share it, so it imports nothing.
//
// A plugin is a core WebAssembly module that exports [Memory], [HandleRequest] and [HandleResponse] and imports what it
// needs from [HostModule]. One request through it:
//
//	host                                  guest
//	─────────────────────────────────────────────────────────────
//	handle_request()              ──────►
//	                              ◄──────  get_header_values, set_header_value, read_body, …
//	next = 1, reqCtx = 16         ◄──────  returns 16<<32 | 1
//	… the rest of the chain runs …
//	handle_response(16, 0)        ──────►
//	                              ◄──────  get_status_code, set_header_value, …
//
// With next = 0 the guest has answered by itself: the chain ends and handle_response is not called.
//
// # Strings
//
// All numbers are i32 unless said otherwise. A guest hands a string over as pointer and length in its own memory. It
// receives one in a buffer it owns, given as pointer (buf) and capacity (limit): the host writes the string if it fits and
// returns its length either way, so a result larger than limit means "nothing written, try again with that much room".
// A list of strings is packed with a NUL after each; see [CountLen].
//
// # Errors
//
// There are no error codes. A call that cannot be served (a pointer outside memory, a name that is no header name, a
// change of the request after it went on) traps: the request ends with 500 and the instance is thrown away.
package abi

// HostModule is the module name of the imports.
const HostModule = "http_handler"

// What a guest must export.
const (
	// Memory is the linear memory that pointers refer to.
	Memory = "memory"

	// HandleRequest is called for each request.
	//
	//	handle_request() -> i64    the result is a [CtxNext]
	HandleRequest = "handle_request"

	// HandleResponse is called when the rest of the chain has answered a request that the guest passed on.
	// reqCtx is the upper half of what [HandleRequest] returned. isError is 1 when there is no usable answer: a handler
	// panicked, or a buffered answer was larger than the host buffers.
	//
	//	handle_response(reqCtx, isError)
	HandleResponse = "handle_response"
)

// What a guest may export.
const (
	// Start and Initialize run once, in this order, when an instance is made; WASI toolchains generate one of them.
	// Leaving Start by proc_exit(0) is a normal end.
	Start      = "_start"
	Initialize = "_initialize"

	// NoResponse tells, after start-up, whether handle_response has nothing to do: then the host does not call it and
	// does not keep the instance waiting while the rest of the chain runs. Guests whose handle_response has an empty body
	// need not export this; the host sees it.
	//
	//	edge_no_response() -> i32    1: do not call handle_response
	NoResponse = "edge_no_response"
)

// The imports of [HostModule], as the guest sees them.
const (
	// EnableFeatures turns features on and returns which of those turned on so far the host has. Called while the
	// module starts it counts for all requests, in handle_request for that request. Later it changes nothing.
	//
	//	enable_features(features) -> features
	EnableFeatures = "enable_features"

	// GetConfig reads the configuration of this plugin from edge.yaml: a text as it stands there, anything else as JSON.
	//
	//	get_config(buf, limit) -> len
	GetConfig = "get_config"

	// Log writes a line to the server's log; LogEnabled answers 1 if such a line would be kept. See [LogDebug].
	//
	//	log(level, message, message_len)
	//	log_enabled(level) -> i32
	Log        = "log"
	LogEnabled = "log_enabled"

	// GetMethod and SetMethod: "GET". Set only in handle_request.
	//
	//	get_method(buf, limit) -> len
	//	set_method(method, method_len)
	GetMethod = "get_method"
	SetMethod = "set_method"

	// GetURI and SetURI: path and query, percent-encoded as on the wire: "/v1.0/hi?name=panda". Setting the empty string
	// means "/". Set only in handle_request.
	//
	//	get_uri(buf, limit) -> len
	//	set_uri(uri, uri_len)
	GetURI = "get_uri"
	SetURI = "set_uri"

	// GetProtocolVersion: "HTTP/1.1", "HTTP/2.0", "HTTP/3.0".
	//
	//	get_protocol_version(buf, limit) -> len
	GetProtocolVersion = "get_protocol_version"

	// GetSourceAddr: the peer's "203.0.113.9:51234" or "[2001:db8::9]:51234".
	//
	//	get_source_addr(buf, limit) -> len
	GetSourceAddr = "get_source_addr"

	// GetHeaderNames lists names in lower case, sorted; GetHeaderValues lists the values of one name, whose case does
	// not matter. Both results are a [CountLen], zero when there are none. The first parameter is a header kind.
	//
	//	get_header_names(kind, buf, limit) -> i64
	//	get_header_values(kind, name, name_len, buf, limit) -> i64
	GetHeaderNames  = "get_header_names"
	GetHeaderValues = "get_header_values"

	// SetHeaderValue replaces all values of a name, AddHeaderValue appends one, RemoveHeader removes all. Those of the
	// request change only in handle_request; those of the response in handle_request, or with [FeatureBufferResponse] in
	// handle_response.
	//
	//	set_header_value(kind, name, name_len, value, value_len)
	//	add_header_value(kind, name, name_len, value, value_len)
	//	remove_header(kind, name, name_len)
	SetHeaderValue = "set_header_value"
	AddHeaderValue = "add_header_value"
	RemoveHeader   = "remove_header"

	// ReadBody reads on in a body, at most limit bytes; limit must not be 0. The result is an [EOFLen].
	// What was read of a request body is gone for the rest of the chain unless [FeatureBufferRequest] is on. The response
	// body can be read in handle_response with [FeatureBufferResponse].
	//
	//	read_body(kind, buf, limit) -> i64
	ReadBody = "read_body"

	// WriteBody replaces a body with its first call in a phase and appends with the next ones.
	//
	//	write_body(kind, body, body_len)
	WriteBody = "write_body"

	// GetStatusCode reads the status in handle_response; it needs [FeatureBufferResponse]. SetStatusCode sets it in
	// handle_request, where it counts if the guest answers by itself, or with [FeatureBufferResponse] in handle_response.
	//
	//	get_status_code() -> i32
	//	set_status_code(status_code)
	GetStatusCode = "get_status_code"
	SetStatusCode = "set_status_code"
)

// Header kinds.
const (
	HeaderRequest          uint32 = 0
	HeaderResponse         uint32 = 1
	HeaderRequestTrailers  uint32 = 2
	HeaderResponseTrailers uint32 = 3
)

// Body kinds.
const (
	BodyRequest  uint32 = 0
	BodyResponse uint32 = 1
)

// Features are bits.
const (
	// FeatureBufferRequest keeps what the guest reads of the request body, so that the rest of the chain sees all of it.
	FeatureBufferRequest uint32 = 1

	// FeatureBufferResponse holds the answer of the rest of the chain back, so that handle_response can read and change it.
	FeatureBufferResponse uint32 = 2

	// FeatureTrailers lets the guest change trailers. Reading them needs no feature.
	FeatureTrailers uint32 = 4
)

// Log levels, an i32.
const (
	LogDebug int32 = -1
	LogInfo  int32 = 0
	LogWarn  int32 = 1
	LogError int32 = 2
	LogNone  int32 = 3
)
