//go:build !wasip1

package edge

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/edge-server/edge/sdk/abi"
)

// TestHost is a server in memory for tests of plugins; it exists only in native builds. It does what Edge does with a
// plugin that behaves. One request runs at a time, whatever the number of hosts: a plugin is not made for more.
type TestHost struct {
	// Config is what [Config] returns.
	Config []byte

	// Next is the rest of the chain; nil answers 200 with an empty body.
	Next http.Handler

	// HTTP answers the plugin's calls to elsewhere and, with the header X-Pool, to PHP; nil denies them.
	HTTP http.Handler

	// Logs are the lines that the plugin wrote, "level: message".
	Logs []string

	// Vars are the variables of the request.
	Vars map[string]string

	// Published are the messages to topics.
	Published []string

	features   uint32
	afterNext  bool
	r          *http.Request
	seen       []byte // of the request's body, with BufferRequest
	begun      bool   // this phase has written a response body
	written    []byte // request body of the plugin
	replaced   bool
	status     int
	header     http.Header
	body       []byte
	bodyOffset int
}

var (
	running sync.Mutex    // held while a request runs
	current = &TestHost{} // whose request runs, or whom features and logs of init belong to
	atInit  uint32        // features turned on in init
)

// Do takes a request through the registered handlers and returns the answer. The plugin's panics come through.
func (h *TestHost) Do(r *http.Request) *http.Response {
	running.Lock()
	defer running.Unlock()
	outside := current
	defer func() { current = outside }()
	current = h

	next := h.Next
	if next == nil {
		next = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	}
	*h = TestHost{Config: h.Config, Next: h.Next, HTTP: h.HTTP, Logs: h.Logs, Vars: h.Vars, Published: h.Published, features: atInit, r: r.Clone(r.Context()), header: http.Header{}}
	if result := h.request(); result.Passes() {
		h.passOn()
		next.ServeHTTP((*testWriter)(h), h.r)
		h.afterNext, h.begun = true, false
		h.response(result.ReqCtx())
	}
	if h.status == 0 {
		h.status = http.StatusOK
	}
	return &http.Response{
		StatusCode: h.status, Status: http.StatusText(h.status), Header: h.header, Request: h.r,
		Body: io.NopCloser(bytes.NewReader(h.body)), ContentLength: int64(len(h.body)),
	}
}

// request and response put a panic into Logs, as the server logs it.
func (*TestHost) request() abi.CtxNext {
	defer ExplainPanic(abi.HandleRequest)
	return abi.CtxNext(handleRequest())
}

func (*TestHost) response(ctx uint32) {
	defer ExplainPanic(abi.HandleResponse)
	handleResponse(ctx, 0)
}

// Run calls f while r is the request in progress, for the tests of routers and WebSocket handlers.
func (h *TestHost) Run(r *http.Request, f func()) {
	running.Lock()
	defer running.Unlock()
	outside := current
	defer func() { current = outside }()
	current = h
	h.features, h.r, h.header = atInit, r.Clone(r.Context()), http.Header{}
	f()
}

// passOn makes the body of the request what the plugin left.
func (h *TestHost) passOn() {
	switch {
	case h.replaced:
		h.r.Body = io.NopCloser(bytes.NewReader(h.written))
		h.r.ContentLength = int64(len(h.written))
	case h.r.Body != nil:
		h.r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(h.seen), h.r.Body))
	}
}

// testWriter is the ResponseWriter of the rest of the chain.
type testWriter TestHost

func (w *testWriter) Header() http.Header { return w.header }

func (w *testWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, p...)
	return len(p), nil
}

// mustRequest and mustAnswer refuse what Edge refuses.
func (h *TestHost) mustRequest(function string) {
	if h.afterNext {
		panic(function + ": the request has gone on and cannot be changed or read any more")
	}
}

func (h *TestHost) mustAnswer(function string) {
	if h.afterNext && h.features&abi.FeatureBufferResponse == 0 {
		panic(function + ": after the rest of the chain this needs edge.BufferResponse")
	}
}

func (h *TestHost) values(kind uint32) http.Header {
	switch kind {
	case abi.HeaderRequest:
		return h.r.Header
	case abi.HeaderResponse:
		return h.header
	}
	if kind == abi.HeaderRequestTrailers {
		if h.r.Trailer == nil {
			h.r.Trailer = http.Header{}
		}
		return h.r.Trailer
	}
	return h.header
}

// key is the name of a field in values(kind).
func key(kind uint32, name string) string {
	name = http.CanonicalHeaderKey(name)
	if kind == abi.HeaderResponseTrailers {
		return http.TrailerPrefix + name
	}
	return name
}

func (h *TestHost) change(function string, kind uint32, name string) (http.Header, string) {
	if kind == abi.HeaderRequest || kind == abi.HeaderRequestTrailers {
		h.mustRequest(function)
	} else {
		h.mustAnswer(function)
	}
	return h.values(kind), key(kind, name)
}

// The functions below stand in for the imports of the same names.

func enableFeatures(features uint32) uint32 {
	if current.r == nil {
		atInit |= features
		return atInit
	}
	current.features |= features
	return current.features
}

func give(buf []byte, s string) uint32 {
	if len(s) <= len(buf) {
		copy(buf, s)
	}
	return uint32(len(s))
}

func giveList(buf []byte, items []string) uint64 {
	var packed []byte
	for _, item := range items {
		packed = append(append(packed, item...), 0)
	}
	return uint64(abi.PackCountLen(uint32(len(items)), give(buf, string(packed))))
}

func getConfig(buf []byte) uint32 { return give(buf, string(current.Config)) }

func writeLog(level int32, message string) {
	name := map[int32]string{abi.LogDebug: "debug", abi.LogInfo: "info", abi.LogWarn: "warn", abi.LogError: "error"}[level]
	current.Logs = append(current.Logs, name+": "+message)
}

func logEnabled(int32) uint32 { return 1 }

func getMethod(buf []byte) uint32 { return give(buf, current.r.Method) }

func setMethod(method string) {
	current.mustRequest(abi.SetMethod)
	current.r.Method = method
}

func getURI(buf []byte) uint32 { return give(buf, current.r.URL.RequestURI()) }

func setURI(uri string) {
	current.mustRequest(abi.SetURI)
	if uri == "" {
		uri = "/"
	}
	u, err := current.r.URL.Parse(uri)
	if err != nil {
		panic(abi.SetURI + ": " + err.Error())
	}
	current.r.URL, current.r.RequestURI = u, uri
}

func getProtocolVersion(buf []byte) uint32 { return give(buf, current.r.Proto) }

func getSourceAddr(buf []byte) uint32 { return give(buf, current.r.RemoteAddr) }

func getHeaderNames(kind uint32, buf []byte) uint64 {
	var names []string
	if kind == abi.HeaderRequest && current.r.Host != "" {
		names = append(names, "host")
	}
	for name := range current.values(kind) {
		trailer, isTrailer := strings.CutPrefix(name, http.TrailerPrefix)
		if kind == abi.HeaderResponse && isTrailer || kind == abi.HeaderResponseTrailers && !isTrailer {
			continue
		}
		names = append(names, strings.ToLower(trailer))
	}
	slices.Sort(names)
	return giveList(buf, names)
}

func getHeaderValues(kind uint32, name string, buf []byte) uint64 {
	if kind == abi.HeaderRequest && strings.EqualFold(name, "host") {
		return giveList(buf, []string{current.r.Host})
	}
	return giveList(buf, current.values(kind)[key(kind, name)])
}

func setHeaderValue(kind uint32, name, value string) {
	header, key := current.change(abi.SetHeaderValue, kind, name)
	if kind == abi.HeaderRequest && key == "Host" {
		current.r.Host = value
		return
	}
	header[key] = []string{value}
}

func addHeaderValue(kind uint32, name, value string) {
	header, key := current.change(abi.AddHeaderValue, kind, name)
	header[key] = append(header[key], value)
}

func removeHeader(kind uint32, name string) {
	header, key := current.change(abi.RemoveHeader, kind, name)
	delete(header, key)
}

func readBody(kind uint32, buf []byte) uint64 {
	h := current
	if kind == abi.BodyResponse {
		h.mustAnswer(abi.ReadBody)
		n := copy(buf, h.body[h.bodyOffset:])
		h.bodyOffset += n
		return uint64(abi.PackEOFLen(h.bodyOffset == len(h.body), uint32(n)))
	}
	h.mustRequest(abi.ReadBody)
	if h.r.Body == nil {
		return uint64(abi.PackEOFLen(true, 0))
	}
	n, err := io.ReadFull(h.r.Body, buf)
	if h.features&abi.FeatureBufferRequest != 0 {
		h.seen = append(h.seen, buf[:n]...)
	}
	return uint64(abi.PackEOFLen(err != nil, uint32(n)))
}

func writeBody(kind uint32, body []byte) {
	h := current
	if kind == abi.BodyRequest {
		h.mustRequest(abi.WriteBody)
		h.written, h.replaced = append(h.written, body...), true
		return
	}
	h.mustAnswer(abi.WriteBody)
	if !h.begun {
		h.begun, h.body, h.bodyOffset = true, nil, 0
		h.header.Del("Content-Length")
	}
	h.body = append(h.body, body...)
}

func getStatusCode() uint32 {
	current.mustAnswer(abi.GetStatusCode)
	if current.status == 0 {
		return http.StatusOK
	}
	return uint32(current.status)
}

func setStatusCode(code uint32) {
	current.mustAnswer(abi.SetStatusCode)
	current.status = int(code)
}
