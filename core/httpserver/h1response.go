package httpserver

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// h1Response writes an answer. Status and headers are put into memory when the handler decides them; they leave with the first
// bytes of the body, in one write, and an answer that is short leaves whole, with its length, when the handler returns.
type h1Response struct {
	exchange *h1Exchange
	header   http.Header

	status   int  // 0 until the handler has decided
	framed   bool // the head is complete: everything about the body is decided
	length   int64
	written  int64 // of the body, by the handler
	trailers []string

	bodyless bool // the status or the method wants no body
	isHead   bool
	chunked  bool
	closing  bool // the connection ends behind this answer
	broken   bool // the connection is broken, or the answer is
	hijacked bool
	ended    atomic.Bool // the handler has returned; goroutines that it has left behind look here first

	fullDuplex                  bool
	readDeadline, writeDeadline bool // the handler has set one

	typed, encoded, dated bool // the handler's headers say so
	connection            []string

	out *h1Output
}

// h1Output is what of an answer waits in memory.
type h1Output struct {
	wire []byte // ready to be sent
	body []byte // of unknown length or type, before it is known whether that is all
	text []byte // what WriteString writes
}

const (
	// maxWire is how much waits to be sent together.
	maxWire = 16 << 10

	// maxUnmeasured is how much of a body without a length waits for its end.
	maxUnmeasured = 4 << 10

	unknownLength = -1
)

// outputs holds *h1Output.
var outputs = sync.Pool{New: func() any {
	return &h1Output{wire: make([]byte, 0, 4<<10), body: make([]byte, 0, 1<<10)}
}}

func (w *h1Response) begin(x *h1Exchange) {
	w.exchange = x
	w.header = make(http.Header)
	w.length = unknownLength
	w.isHead = x.request.Method == http.MethodHead
	w.closing = x.request.Close
}

// Header may be changed until the head is decided.
func (w *h1Response) Header() http.Header { return w.header }

// WriteHeader decides the head, or sends an informational answer before it.
func (w *h1Response) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic("http: WriteHeader with the invalid status " + strconv.Itoa(status))
	case w.ended.Load() || w.hijacked || w.status != 0:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.inform(status)
		return
	}
	w.exchange.stopAsking()
	w.status = status
	w.closing = w.closing || status == http.StatusSwitchingProtocols // a handler that speaks another protocol hijacks
	w.bodyless = status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
	w.obtain()
	w.out.wire = w.statusLine(w.out.wire, status)
	w.length = w.declaredLength()
	w.announceTrailers()
	w.appendHeaders()
}

// inform sends a 1xx answer at once. HTTP/1.0 has none.
func (w *h1Response) inform(status int) {
	if !w.exchange.request.ProtoAtLeast(1, 1) {
		return
	}
	if status == http.StatusContinue {
		w.exchange.stopAsking() // this is it
	}
	line := w.statusLine(nil, status)
	for _, name := range sortedNames(w.header, nil) {
		if name != "Content-Length" && name != "Transfer-Encoding" {
			line = appendField(line, name, w.header[name])
		}
	}
	w.send(append(line, "\r\n"...), nil)
}

func (w *h1Response) statusLine(to []byte, status int) []byte {
	if w.exchange.request.ProtoAtLeast(1, 1) {
		to = append(to, "HTTP/1.1 "...)
	} else {
		to = append(to, "HTTP/1.0 "...)
	}
	to = strconv.AppendInt(to, int64(status), 10)
	to = append(to, ' ')
	if text := http.StatusText(status); text != "" {
		to = append(to, text...)
	} else {
		to = append(to, "status code "...)
		to = strconv.AppendInt(to, int64(status), 10)
	}
	return append(to, "\r\n"...)
}

// declaredLength is the Content-Length that the handler has set.
func (w *h1Response) declaredLength() int64 {
	values := w.header["Content-Length"]
	if len(values) == 0 {
		return unknownLength
	}
	if length, ok := parseLength([]byte(values[0])); ok && len(values) == 1 {
		return int64(length)
	}
	delete(w.header, "Content-Length")
	return unknownLength
}

func (w *h1Response) announceTrailers() {
	for _, list := range w.header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if httpguts.ValidTrailerHeader(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
}

// appendHeaders writes all headers but those about the connection and the length of the body, which wait.
func (w *h1Response) appendHeaders() {
	var few [24]string
	wire := w.out.wire
	for _, name := range sortedNames(w.header, few[:0]) {
		values := w.header[name]
		switch name {
		case "Content-Length", "Transfer-Encoding":
			continue
		case "Connection":
			w.connection = values
			continue
		case "Date":
			w.dated = true
		case "Content-Type":
			w.typed = true
			if w.status == http.StatusNotModified {
				continue
			}
		case "Content-Encoding":
			w.encoded = len(values) > 0 && values[0] != ""
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) || slices.Contains(w.trailers, name) || oddlySpelt(name) {
				continue
			}
		}
		wire = appendField(wire, name, values)
	}
	w.out.wire = wire
}

// hasTrailers reports whether something is to be said behind the body, so that it must be chunked.
func (w *h1Response) hasTrailers() bool {
	if len(w.trailers) > 0 {
		return true
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// oddlySpelt finds headers about the connection and the length of the body that got past http.Header.Set: they are not the handler's
// to write.
func oddlySpelt(name string) bool {
	switch len(name) {
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

// sortedNames makes answers alike that have the same headers.
func sortedNames(h http.Header, names []string) []string {
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// appendField writes a header; line breaks in a value become spaces, so that a handler cannot write others by accident.
func appendField(to []byte, name string, values []string) []byte {
	if !httpguts.ValidHeaderFieldName(name) {
		return to
	}
	for _, value := range values {
		to = append(append(to, name...), ": "...)
		value = strings.Trim(value, " \t\r\n")
		from := len(to)
		to = append(to, value...)
		if strings.ContainsAny(value, "\r\n") {
			for i, c := range to[from:] {
				if c == '\r' || c == '\n' {
					to[from+i] = ' '
				}
			}
		}
		to = append(to, "\r\n"...)
	}
	return to
}

// frame completes the head. body is the beginning of the body; with whole it is all of it.
func (w *h1Response) frame(body []byte, whole bool) {
	w.framed = true
	x := w.exchange
	if !w.fullDuplex && !x.body.discard() {
		w.closing = true
	}
	wire := w.out.wire
	http11 := x.request.ProtoAtLeast(1, 1)
	if !w.typed && !w.bodyless && !w.encoded && len(body) > 0 {
		wire = append(append(append(wire, "Content-Type: "...), http.DetectContentType(body)...), "\r\n"...)
	}
	if whole && w.length == unknownLength && !w.hasTrailers() && !w.bodyless && (!w.isHead || len(body) > 0) {
		w.length = int64(len(body))
	}
	switch {
	case w.bodyless:
	case w.length != unknownLength:
		wire = strconv.AppendInt(append(wire, "Content-Length: "...), w.length, 10)
		wire = append(wire, "\r\n"...)
	case w.isHead:
	case http11:
		w.chunked = true
		wire = append(wire, "Transfer-Encoding: chunked\r\n"...)
	default:
		w.closing = true // the end of the connection ends the body
	}
	wire = w.appendConnection(wire, http11)
	if !w.dated {
		wire = append(wire, *x.conn.endpoint.date.Load()...)
	}
	w.out.wire = append(wire, "\r\n"...)
}

// appendConnection says what becomes of the connection.
func (w *h1Response) appendConnection(wire []byte, http11 bool) []byte {
	said := httpguts.HeaderValuesContainsToken(w.connection, "close")
	if said || w.exchange.conn.endpoint.closes() {
		w.closing = true
	}
	switch {
	case w.status == http.StatusSwitchingProtocols:
	case w.closing && (http11 || said):
		return append(wire, "Connection: close\r\n"...)
	case w.closing:
		return wire
	case !http11:
		return append(wire, "Connection: keep-alive\r\n"...)
	}
	return appendField(wire, "Connection", w.connection)
}

// Write writes a part of the body.
func (w *h1Response) Write(p []byte) (int, error) {
	if err := w.mayWrite(len(p)); err != nil {
		return 0, err
	}
	if err := w.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString is Write.
func (w *h1Response) WriteString(s string) (int, error) {
	if err := w.mayWrite(len(s)); err != nil {
		return 0, err
	}
	w.out.text = append(w.out.text[:0], s...)
	if err := w.write(w.out.text); err != nil {
		return 0, err
	}
	return len(s), nil
}

// errEnded is for goroutines that a handler has left behind.
var errEnded = errors.New("the handler of this request has returned")

func (w *h1Response) mayWrite(n int) error {
	switch {
	case w.ended.Load():
		return errEnded
	case w.hijacked:
		return http.ErrHijacked
	case w.status == 0:
		w.WriteHeader(http.StatusOK)
	}
	w.obtain()
	switch {
	case n == 0:
		return nil
	case w.bodyless:
		return http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	if w.length != unknownLength && w.written > w.length {
		return http.ErrContentLength
	}
	return nil
}

func (w *h1Response) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if !w.framed {
		if w.length == unknownLength || !w.typed && !w.encoded {
			if len(w.out.body)+len(p) <= maxUnmeasured {
				w.out.body = append(w.out.body, p...)
				return nil
			}
			w.frameBuffered(p)
		} else {
			w.frame(p, false)
		}
	}
	switch {
	case w.isHead:
		return nil
	case w.chunked:
		return w.chunk(p)
	case len(w.out.wire)+len(p) <= maxWire:
		w.out.wire = append(w.out.wire, p...)
		return nil
	}
	return w.flush(p)
}

// frameBuffered completes the head of a body without a length when there is more of it than fits in memory.
func (w *h1Response) frameBuffered(p []byte) {
	first := w.out.body
	if len(first) == 0 {
		first = p
	}
	w.frame(first, false)
	w.moveBody()
}

// moveBody puts what waits of the body behind the head, if no chunk will.
func (w *h1Response) moveBody() {
	if w.chunked {
		return
	}
	if !w.isHead {
		w.out.wire = append(w.out.wire, w.out.body...)
	}
	w.out.body = w.out.body[:0]
}

// chunk writes what waits of the body and p as one chunk.
func (w *h1Response) chunk(p []byte) error {
	out := w.out
	n := len(out.body) + len(p)
	if n == 0 {
		return nil
	}
	out.wire = strconv.AppendInt(out.wire, int64(n), 16)
	out.wire = append(append(out.wire, "\r\n"...), out.body...)
	out.body = out.body[:0]
	if len(out.wire)+len(p) > maxWire {
		if err := w.flush(p); err != nil {
			return err
		}
		p = nil
	}
	out.wire = append(append(out.wire, p...), "\r\n"...)
	return nil
}

// flush sends what waits, and p.
func (w *h1Response) flush(p []byte) error {
	err := w.send(w.out.wire, p)
	w.out.wire = w.out.wire[:0]
	return err
}

// send writes to the connection.
func (w *h1Response) send(first, second []byte) error {
	if w.broken {
		return net.ErrClosed
	}
	err := w.exchange.conn.write(first, second)
	if err != nil {
		w.broken = true
		w.exchange.cancel()
	}
	return err
}

// FlushError sends what there is.
func (w *h1Response) FlushError() error {
	if err := w.mayWrite(0); err != nil {
		return err
	}
	if !w.framed {
		w.frame(w.out.body, false)
	}
	w.moveBody()
	if w.chunked {
		if err := w.chunk(nil); err != nil {
			return err
		}
	}
	var err error
	if len(w.out.wire) > 0 {
		err = w.flush(nil)
	}
	if w.chunked { // a stream, which may be silent for long now
		w.giveBack()
	}
	return err
}

// Flush is FlushError for handlers that look for an http.Flusher.
func (w *h1Response) Flush() { w.FlushError() }

// inKernel is a piece of a body that lies in a pipe of this process, and need not be copied to be sent. It can be read as well.
type inKernel interface {
	io.Reader
	Len() int64 // how much is left

	// Splice moves what fits into the socket, without waiting.
	Splice(socket uintptr) (int64, error)
}

// ReadFrom lets the kernel copy files, and move what is in its memory, into bodies whose length is known.
func (w *h1Response) ReadFrom(src io.Reader) (int64, error) {
	if w.ended.Load() {
		return 0, errEnded
	}
	if w.status != 0 || w.header["Content-Length"] != nil {
		if err := w.mayWrite(0); err != nil {
			return 0, err
		}
	}
	fast := w.length != unknownLength && !w.bodyless && !w.isHead && w.exchange.conn.plain
	if piece, ok := src.(inKernel); ok && fast && runtime.GOOS == "linux" && w.written+piece.Len() <= w.length {
		return w.splice(piece)
	}
	if !fast || !w.typed || fileOf(src) == nil {
		buf := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(buf)
		return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{src}, *buf)
	}
	if !w.framed {
		w.frame(nil, false)
	}
	if err := w.flush(nil); err != nil {
		return 0, err
	}
	left := &io.LimitedReader{R: fileOf(src), N: w.length - w.written}
	if limited, ok := src.(*io.LimitedReader); ok {
		left.N = min(left.N, limited.N)
		defer func(before int64) { limited.N -= w.written - before }(w.written)
	}
	n, err := w.exchange.conn.stall.ReadFrom(left)
	w.written += n
	if err != nil {
		w.broken = true
	}
	return n, err
}

// splice sends what waits and then a piece that is in the kernel.
func (w *h1Response) splice(piece inKernel) (int64, error) {
	if w.broken {
		return 0, net.ErrClosed
	}
	if !w.framed {
		w.frame(w.out.body, false)
		w.moveBody()
	}
	n, err := w.exchange.conn.stall.splice(w.out.wire, piece)
	w.out.wire = w.out.wire[:0]
	w.written += n
	if err != nil {
		w.broken = true
		w.exchange.cancel()
	}
	return n, err
}

// finish sends what is left of the answer, once the handler has returned, and reports whether the connection can be used again.
func (w *h1Response) finish() (again bool) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.obtain()
	if !w.framed {
		w.frame(w.out.body, true)
		w.moveBody()
	}
	if w.chunked {
		if w.chunk(nil) != nil {
			return false
		}
		w.appendTrailers()
	}
	if len(w.out.wire) > 0 && w.flush(nil) != nil {
		return false
	}
	w.release()
	if w.length != unknownLength && w.written != w.length && !w.isHead && !w.bodyless {
		w.broken = true // the client waits for more than it got
	}
	return !w.closing && !w.broken
}

func (w *h1Response) appendTrailers() {
	wire := append(w.out.wire, "0\r\n"...)
	for _, name := range w.trailers {
		wire = appendField(wire, name, w.header[name])
	}
	for _, name := range sortedNames(w.header, nil) {
		if trailer, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			wire = appendField(wire, trailer, w.header[name])
		}
	}
	w.out.wire = append(wire, "\r\n"...)
}

// drop forgets what was not sent: the connection is about to be closed.
func (w *h1Response) drop() {
	w.broken = true
	w.release()
}

func (w *h1Response) release() {
	w.ended.Store(true)
	w.giveBack()
}

// obtain is giveBack undone.
func (w *h1Response) obtain() {
	if w.out == nil {
		w.out = outputs.Get().(*h1Output)
	}
}

// giveBack lets others have the memory in which nothing waits.
func (w *h1Response) giveBack() {
	if w.out == nil {
		return
	}
	if max(cap(w.out.wire), cap(w.out.text)) <= 2*maxWire {
		w.out.wire, w.out.body = w.out.wire[:0], w.out.body[:0]
		outputs.Put(w.out)
	}
	w.out = nil
}

// Hijack hands the connection to the handler.
func (w *h1Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if w.status != 0 {
		if err := w.FlushError(); err != nil {
			return nil, nil, err
		}
	}
	conn, rw, err := w.exchange.conn.hijack(w.exchange)
	if err != nil {
		return nil, nil, err
	}
	w.hijacked = true
	w.release()
	return conn, rw, nil
}

// SetReadDeadline is for http.ResponseController.
func (w *h1Response) SetReadDeadline(t time.Time) error {
	w.readDeadline = true
	return w.exchange.conn.conn.SetReadDeadline(t)
}

// SetWriteDeadline is for http.ResponseController.
func (w *h1Response) SetWriteDeadline(t time.Time) error {
	w.writeDeadline = true
	return w.exchange.conn.conn.SetWriteDeadline(t)
}

// EnableFullDuplex lets a handler read the body while it writes the answer.
func (w *h1Response) EnableFullDuplex() error {
	w.fullDuplex = true
	return nil
}
