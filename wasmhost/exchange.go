package wasmhost

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"

	"github.com/edge-server/edge/internal/origin"
	"github.com/edge-server/edge/sdk/abi"
)

// phase says where a request is in its way through a guest; host functions differ by it.
type phase uint8

const (
	phaseIdle     phase = iota
	phaseStart          // the module's start functions run; there is no request
	phaseRequest        // in handle_request
	phaseParked         // the rest of the chain has the request
	phaseResponse       // in handle_response
	phaseRoute          // in route
	phaseTick           // in tick
	phaseKV             // in one of kv_*
	phaseWS             // in ws_message
	phaseWSOpen         // in ws_open, which has a request
	phaseWSClose        // in ws_close
)

// exchange is one request and its answer as an instance sees them. It lives in the instance and is reset for each request.
type exchange struct {
	phase    phase
	features uint32
	gen      *generation

	w http.ResponseWriter // where the answer goes that is not held back
	r *http.Request

	came *http.Request // r as it came, but for the header
	kept http.Header   // of came before the guest changed it, with on_error: open; nil if it did not

	method string // of the request as the client sent it

	// owned is set once r is a copy of this exchange: what the guest changes besides headers is not to be seen by
	// handlers outside of it.
	owned bool

	// status and answerBegun belong to the answer of the guest: the first write_body of a phase replaces the body.
	status      int
	answerBegun bool
	wrote       int64 // of an answer that is not held back

	// held is the answer while buffer_response holds it back, nil without.
	held *heldResponse

	varsSet bool // the guest has set a variable

	// changed counts what the guest has put into headers, method and URI.
	changed int
	undo    []headerValues // how the header of an answer that is not held back was, to be put back if the guest fails

	body requestBody
	host [1]string // value of the Host "header", without an allocation
}

// maxChanges bounds what one request may make the host keep in headers, method and URI: bytes, and headerCost for each change.
const (
	maxChanges = 256 << 10
	headerCost = 64
)

// headerValues is a header and what it was.
type headerValues struct {
	name   string
	values []string
}

// requestBody is what the guest did with the request's body.
type requestBody struct {
	seen     []byte // read with buffer_request: the rest of the chain reads it again
	consumed int64  // read without it: gone
	ended    bool   // the original was read to its end
	replaced bool   // by written
	written  []byte
}

func (x *exchange) begin(w http.ResponseWriter, r *http.Request, features uint32, gen *generation) {
	x.w, x.r, x.came, x.gen, x.method = w, r, r, gen, r.Method // end has cleared the rest
	x.enable(features)
}

// enable turns features on for this request. An answer of which a part is on its way is not held back any more.
func (x *exchange) enable(features uint32) {
	if x.sent() {
		features &^= abi.FeatureBufferResponse
	}
	x.features |= features & supportedFeatures
	if x.features&abi.FeatureBufferResponse != 0 && x.held == nil {
		x.held = newHeldResponse(x.w, int(x.gen.limits.Body))
		x.held.status = x.status
	}
}

// writer is the ResponseWriter for the rest of the chain: the original one unless the answer is held back.
func (x *exchange) writer() http.ResponseWriter {
	if x.held != nil {
		return x.held
	}
	return x.w
}

// responseHeader is what the guest sees as the header of the answer.
func (x *exchange) responseHeader() http.Header { return x.writer().Header() }

// spend counts n bytes that the guest makes the host keep.
func (x *exchange) spend(function string, n int) {
	if x.changed == 0 && x.gen.opens {
		x.kept = x.came.Header.Clone()
	}
	if x.changed += n + headerCost; x.changed > maxChanges {
		trap("%s: the guest's changes of headers, method and URI take more than the %d bytes that a request may have", function, maxChanges)
	}
}

// remember notes what a header of the answer is before the guest changes it. An answer that is held back needs no notes, as
// it is thrown away whole.
func (x *exchange) remember(header http.Header, name string) {
	if x.held == nil {
		x.undo = append(x.undo, headerValues{name, header[name]})
	}
}

// takeBack makes the header of the answer what it was before the guest came.
func (x *exchange) takeBack() {
	header := x.w.Header()
	for _, was := range slices.Backward(x.undo) {
		if was.values == nil {
			delete(header, was.name)
		} else {
			header[was.name] = was.values
		}
	}
}

// original is the request as it came, for a chain that goes on without the guest; nil if that cannot be had any more.
func (x *exchange) original() *http.Request {
	if x.body.consumed > 0 || x.sent() {
		return nil
	}
	r := *x.came
	if x.kept != nil {
		clear(r.Header) // the same map as of handlers further out
		maps.Copy(r.Header, x.kept)
	}
	if len(x.body.seen) > 0 {
		r.Body = &replayBody{seen: x.body.seen, rest: r.Body, Closer: r.Body}
	}
	return &r
}

// own makes r a copy that the guest may change. The header map stays shared: it is the one thing that plugins change often,
// and handlers further out rarely mind.
func (x *exchange) own() *http.Request {
	if !x.owned {
		r := *x.r
		x.r, x.owned = &r, true
	}
	return x.r
}

// errBodyTooLarge ends a request whose body does not fit into limits.body, with 413.
type errBodyTooLarge struct{ limit int64 }

func (e errBodyTooLarge) Error() string {
	return fmt.Sprintf("the request body is larger than the %d bytes that limits.body lets the host keep for the guest", e.limit)
}

// errClientBody is a request body that could not be read to its end: the client's doing, not the guest's.
type errClientBody struct{ cause error }

func (e errClientBody) Error() string { return "read request body: " + e.cause.Error() }
func (e errClientBody) Unwrap() error { return e.cause }

// readRequest fills buf from the request's body, blocking until it is full or the body ends.
func (x *exchange) readRequest(buf []byte) (n int, ended bool) {
	b := &x.body
	if b.ended || x.r.Body == nil {
		return 0, true
	}
	n, b.ended = readFull(x.r.Body, buf)
	if x.features&abi.FeatureBufferRequest == 0 {
		b.consumed += int64(n)
		return n, b.ended
	}
	if limit := int64(x.gen.limits.Body); int64(len(b.seen)+n) > limit {
		panic(errBodyTooLarge{limit})
	}
	b.seen = append(b.seen, buf[:n]...)
	return n, b.ended
}

// readFull reads until buf is full or the body ends. Unlike io.ReadFull it tells a body that broke off (ErrUnexpectedEOF)
// from one that ended.
func readFull(body io.Reader, buf []byte) (n int, ended bool) {
	for n < len(buf) {
		m, err := body.Read(buf[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, true
		}
		if err != nil {
			panic(errClientBody{err})
		}
	}
	return n, false
}

// replayBody is a body whose beginning was read already. Closing it closes the original.
type replayBody struct {
	seen []byte
	rest io.Reader // after seen; nil when that was all
	io.Closer
}

func (b *replayBody) Read(p []byte) (int, error) {
	if len(b.seen) > 0 {
		n := copy(p, b.seen)
		b.seen = b.seen[n:]
		return n, nil
	}
	if b.rest == nil {
		return 0, io.EOF
	}
	return b.rest.Read(p)
}

// writeRequest replaces the request's body, or appends to what replaced it.
func (x *exchange) writeRequest(p []byte) {
	b := &x.body
	b.replaced = true
	if limit := int(x.gen.limits.Body); len(b.written)+len(p) > limit {
		trap("write_body: the request body grows beyond limits.body (%d bytes)", limit)
	}
	b.written = append(b.written, p...)
}

// writeResponse writes a piece of the answer of the guest.
func (x *exchange) writeResponse(p []byte) {
	first := !x.answerBegun
	x.answerBegun = true
	if x.held != nil {
		if !x.held.guestWrite(p, first) {
			trap("write_body: the response body grows beyond limits.body (%d bytes)", x.held.limit)
		}
		return
	}
	if first && x.status != 0 {
		origin.Mark(x.w) // the guest's own
		x.w.WriteHeader(x.status)
	}
	// An error means that the client is gone, or that this status has no body: nothing the guest could do about it.
	_, _ = x.w.Write(p)
	x.wrote += int64(len(p))
}

// setStatus remembers the status; it goes out with the first byte of the body or at the end.
func (x *exchange) setStatus(code int) {
	if x.held != nil {
		x.held.status = code
		return
	}
	x.status = code
}

// onward gives the request to the rest of the chain the way the guest left it.
func (x *exchange) onward() (http.ResponseWriter, *http.Request) {
	if b := &x.body; b.replaced || len(b.seen) > 0 || b.consumed > 0 {
		x.replaceBody()
	}
	if x.held != nil {
		delete(x.held.header, "Content-Length") // the guest's: what is there when the chain returns is the handler's
		if !x.answerBegun {
			x.held.status = 0 // likewise
		}
	}
	if x.held != nil && !x.needsResponse() { // nobody will look at what would be held back
		x.held.letGo()
		x.held = nil
	}
	if x.owned && x.held == nil && x.r.Method == http.MethodHead && x.method != http.MethodHead {
		return &unmeasured{x.w}, x.r
	}
	return x.writer(), x.r
}

// unmeasured is where a handler answers a HEAD that was no HEAD when it came: the Content-Length of such an answer is that of a
// body which the client would wait for in vain.
type unmeasured struct{ http.ResponseWriter }

// Unwrap lets http.ResponseController reach the rest.
func (w *unmeasured) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the status and the header.
func (w *unmeasured) WriteHeader(status int) {
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a body that the handler gives nevertheless.
func (w *unmeasured) Write(p []byte) (int, error) {
	w.Header().Del("Content-Length") // of no effect but for the first one
	return w.ResponseWriter.Write(p)
}

// Flush sends what is there.
func (w *unmeasured) Flush() {
	w.Header().Del("Content-Length")
	_ = http.NewResponseController(w.ResponseWriter).Flush() // who cannot has nothing to send
}

// Hijack hands the connection over.
func (w *unmeasured) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// needsResponse reports whether handle_response is due once the rest of the chain has answered. It is also when the guest
// has written a piece of an answer that is held back: that is put together with the rest then.
func (x *exchange) needsResponse() bool {
	return x.gen.responds || x.held != nil && x.answerBegun
}

func (x *exchange) replaceBody() {
	b, original := &x.body, x.r.Body
	if original == nil {
		original = http.NoBody
	}
	r := x.own()
	switch {
	case b.replaced:
		r.Body = &replayBody{seen: b.written, Closer: original}
		r.ContentLength = int64(len(b.written))
		r.TransferEncoding = nil
		r.Header["Content-Length"] = []string{strconv.Itoa(len(b.written))}
		return
	case len(b.seen) > 0:
		r.Body = &replayBody{seen: b.seen, rest: original, Closer: original}
	}
	if b.consumed > 0 && r.ContentLength > 0 {
		r.ContentLength = max(r.ContentLength-b.consumed, 0)
		r.Header["Content-Length"] = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
}

// answer is what of an exchange is still to be sent. It outlives the exchange: the instance is given back before, so that a
// slow client does not keep it.
type answer struct {
	w      http.ResponseWriter
	held   *heldResponse
	method string
	status int // 0: nothing to do
}

func (x *exchange) answer() answer {
	a := answer{w: x.w, held: x.held, method: x.method}
	if x.held != nil && x.r.Method == http.MethodHead && x.method != http.MethodHead {
		x.held.rewrote = true // the rest of the chain answered a HEAD: its Content-Length is that of a body that is not there
	}
	if !x.answerBegun {
		a.status = x.status
	}
	return a
}

func (a answer) send() {
	switch {
	case a.held != nil:
		a.held.release(a.method)
	case a.status != 0:
		origin.Mark(a.w)
		a.w.WriteHeader(a.status)
	}
}

// sent reports whether a part of the guest's answer is on its way, so that no other can take its place.
func (x *exchange) sent() bool { return x.held == nil && x.answerBegun }
