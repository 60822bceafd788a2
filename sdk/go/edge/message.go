package edge

import (
	"io"
	"strconv"

	"github.com/edge-server/edge/sdk/abi"
)

// Request is the request on its way in. It is valid until the handler returns.
type Request struct {
	body     Body // its zero value is the body of a request
	response Response
}

func (r *Request) clear() {
	*r = Request{}
}

// Method is "GET".
func (*Request) Method() string { return text(fetch(getMethod)) }

// SetMethod changes the method for the rest of the chain.
func (*Request) SetMethod(method string) { setMethod(method) }

// URI is path and query, percent-encoded: "/hi?name=panda".
func (*Request) URI() string { return text(fetch(getURI)) }

// SetURI changes path and query for the rest of the chain.
func (*Request) SetURI(uri string) { setURI(uri) }

// Proto is "HTTP/1.1", "HTTP/2.0" or "HTTP/3.0".
func (*Request) Proto() string { return text(fetch(getProtocolVersion)) }

// SourceAddr is the peer's address and port.
func (*Request) SourceAddr() string { return text(fetch(getSourceAddr)) }

// Header is the header of the request, Host included.
func (*Request) Header() Header { return Header{abi.HeaderRequest} }

// Trailer is the trailer of the request; the server has it once the body was read to its end.
func (*Request) Trailer() Header { return Header{abi.HeaderRequestTrailers} }

// Body is the body of the request.
func (r *Request) Body() *Body { return &r.body }

// Response is the answer of the plugin, for a handler that returns [Done], and its header also for one that returns [Next].
func (r *Request) Response() *Response {
	r.response.body.kind = abi.BodyResponse
	return &r.response
}

// Respond answers and returns [Done].
func (r *Request) Respond(status int, contentType, body string) Result {
	res := r.Response()
	res.SetStatus(status)
	res.Header().Set("Content-Type", contentType)
	res.Header().Set("Content-Length", strconv.Itoa(len(body)))
	writeBody(abi.BodyResponse, []byte(body))
	return Done
}

// Response is the answer on its way out. It is valid until the handler returns.
type Response struct {
	ctx    uint32
	failed bool
	body   Body
}

// answered makes r the response of the rest of the chain.
func (r *Response) answered(ctx uint32, failed bool) {
	*r = Response{ctx: ctx, failed: failed, body: Body{kind: abi.BodyResponse}}
}

// Request is the request that this answers, as the plugin left it. It cannot be changed any more.
func (*Response) Request() *Request { return &request }

// Ctx is the number that the request's handler gave to [NextWith].
func (r *Response) Ctx() uint32 { return r.ctx }

// Failed reports that there is no answer: a handler behind the plugin broke off. It is the last chance to clean up.
func (r *Response) Failed() bool { return r.failed }

// Status is the status code; in [HandleResponse] it needs [BufferResponse].
func (*Response) Status() int { return int(getStatusCode()) }

// SetStatus sets the status code; in [HandleResponse] it needs [BufferResponse].
func (*Response) SetStatus(code int) { setStatusCode(uint32(code)) }

// Header is the header of the response; changing it in [HandleResponse] needs [BufferResponse].
func (*Response) Header() Header { return Header{abi.HeaderResponse} }

// Trailer is the trailer of the response; changing it needs [Trailers].
func (*Response) Trailer() Header { return Header{abi.HeaderResponseTrailers} }

// Body is the body of the response; in [HandleResponse] it needs [BufferResponse].
func (r *Response) Body() *Body { return &r.body }

// Header is a set of header fields or trailers, kept by the server. The case of names does not matter.
type Header struct{ kind uint32 }

// Get returns the first value of name, "" without one.
func (h Header) Get(name string) string { return get(h.kind, name) }

// Has reports whether there is a value of name; it may be empty.
func (h Header) Has(name string) bool {
	return abi.CountLen(getHeaderValues(h.kind, name, nil)).Count() > 0
}

// Values returns all values of name.
func (h Header) Values(name string) []string { return split(h.list(name)) }

// Names returns all names, in lower case, sorted.
func (h Header) Names() []string {
	n := abi.CountLen(getHeaderNames(h.kind, scratch))
	if grow(n.Len()) {
		n = abi.CountLen(getHeaderNames(h.kind, scratch))
	}
	return split(scratch[:n.Len()])
}

// Set replaces all values of name.
func (h Header) Set(name, value string) { change(abi.DeskSet, h.kind, name, value) }

// Add appends a value.
func (h Header) Add(name, value string) { change(abi.DeskAdd, h.kind, name, value) }

// Del removes all values of name.
func (h Header) Del(name string) { change(abi.DeskRemove, h.kind, name, "") }

// list is the packed list of values, valid until the next call.
func (h Header) list(name string) []byte {
	n := abi.CountLen(getHeaderValues(h.kind, name, scratch))
	if grow(n.Len()) {
		n = abi.CountLen(getHeaderValues(h.kind, name, scratch))
	}
	return scratch[:n.Len()]
}

func split(list []byte) []string {
	var items []string
	abi.SplitList(list, func(item []byte) bool {
		items = append(items, text(item))
		return true
	})
	return items
}

// Body is a body as a stream: an io.Reader and an io.Writer.
type Body struct {
	kind  uint32
	ended bool
}

var (
	_ io.Reader       = (*Body)(nil)
	_ io.StringWriter = (*Body)(nil)
	_ io.Writer       = (*Body)(nil)
)

// Read reads on in the body.
func (b *Body) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := abi.EOFLen(readBody(b.kind, p))
	b.ended = n.EOF()
	if b.ended && n.Len() == 0 {
		return 0, io.EOF
	}
	return int(n.Len()), nil
}

// ReadAll reads what is left. The server bounds it by limits.body where it buffers; memory is bounded by limits.memory.
func (b *Body) ReadAll() []byte {
	all, _ := io.ReadAll(b) // Read has no errors besides the end
	return all
}

// Write replaces the body with the first call in a handler and appends with the next ones.
func (b *Body) Write(p []byte) (int, error) {
	writeBody(b.kind, p)
	return len(p), nil
}

// WriteString is Write for a string.
func (b *Body) WriteString(s string) (int, error) { return b.Write([]byte(s)) }
