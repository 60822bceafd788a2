package httpserver

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// headReader reads the head of a request line by line, as it comes. It takes what RFC 9112 wants senders to send and refuses
// what two readers can read in two ways: bare line feeds, folded lines, spaces before colons, more than one statement about
// the length of the body.
type headReader struct {
	at     int // where the line under way begins, from the start of the head
	method span
	target span
	fields []field
	line   bool // the request line was read

	minor      byte // of the version, '0' to '9'
	host       int  // how many Host fields
	haveLength bool
	haveCoding bool
	coded      bool // the body is chunked
	otherCode  bool // Transfer-Encoding says something else
	length     uint64
}

// span is a piece of the head.
type span struct{ from, to int }

// field is a header line.
type field struct{ name, value span }

func (h *headReader) reset() { *h = headReader{fields: h.fields[:0]} }

// headError is why a request was refused.
type headError struct {
	why    refusal
	status int
	reason string
}

func refused(why refusal, reason string) *headError {
	return &headError{why, http.StatusBadRequest, reason}
}

// maxFramingLine bounds the lines that say where a body ends: nobody needs more, and another reader may cut them off.
const maxFramingLine = 512

// maxKeptFields is how much memory for fields a connection keeps between requests.
const maxKeptFields = 64

// readRequest reads the next request. Both results are nil when there is none.
func (c *h1Conn) readRequest() (*h1Exchange, *headError) {
	h := &c.head
	if cap(h.fields) > maxKeptFields {
		h.fields = nil
	}
	h.reset()
	if c.start < c.end {
		c.setPhase(phaseHead) // sent ahead
	}
	for {
		done, why := h.read(c.in[c.start:c.end])
		switch {
		case why != nil && why.why == refusedPreface && c.mayBecomeHTTP2():
			return nil, c.becomeHTTP2()
		case why != nil:
			return nil, why
		case done && h.at <= int(c.endpoint.server.cfg.Limits.Header):
			return c.begin()
		}
		if done || !c.makeRoom() {
			return nil, &headError{refusedHeadSize, http.StatusRequestHeaderFieldsTooLarge, "the head of the request is larger than http.limits.header"}
		}
		began := c.start < c.end
		if err := c.fill(); err != nil {
			if began && errors.Is(err, os.ErrDeadlineExceeded) {
				c.endpoint.refuse(refusedSlowHead)
			}
			return nil, nil
		}
		if !began {
			c.unexpire(c.setPhase(phaseHead)) // it was about to be closed when the request came
		}
	}
}

// makeRoom lets the buffer take more of a head, up to the limit.
func (c *h1Conn) makeRoom() bool {
	size := c.end - c.start
	switch limit := int(c.endpoint.server.cfg.Limits.Header); {
	case size >= limit:
		return false
	case size == 0:
		c.start, c.end = 0, 0
	case c.end < len(c.in):
	case c.start > 0:
		c.end = copy(c.in, c.in[c.start:c.end])
		c.start = 0
	default:
		larger := make([]byte, min(2*len(c.in), max(limit, firstInput)))
		copy(larger, c.in)
		inputs.put(c.in)
		c.in = larger
	}
	return true
}

// read reads on in head, which begins where it did before and has grown. It reports whether it has seen the empty line at
// the end.
func (h *headReader) read(head []byte) (bool, *headError) {
	for {
		i := bytes.IndexByte(head[h.at:], '\n')
		if i < 0 {
			return false, nil
		}
		from, to := h.at, h.at+i
		h.at = to + 1
		if to == from || head[to-1] != '\r' {
			return false, refused(refusedBareLF, "a line does not end in CR LF")
		}
		to--
		var why *headError
		switch {
		case !h.line:
			why = h.requestLine(head, from, to)
		case from == to:
			return true, h.check()
		default:
			why = h.fieldLine(head, from, to)
		}
		if why != nil {
			return false, why
		}
	}
}

// requestLine reads METHOD TARGET HTTP/1.x.
func (h *headReader) requestLine(head []byte, from, to int) *headError {
	line := head[from:to]
	sp1 := bytes.IndexByte(line, ' ')
	sp2 := bytes.LastIndexByte(line, ' ')
	if sp1 <= 0 || sp2 == sp1 || sp2 == sp1+1 || bytes.IndexByte(line[sp1+1:sp2], ' ') >= 0 {
		return refused(refusedLine, "the request line is not METHOD TARGET HTTP/1.1")
	}
	for _, c := range line[:sp1] {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return refused(refusedMethod, "the method has characters other than A to Z, - and _")
		}
	}
	if string(line[:sp1]) == "PRI" {
		return refused(refusedPreface, "this is not the preface of HTTP/2, or HTTP/2 is not spoken here")
	}
	version := line[sp2+1:]
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' || !isDigit(version[5]) || !isDigit(version[7]) {
		return refused(refusedLine, "the request line does not end in HTTP/1.1")
	}
	if version[5] != '1' {
		return &headError{refusedVersion, http.StatusHTTPVersionNotSupported, "this connection speaks HTTP/1"}
	}
	for _, c := range line[sp1+1 : sp2] {
		if c < ' ' || c == 0x7f {
			return refused(refusedTarget, "the request target has control characters")
		}
	}
	h.line, h.minor = true, version[7]
	h.method = span{from, from + sp1}
	h.target = span{from + sp1 + 1, from + sp2}
	return nil
}

// fieldLine reads NAME: VALUE.
func (h *headReader) fieldLine(head []byte, from, to int) *headError {
	line := head[from:to]
	if line[0] == ' ' || line[0] == '\t' {
		return refused(refusedFold, "a header line begins with a space")
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return refused(refusedField, "a header line has no name")
	}
	for _, c := range line[:colon] {
		if !tokenByte[c] {
			return refused(refusedField, "a header name has characters that names do not have")
		}
	}
	value := line[colon+1:]
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return refused(refusedField, "a header value has control characters")
		}
	}
	first := 0
	for first < len(value) && (value[first] == ' ' || value[first] == '\t') {
		first++
	}
	value = trimRight(value[first:])
	at := from + colon + 1 + first
	h.fields = append(h.fields, field{span{from, from + colon}, span{at, at + len(value)}})

	switch name := line[:colon]; {
	case len(name) == 4 && equalFold(name, "host"):
		h.host++
	case len(name) == 14 && equalFold(name, "content-length"):
		return h.contentLength(value, line)
	case len(name) == 17 && equalFold(name, "transfer-encoding"):
		return h.transferEncoding(value, line)
	}
	return nil
}

func (h *headReader) contentLength(value, line []byte) *headError {
	switch {
	case h.haveLength:
		return refused(refusedTwoLengths, "there is more than one Content-Length")
	case h.haveCoding:
		return refused(refusedTwoFramings, "there are both Content-Length and Transfer-Encoding")
	case oddFramingLine(line):
		return refused(refusedFramingLine, "Content-Length is too long, or has a tab")
	}
	h.haveLength = true
	length, ok := parseLength(value)
	if !ok {
		return refused(refusedLength, "Content-Length is no number")
	}
	h.length = length
	return nil
}

func (h *headReader) transferEncoding(value, line []byte) *headError {
	switch {
	case h.minor == '0':
		return refused(refusedEncoding10, "HTTP/1.0 has no Transfer-Encoding")
	case h.haveLength:
		return refused(refusedTwoFramings, "there are both Content-Length and Transfer-Encoding")
	case h.haveCoding:
		return refused(refusedTwoEncodings, "there is more than one Transfer-Encoding")
	case oddFramingLine(line):
		return refused(refusedFramingLine, "Transfer-Encoding is too long, or has a tab")
	}
	h.haveCoding = true
	h.coded = equalFold(value, "chunked")
	h.otherCode = !h.coded
	return nil
}

// oddFramingLine finds what other readers may cut off, or take for a part of the value.
func oddFramingLine(line []byte) bool {
	return len(line) > maxFramingLine || bytes.IndexByte(line, '\t') >= 0
}

// check judges the head as a whole.
func (h *headReader) check() *headError {
	switch {
	case h.otherCode:
		return &headError{refusedCoding, http.StatusNotImplemented, "Transfer-Encoding can only be chunked"}
	case h.host > 1:
		return refused(refusedHost, "there is more than one Host")
	case h.host == 0 && h.minor != '0':
		return refused(refusedHost, "there is no Host")
	}
	return nil
}

// begin makes the request of a head that is complete.
func (c *h1Conn) begin() (*h1Exchange, *headError) {
	h := &c.head
	text := string(c.in[c.start : c.start+h.at])
	c.start += h.at
	c.served = true

	x := &h1Exchange{conn: c}
	template := http.Request{
		Method: methodOf(text[h.method.from:h.method.to]), RequestURI: text[h.target.from:h.target.to],
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: int(h.minor - '0'),
		RemoteAddr: c.remote, TLS: c.tls, Body: http.NoBody,
	}
	if h.minor != '1' {
		template.Proto = "HTTP/1." + string(rune(h.minor))
	}
	if why := x.target(&template); why != nil {
		return nil, why
	}
	x.own = *template.WithContext(x) // which is inlined, so that the copy costs no memory
	x.request = &x.own
	if why := x.fields(h, text); why != nil {
		return nil, why
	}
	x.framing(h)
	x.response.begin(x)
	if why := x.expectation(); why != nil {
		return nil, why
	}
	if h.coded || h.length > 0 {
		x.request.Body = &x.body
		c.unexpire(c.setPhase(phaseBusy))
	} else {
		c.unexpire(c.setPhase(phaseHandler))
	}
	return x, nil
}

// target sets the URL.
func (x *h1Exchange) target(r *http.Request) *headError {
	r.URL = &x.url
	if plainTarget(r.RequestURI, &x.url) {
		return nil
	}
	target := r.RequestURI
	if r.Method == http.MethodConnect && !strings.HasPrefix(target, "/") {
		target = "http://" + target // what CONNECT has is no URL; it is refused later, by name
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return refused(refusedTarget, "the request target is not a path or a URL")
	}
	r.URL = u
	return nil
}

// plainTarget sets u to a target that needs no decoding, as nearly all are.
func plainTarget(target string, u *url.URL) bool {
	if target[0] != '/' {
		return false
	}
	for i := 1; i < len(target); i++ {
		c := target[i]
		if c == '?' {
			u.Path, u.RawQuery = target[:i], target[i+1:]
			u.ForceQuery = u.RawQuery == ""
			return true
		}
		if !plainPathByte[c] {
			return false
		}
	}
	u.Path = target
	return true
}

// fields sets the header, and what of it has places of its own in a request.
func (x *h1Exchange) fields(h *headReader, text string) *headError {
	r := x.request
	header := make(http.Header, len(h.fields))
	values := x.values[:]
	if len(h.fields) > len(values) {
		values = make([]string, len(h.fields))
	}
	for i, f := range h.fields {
		name, value := http.CanonicalHeaderKey(text[f.name.from:f.name.to]), text[f.value.from:f.value.to]
		if name == "Host" {
			r.Host = value
			continue
		}
		if name == "Transfer-Encoding" {
			continue // it is in Request.TransferEncoding
		}
		if before, again := header[name]; again {
			header[name] = append(before, value)
			continue
		}
		values[i] = value
		header[name] = values[i : i+1 : i+1]
	}
	r.Header = header
	if r.Host != "" && !validHost(r.Host) { // whether there must be one, judge knows
		return refused(refusedHost, "Host is not a host, nor host:port")
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host
	}
	if pragma := header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && header["Cache-Control"] == nil {
		header["Cache-Control"] = []string{"no-cache"} // RFC 9111, 5.4
	}
	connection := header["Connection"]
	switch {
	case h.minor == '0':
		r.Close = !httpguts.HeaderValuesContainsToken(connection, "keep-alive")
	case len(connection) > 0:
		r.Close = httpguts.HeaderValuesContainsToken(connection, "close")
	}
	if h.coded {
		return x.announcedTrailers()
	}
	return nil
}

// announcedTrailers notes the names that the Trailer header has.
func (x *h1Exchange) announcedTrailers() *headError {
	r := x.request
	announced, ok := r.Header["Trailer"]
	if !ok {
		return nil
	}
	delete(r.Header, "Trailer")
	for _, list := range announced {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			switch name {
			case "":
			case "Transfer-Encoding", "Trailer", "Content-Length":
				return refused(refusedTrailer, "a trailer cannot say "+name)
			default:
				if r.Trailer == nil {
					r.Trailer = http.Header{}
				}
				r.Trailer[name] = nil
			}
		}
	}
	return nil
}

// framing says where the body ends.
func (x *h1Exchange) framing(h *headReader) {
	r := x.request
	x.body.exchange = x
	if h.coded {
		r.ContentLength = -1
		r.TransferEncoding = []string{"chunked"}
		x.body.chunked = true
		return
	}
	r.ContentLength = int64(h.length)
	x.body.left = h.length
	x.body.over = h.length == 0
}

// expectation reads the Expect header.
func (x *h1Exchange) expectation() *headError {
	expect, ok := x.request.Header["Expect"]
	if !ok {
		return nil
	}
	if httpguts.HeaderValuesContainsToken(expect, "100-continue") {
		x.body.expects = x.request.ProtoAtLeast(1, 1) && !x.body.over
		x.awaited = x.body.expects
		return nil
	}
	if expect[0] == "" {
		return nil
	}
	return &headError{refusedExpectation, http.StatusExpectationFailed, "only 100-continue can be expected"}
}

// methodOf saves the memory that keeps the head alive for its method.
func methodOf(method string) string {
	switch method {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPost:
		return http.MethodPost
	case http.MethodHead:
		return http.MethodHead
	}
	return method
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// preface is how HTTP/2 begins without TLS (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// mayBecomeHTTP2 reports whether the bytes so far can be the beginning of the preface, where it is allowed.
func (c *h1Conn) mayBecomeHTTP2() bool {
	received := c.in[c.start:c.end]
	return c.plain && c.endpoint.cfg.H2C && !c.served && !c.endpoint.draining.Load() &&
		bytes.HasPrefix([]byte(preface), received[:min(len(received), len(preface))])
}

// becomeHTTP2 hands the connection to net/http once its preface is there.
func (c *h1Conn) becomeHTTP2() *headError {
	for c.end-c.start < len(preface) {
		if err := c.fill(); err != nil {
			return nil
		}
		if !c.mayBecomeHTTP2() {
			return refused(refusedPreface, "this is not the preface of HTTP/2")
		}
	}
	if c.setPhase(phaseOver)&expired != 0 {
		return nil
	}
	received := bytes.Clone(c.in[c.start:c.end])
	if c.endpoint.handOff(&prefixedConn{c.stall, prefixed{received, c.stall}}) {
		c.handOver()
	}
	return nil
}

// prefixedConn is a connection of which a part was read.
type prefixedConn struct {
	*stallConn
	in prefixed
}

// Read begins with what was received before.
func (c *prefixedConn) Read(p []byte) (int, error) { return c.in.Read(p) }
