package httpserver

import "bytes"

// scanner follows the messages that a client sends on an HTTP/1 connection, byte for byte ahead of net/http, and finds what
// net/http takes but no server should: framing that two readers can read in two ways. It sees the bytes in pieces of any size.
//
// net/http does the parsing proper. The scanner looks only at what decides where a message ends, and where net/http would
// refuse a message anyway it may let it pass. It must never believe that a message ends where net/http believes otherwise;
// FuzzConn compares the two.
type scanner struct {
	state scanState

	// h2c: the connection may begin with the preface of HTTP/2.
	h2c bool

	http10                   bool // of the message under way: its version is HTTP/1.0
	haveLength, haveEncoding bool
	chunked                  bool

	left   uint64 // bytes that the body, or the chunk, has left
	excess int64  // bytes of chunk headers beyond what their data justifies

	trailer int // bytes of the trailer section so far

	// A line whose end has not come: its first bytes, its last two, its length.
	line    [maxKeptLine]byte
	tail    [2]byte
	lineLen int
}

type scanState uint8

const (
	inRequestLine scanState = iota // also between two messages
	inHeader
	inBody
	inChunkSize
	inChunkData
	inChunkEnd
	inTrailer
	inPreface1 // "" behind PRI * HTTP/2.0
	inPreface2 // SM
	inPreface3 // ""
	inForeign  // HTTP/2, or a connection that a handler has hijacked: not ours to read
)

const (
	// maxKeptLine bounds the lines that the scanner must see whole: framing headers, chunk sizes, trailers.
	maxKeptLine = 512

	// maxTrailer stays below what net/http reads of a trailer section, 4096 bytes.
	maxTrailer = 3 << 10

	// maxChunkExcess is net/http's bound for chunk headers that carry more than the data between them.
	maxChunkExcess = 16 << 10
)

// refusal is why a connection was refused.
type refusal uint8

const (
	refusedNot refusal = iota
	refusedBareLF
	refusedMethod
	refusedPreface
	refusedFold
	refusedLength
	refusedTwoLengths
	refusedTwoFramings
	refusedTwoEncodings
	refusedEncoding10
	refusedFramingLine
	refusedChunk
	refusedTrailer
	refusedDesync
	refusedHost
	refusedTarget
	refusedConnect
	refusals // how many there are
)

// refusalNames are the labels in Stats.
var refusalNames = [refusals]string{
	refusedNot:          "",
	refusedBareLF:       "bare_lf",
	refusedMethod:       "method",
	refusedPreface:      "preface",
	refusedFold:         "folded_header",
	refusedLength:       "content_length",
	refusedTwoLengths:   "two_content_lengths",
	refusedTwoFramings:  "content_length_and_transfer_encoding",
	refusedTwoEncodings: "two_transfer_encodings",
	refusedEncoding10:   "transfer_encoding_on_http10",
	refusedFramingLine:  "framing_header_size",
	refusedChunk:        "chunk",
	refusedTrailer:      "trailer",
	refusedDesync:       "out_of_step",
	refusedHost:         "host",
	refusedTarget:       "target",
	refusedConnect:      "connect",
}

// scan reads p up to the end of the message under way, or to its end. It returns how much it has read and, if the message is
// refused, why; the last byte read is then the line feed of the offending line.
func (s *scanner) scan(p []byte) (n int, why refusal) {
	for n < len(p) {
		switch s.state {
		case inForeign:
			return len(p), refusedNot
		case inBody, inChunkData:
			k := min(uint64(len(p)-n), s.left)
			n += int(k)
			s.left -= k
			if s.left > 0 {
				return n, refusedNot
			}
			if s.state == inBody {
				s.state = inRequestLine
				return n, refusedNot
			}
			s.state = inChunkEnd
		default:
			i := bytes.IndexByte(p[n:], '\n')
			if i < 0 {
				s.keep(p[n:])
				return len(p), refusedNot
			}
			piece := p[n : n+i]
			n += i + 1
			if why = s.endPiece(piece); why != refusedNot || s.state == inRequestLine {
				return n, why
			}
		}
	}
	return n, refusedNot
}

// keep remembers a piece of a line whose end has not come.
func (s *scanner) keep(piece []byte) {
	if s.lineLen < maxKeptLine {
		copy(s.line[s.lineLen:], piece)
	}
	s.lineLen += len(piece)
	switch len(piece) {
	case 0:
	case 1:
		s.tail = [2]byte{s.tail[1], piece[0]}
	default:
		s.tail = [2]byte(piece[len(piece)-2:])
	}
}

// endPiece reads the last piece of a line, without its line feed.
func (s *scanner) endPiece(piece []byte) refusal {
	if s.lineLen == 0 { // the usual case: nothing was kept, nothing is copied
		n := len(piece)
		if n == 0 || piece[n-1] != '\r' {
			return s.endBare(n)
		}
		last := byte(0)
		if n > 1 {
			last = piece[n-2]
		}
		return s.endLine(piece[:min(n-1, maxKeptLine)], last, n > maxKeptLine)
	}
	s.keep(piece)
	n, tail := s.lineLen, s.tail
	s.lineLen = 0
	if tail[1] != '\r' {
		return s.endBare(n)
	}
	return s.endLine(s.line[:min(n-1, maxKeptLine)], tail[0], n > maxKeptLine)
}

// endBare reads a line that no carriage return ends. Front ends disagree about where such a line ends, so it is refused;
// only empty lines before a request are left to net/http's judgement.
func (s *scanner) endBare(length int) refusal {
	if s.state == inRequestLine && length == 0 {
		return refusedNot
	}
	return refusedBareLF
}

// endLine reads a line without its end. Of a long one, line is only the first maxKeptLine bytes; last is the last byte of any.
func (s *scanner) endLine(line []byte, last byte, long bool) refusal {
	switch s.state {
	case inRequestLine:
		return s.requestLine(line, last)
	case inHeader:
		return s.header(line, long)
	case inChunkSize:
		return s.chunkSize(line, long)
	case inChunkEnd:
		if len(line) > 0 {
			return refusedChunk
		}
		s.state = inChunkSize
	case inTrailer:
		return s.trailerLine(line, long)
	case inPreface1:
		return s.preface(line, "", inPreface2)
	case inPreface2:
		return s.preface(line, "SM", inPreface3)
	case inPreface3:
		return s.preface(line, "", inForeign)
	}
	return refusedNot
}

// requestLine reads METHOD TARGET HTTP/1.x, of which last is the x.
func (s *scanner) requestLine(line []byte, last byte) refusal {
	if len(line) == 0 {
		s.h2c = false
		return refusedNot // net/http takes it behind a POST and refuses it elsewhere
	}
	method, _, _ := bytes.Cut(line, []byte{' '})
	if string(method) == "PRI" {
		if !s.h2c || string(line) != "PRI * HTTP/2.0" {
			return refusedPreface
		}
		s.state = inPreface1
		return refusedNot
	}
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return refusedMethod
		}
	}
	s.state = inHeader
	s.h2c = false // the preface comes first or not at all
	s.http10 = last == '0'
	s.haveLength, s.haveEncoding, s.chunked = false, false, false
	s.left = 0
	return refusedNot
}

// header reads one line of the head. All but two headers need no more than a look at their first byte.
func (s *scanner) header(line []byte, long bool) refusal {
	if len(line) == 0 {
		switch {
		case s.chunked:
			s.state, s.excess = inChunkSize, 0
		case s.left > 0:
			s.state = inBody
		default:
			s.state = inRequestLine
		}
		return refusedNot
	}
	switch line[0] {
	case ' ', '\t':
		return refusedFold
	case 'c', 'C':
		if value, ok := headerValue(line, "content-length"); ok {
			return s.contentLength(value, long)
		}
	case 't', 'T':
		if value, ok := headerValue(line, "transfer-encoding"); ok {
			return s.transferEncoding(value, long)
		}
	}
	return refusedNot
}

func (s *scanner) contentLength(value []byte, long bool) refusal {
	switch {
	case s.haveLength:
		return refusedTwoLengths
	case s.haveEncoding:
		return refusedTwoFramings
	case long:
		return refusedFramingLine
	}
	s.haveLength = true
	length, ok := parseLength(value)
	if !ok {
		return refusedLength
	}
	s.left = length
	return refusedNot
}

func (s *scanner) transferEncoding(value []byte, long bool) refusal {
	switch {
	case s.http10:
		return refusedEncoding10
	case s.haveLength:
		return refusedTwoFramings
	case s.haveEncoding:
		return refusedTwoEncodings
	case long:
		return refusedFramingLine
	}
	s.haveEncoding = true
	s.chunked = equalFold(value, "chunked") // net/http answers 501 to anything else and closes
	return refusedNot
}

// chunkSize reads the line before a chunk as strictly as net/http does, and counts the excess as it does.
func (s *scanner) chunkSize(line []byte, long bool) refusal {
	if long || bytes.IndexByte(line, '\r') >= 0 {
		return refusedChunk
	}
	digits, _, _ := bytes.Cut(trimRight(line), []byte{';'})
	size, ok := parseHex(digits)
	if !ok {
		return refusedChunk
	}
	s.excess = max(0, s.excess+int64(len(line))+2-16-2*int64(size))
	if s.excess > maxChunkExcess {
		return refusedChunk
	}
	if size == 0 {
		s.state, s.trailer = inTrailer, 0
		return refusedNot
	}
	s.state, s.left = inChunkData, size
	return refusedNot
}

// trailerLine reads a header behind the last chunk. What net/http would stumble over is refused here: it might otherwise take
// the rest of the trailer section for the next request.
func (s *scanner) trailerLine(line []byte, long bool) refusal {
	if len(line) == 0 {
		s.state = inRequestLine
		return refusedNot
	}
	s.trailer += len(line) + 2
	if long || s.trailer > maxTrailer || !validTrailer(line) {
		return refusedTrailer
	}
	return refusedNot
}

func (s *scanner) preface(line []byte, want string, next scanState) refusal {
	if string(line) != want {
		return refusedPreface
	}
	s.state = next
	return refusedNot
}

// amidBody reports whether a message has begun whose body has not ended: its head is complete.
func (s *scanner) amidBody() bool { return s.state >= inBody && s.state <= inTrailer }

// headerValue returns the value of line if it is the header name, which is given in lower case.
func headerValue(line []byte, name string) (value []byte, ok bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !equalFold(line[:len(name)], name) {
		return nil, false
	}
	value = line[len(name)+1:]
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	return trimRight(value), true
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold compares ASCII text without case; lower is in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// parseLength reads decimal digits, nothing else, below 1<<63.
func parseLength(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > (1<<63-1)/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, len(b) > 0 && n < 1<<63
}

// parseHex reads up to 15 hexadecimal digits, nothing else: no chunk is larger than 1<<60.
func parseHex(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(c)
	}
	return n, len(b) > 0 && len(b) < 16
}

// validTrailer accepts name: value with a name of letters, digits and dashes that says nothing about framing.
func validTrailer(line []byte) bool {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return !equalFold(name, "content-length") && !equalFold(name, "transfer-encoding") && !equalFold(name, "trailer") && !equalFold(name, "host")
}
