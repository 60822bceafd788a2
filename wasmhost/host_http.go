package wasmhost

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/tetratelabs/wazero/api"
	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/sdk/abi"
)

const supportedFeatures = abi.FeatureBufferRequest | abi.FeatureBufferResponse | abi.FeatureTrailers

const i32, i64 = api.ValueTypeI32, api.ValueTypeI64

// hostFunction is one import of a guest. Its parameters come on the stack and its result replaces them. The upper half of
// a 32-bit parameter may be garbage, so each is read through uint32().
type hostFunction struct {
	name    string
	params  int // all i32
	results []api.ValueType
	call    func(inst *instance, mem api.Memory, stack []uint64)
}

// httpHandler is the host module of http-wasm; sdk/abi says what each function does.
var httpHandler = []hostFunction{
	{abi.EnableFeatures, 1, []api.ValueType{i32}, enableFeatures},
	{abi.GetConfig, 2, []api.ValueType{i32}, getConfig},
	{abi.LogEnabled, 1, []api.ValueType{i32}, logEnabled},
	{abi.Log, 3, nil, logMessage},
	{abi.GetMethod, 2, []api.ValueType{i32}, getMethod},
	{abi.SetMethod, 2, nil, setMethod},
	{abi.GetURI, 2, []api.ValueType{i32}, getURI},
	{abi.SetURI, 2, nil, setURI},
	{abi.GetProtocolVersion, 2, []api.ValueType{i32}, getProtocolVersion},
	{abi.GetSourceAddr, 2, []api.ValueType{i32}, getSourceAddr},
	{abi.GetHeaderNames, 3, []api.ValueType{i64}, getHeaderNames},
	{abi.GetHeaderValues, 5, []api.ValueType{i64}, getHeaderValues},
	{abi.SetHeaderValue, 5, nil, setHeaderValue},
	{abi.AddHeaderValue, 5, nil, addHeaderValue},
	{abi.RemoveHeader, 3, nil, removeHeader},
	{abi.ReadBody, 3, []api.ValueType{i64}, readBody},
	{abi.WriteBody, 3, nil, writeBody},
	{abi.GetStatusCode, 0, []api.ValueType{i32}, getStatusCode},
	{abi.SetStatusCode, 1, nil, setStatusCode},
}

func (f hostFunction) signature() signature {
	params := make([]api.ValueType, f.params)
	for i := range params {
		params[i] = i32
	}
	return signature{params, f.results}
}

// trap ends the guest's call. A panic is how wazero takes a trap from a host function; it comes back as the error of the
// call into the guest.
func trap(format string, args ...any) { panic(misuse{fmt.Errorf(format, args...)}) }

// guestMemory returns n bytes of the guest's memory, not a copy. field names the parameter in the trap.
func guestMemory(mem api.Memory, field string, ptr, n uint32) []byte {
	if n == 0 {
		return nil
	}
	b, ok := mem.Read(ptr, n)
	if !ok {
		trap("%s: %d bytes at %d are outside of the guest's memory of %d bytes", field, n, ptr, mem.Size())
	}
	return b
}

// writeString writes s if it fits into limit bytes at buf, and answers its length either way.
func writeString(mem api.Memory, stack []uint64, s string) {
	buf, limit := uint32(stack[0]), uint32(stack[1])
	if uint64(len(s)) <= uint64(limit) {
		copy(guestMemory(mem, "buf", buf, uint32(len(s))), s)
	}
	stack[0] = uint64(len(s))
}

// needRequest traps where there is no request, such as in start functions.
func (i *instance) needRequest(function string) {
	if !phases(withRequest).has(i.exchange.phase) {
		i.noRequest(function)
	}
}

func (i *instance) noRequest(function string) {
	trap("%s: there is no request %s", function, i.exchange.phase.when())
}

// needMiddleware traps where there is a request, but only to be looked at.
func (i *instance) needMiddleware(function string) {
	i.needRequest(function)
	if !phases(withAnswer).has(i.exchange.phase) {
		trap("%s: not callable %s", function, i.exchange.phase.when())
	}
}

// needBeforeNext traps when the request is no longer the guest's to change.
func (i *instance) needBeforeNext(function string) {
	if i.exchange.phase != phaseRequest {
		i.notBeforeNext(function)
	}
}

func (i *instance) notBeforeNext(function string) {
	i.needMiddleware(function)
	trap("%s: the request has gone on to the next handler and cannot be changed or read in handle_response", function)
}

// needAnswer traps when the answer is out of the guest's hands: after next, unless it is held back.
func (i *instance) needAnswer(function string) {
	if i.exchange.phase == phaseRequest {
		return
	}
	i.needMiddleware(function)
	if i.exchange.held == nil {
		trap("%s: in handle_response this needs the feature buffer_response, turned on before next", function)
	}
}

func enableFeatures(i *instance, _ api.Memory, stack []uint64) {
	features := uint32(stack[0]) & supportedFeatures
	switch i.exchange.phase {
	case phaseRequest:
		i.exchange.enable(features)
		stack[0] = uint64(i.exchange.features)
	case phaseStart:
		i.features |= features
		stack[0] = uint64(i.features)
	default: // too late for this request
		stack[0] = uint64(i.exchange.features)
	}
}

func getConfig(i *instance, mem api.Memory, stack []uint64) {
	writeString(mem, stack, i.gen.config)
}

// logLevels maps the ABI's levels to slog's.
func logLevel(level int32) (slog.Level, bool) {
	switch {
	case level >= abi.LogNone:
		return 0, false
	case level <= abi.LogDebug:
		return slog.LevelDebug, true
	case level == abi.LogInfo:
		return slog.LevelInfo, true
	case level == abi.LogWarn:
		return slog.LevelWarn, true
	}
	return slog.LevelError, true
}

func logEnabled(i *instance, _ api.Memory, stack []uint64) {
	level, ok := logLevel(int32(uint32(stack[0])))
	stack[0] = 0
	if ok && i.gen.log.enabled(level) {
		stack[0] = 1
	}
}

func logMessage(i *instance, mem api.Memory, stack []uint64) {
	message := guestMemory(mem, "message", uint32(stack[1]), uint32(stack[2]))
	level, ok := logLevel(int32(uint32(stack[0])))
	if !ok {
		return
	}
	i.gen.log.line(level, message)
	if level == slog.LevelError { // it may be why it traps next
		i.complaint = append(i.complaint[:0], message[:min(len(message), maxTail)]...)
		i.spoke = true
	}
}

func getMethod(i *instance, mem api.Memory, stack []uint64) {
	i.needRequest(abi.GetMethod)
	writeString(mem, stack, i.exchange.r.Method)
}

func setMethod(i *instance, mem api.Memory, stack []uint64) {
	i.needBeforeNext(abi.SetMethod)
	method := string(guestMemory(mem, "method", uint32(stack[0]), uint32(stack[1])))
	i.exchange.spend(abi.SetMethod, len(method))
	if !httpguts.ValidHeaderFieldName(method) { // the same grammar: a token
		trap("set_method: %.40q is not an HTTP method", method)
	}
	i.exchange.own().Method = method
}

// getURI writes path and query in two pieces: putting them together first would allocate on every call.
func getURI(i *instance, mem api.Memory, stack []uint64) {
	i.needRequest(abi.GetURI)
	u := i.exchange.r.URL
	path, query := u.EscapedPath(), u.RawQuery
	if path == "" {
		path = "/"
	}
	length := len(path)
	if query != "" || u.ForceQuery {
		length += 1 + len(query)
	}
	if buf, limit := uint32(stack[0]), uint32(stack[1]); uint64(length) <= uint64(limit) {
		b := guestMemory(mem, "buf", buf, uint32(length))
		if n := copy(b, path); n < length {
			b[n] = '?'
			copy(b[n+1:], query)
		}
	}
	stack[0] = uint64(length)
}

func setURI(i *instance, mem api.Memory, stack []uint64) {
	i.needBeforeNext(abi.SetURI)
	uri := string(guestMemory(mem, "uri", uint32(stack[0]), uint32(stack[1])))
	i.exchange.spend(abi.SetURI, len(uri))
	if uri == "" {
		uri = "/"
	}
	parsed, err := parseURI(uri)
	if err != nil {
		trap("set_uri: %v", err)
	}
	r := i.exchange.own()
	u := *r.URL
	u.Path, u.RawPath, u.RawQuery, u.ForceQuery = parsed.Path, parsed.RawPath, parsed.RawQuery, parsed.ForceQuery
	r.URL, r.RequestURI = &u, uri
}

func getProtocolVersion(i *instance, mem api.Memory, stack []uint64) {
	i.needRequest(abi.GetProtocolVersion)
	writeString(mem, stack, i.exchange.r.Proto)
}

func getSourceAddr(i *instance, mem api.Memory, stack []uint64) {
	i.needRequest(abi.GetSourceAddr)
	writeString(mem, stack, i.exchange.r.RemoteAddr)
}

func getStatusCode(i *instance, _ api.Memory, stack []uint64) {
	i.needMiddleware(abi.GetStatusCode)
	x := &i.exchange
	switch {
	case x.held != nil:
		stack[0] = uint64(x.held.statusCode())
	case x.phase == phaseResponse:
		trap("get_status_code: in handle_response this needs the feature buffer_response, turned on before next")
	case x.status == 0:
		stack[0] = http.StatusOK
	default:
		stack[0] = uint64(x.status)
	}
}

func setStatusCode(i *instance, _ api.Memory, stack []uint64) {
	i.needAnswer(abi.SetStatusCode)
	code := uint32(stack[0])
	if code < 200 || code > 999 {
		trap("set_status_code: %d is not a final status: 200 to 999", code)
	}
	i.exchange.setStatus(int(code))
}

func readBody(i *instance, mem api.Memory, stack []uint64) {
	kind, ptr, limit := uint32(stack[0]), uint32(stack[1]), uint32(stack[2])
	if limit == 0 {
		trap("read_body: limit is 0, so the body would never end")
	}
	var n int
	var ended bool
	switch kind {
	case abi.BodyRequest:
		i.needBeforeNext(abi.ReadBody)
		buf := guestMemory(mem, "buf", ptr, limit)
		i.waitForClient(func() { n, ended = i.exchange.readRequest(buf) })
	case abi.BodyResponse:
		i.needMiddleware(abi.ReadBody)
		if i.exchange.phase != phaseResponse || i.exchange.held == nil {
			trap("read_body: the response body can be read in handle_response, with the feature buffer_response turned on before next")
		}
		n, ended = i.exchange.held.guestRead(guestMemory(mem, "buf", ptr, limit))
	default:
		trap("read_body: body kind %d is unknown; 0 is the request, 1 the response", kind)
	}
	stack[0] = uint64(abi.PackEOFLen(ended, uint32(n)))
}

func writeBody(i *instance, mem api.Memory, stack []uint64) {
	kind, body := uint32(stack[0]), guestMemory(mem, "body", uint32(stack[1]), uint32(stack[2]))
	switch kind {
	case abi.BodyRequest:
		i.needBeforeNext(abi.WriteBody)
		i.spendBytes(len(body))
		i.exchange.writeRequest(body)
	case abi.BodyResponse:
		i.needAnswer(abi.WriteBody)
		i.spendBytes(len(body))
		i.waitForClient(func() { i.exchange.writeResponse(body) })
	default:
		trap("write_body: body kind %d is unknown; 0 is the request, 1 the response", kind)
	}
}
