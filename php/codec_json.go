package php

import (
	"fmt"
	"net/http"
	"net/textproto"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// The context in JSON is what RoadRunner sent until 2023.3, and all that spiral/roadrunner-http understands up to 3.4:
//
//	{"remoteAddr":"192.0.2.1","protocol":"HTTP/1.1","method":"GET","uri":"http://shop.example/?a=1",
//	 "headers":{"Accept":["*/*"]},"cookies":{"theme":"dark"},"rawQuery":"a=1","parsed":false,"uploads":null,"attributes":{}}
//
// and back comes {"status":200,"headers":{"Content-Type":["text/plain"]}}. Releases from 3.5 on read both and answer in what they
// were first asked in. JSON is text: bytes that are not UTF-8 become U+FFFD, since PHP refuses the whole context otherwise.

// emptyTree is the body of a form without fields.
const emptyTree = "{}"

// appendJSONContext is appendContext in JSON.
func appendJSONContext(b []byte, r *http.Request, parsed bool, uploads []byte) []byte {
	b = append(b, `{"remoteAddr":`...)
	b = appendJSONString(b, remoteIP(r.RemoteAddr))
	b = append(b, `,"protocol":`...)
	b = appendJSONString(b, r.Proto)
	b = append(b, `,"method":`...)
	b = appendJSONString(b, r.Method)
	query := cleanQuery(r.URL.RawQuery)
	b = append(b, `,"uri":`...)
	b = appendJSONURI(b, r, query)
	b = append(b, `,"headers":{`...)
	b = appendJSONHeaders(b, r.Header)
	b = append(b, `},"cookies":{`...)
	b = appendJSONCookies(b, r.Header["Cookie"])
	b = append(b, `},"rawQuery":`...)
	b = appendJSONString(b, query)
	if parsed {
		b = append(b, `,"parsed":true,"uploads":`...)
	} else {
		b = append(b, `,"parsed":false,"uploads":`...)
	}
	if len(uploads) > 0 {
		b = append(b, uploads...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"attributes":{`...)
	b = appendJSONAttributes(b, attributesOf(r))
	return append(b, "}}"...)
}

// appendJSONURI appends the URI, of which every byte is printable ASCII.
func appendJSONURI(b []byte, r *http.Request, query string) []byte {
	b = append(b, '"')
	start := len(b)
	scheme, host, path := uriParts(r)
	b = appendURIText(b, scheme, host, path, query)
	for _, c := range b[start:] {
		if c == '"' || c == '\\' {
			return appendJSONString(b[:start-1], string(b[start:]))
		}
	}
	return append(b, '"')
}

func appendJSONHeaders(b []byte, header http.Header) []byte {
	start := len(b)
	for name, values := range header {
		if name == "Host" {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = appendJSONString(b, name)
		b = append(b, ':')
		b = appendJSONList(b, values)
	}
	return b
}

func appendJSONList(b []byte, values []string) []byte {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, v)
	}
	return append(b, ']')
}

func appendJSONCookies(b []byte, lines []string) []byte {
	start := len(b)
	for _, line := range lines {
		for line != "" {
			var name, value string
			var ok bool
			if name, value, line, ok = nextCookie(line); !ok {
				continue
			}
			if len(b) > start {
				b = append(b, ',')
			}
			b = appendJSONString(b, name)
			b = append(b, ':')
			b = appendJSONString(b, value)
		}
	}
	return b
}

// appendJSONAttributes writes a single value as such: that is what the packages that read protobuf hand out.
func appendJSONAttributes(b []byte, list []attribute) []byte {
	for i, a := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, a.name)
		b = append(b, ':')
		if len(a.values) == 1 {
			b = appendJSONString(b, a.values[0])
		} else {
			b = appendJSONList(b, a.values)
		}
	}
	return b
}

// appendJSONAttribute adds one attribute to a context that appendJSONContext wrote: at its end, where they stand.
func appendJSONAttribute(b []byte, name, value string) []byte {
	b = b[:len(b)-len("}}")]
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = appendJSONAttributes(b, []attribute{{name, []string{value}}})
	return append(b, "}}"...)
}

// isJSON tells the encodings of an answer's context apart by its first byte, which no http.v1.Response has. The codec in the
// frame does not: packages before 3.5 leave it empty.
func isJSON(context []byte) bool { return len(context) > 0 && context[0] == '{' }

// decodeJSON is decode for a context in JSON, which it unescapes in place. PHP writes every slash with an escape, so the fields
// are noted as positions first, and all text is one allocation.
func (h *head) decodeJSON(context []byte) error {
	h.status, h.fields, h.spans = 0, h.fields[:0], h.spans[:0]
	d := jsonDecoder{b: context}
	if err := d.object(func(key span) error { return h.decodeMember(&d, key) }); err != nil {
		return err
	}
	if d.peek() != 0 || d.i < len(d.b) {
		return errJSON
	}
	text := string(context)
	for _, s := range h.spans {
		name, value := text[s.name.from:s.name.to], text[s.value.from:s.value.to]
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("%w: %q is not a header name", ErrBadAnswer, name)
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%w: header %s has a line break or control character", ErrBadAnswer, name)
		}
		h.fields = append(h.fields, headField{name, value})
	}
	return nil
}

// span is a piece of a context, and fieldSpan a header field in it.
type (
	span      struct{ from, to int }
	fieldSpan struct{ name, value span }
)

func (h *head) decodeMember(d *jsonDecoder, key span) error {
	switch string(d.b[key.from:key.to]) {
	case "status":
		return h.decodeStatus(d)
	case "headers":
		return d.members(func(name span) error {
			if !d.container() {
				return h.decodeValue(d, name)
			}
			return d.members(func(span) error { return h.decodeValue(d, name) })
		})
	}
	return d.skip(0)
}

func (h *head) decodeStatus(d *jsonDecoder) error {
	n, err := d.scalar()
	if err != nil {
		return err
	}
	status := 0
	for _, c := range d.b[n.from:n.to] {
		if c < '0' || c > '9' || status > 599 {
			status = -1
			break
		}
		status = 10*status + int(c-'0')
	}
	if status < 100 || status > 599 {
		return fmt.Errorf("%w: status code %.20q", ErrBadAnswer, d.b[n.from:n.to])
	}
	h.status = status
	return nil
}

func (h *head) decodeValue(d *jsonDecoder, name span) error {
	value, err := d.scalar()
	if err == nil {
		h.spans = append(h.spans, fieldSpan{name, value})
	}
	return err
}

// jsonDecoder walks over JSON, unescaping strings where they stand.
type jsonDecoder struct {
	b []byte
	i int
}

// maxJSONDepth bounds what skip goes into; there is nothing to be found below the second level.
const maxJSONDepth = 32

var errJSON = fmt.Errorf("%w: its context is neither an http.v1.Response nor {\"status\":…,\"headers\":{…}}", ErrBadAnswer)

// peek returns the next byte that is no white space, or 0 at the end.
func (d *jsonDecoder) peek() byte {
	for d.i < len(d.b) {
		switch c := d.b[d.i]; c {
		case ' ', '\t', '\r', '\n':
			d.i++
		default:
			return c
		}
	}
	return 0
}

func (d *jsonDecoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.i++
	return true
}

// container reports whether a list or an object follows.
func (d *jsonDecoder) container() bool { c := d.peek(); return c == '[' || c == '{' }

// object calls member with the key of each member, at its value.
func (d *jsonDecoder) object(member func(key span) error) error {
	if !d.take('{') {
		return errJSON
	}
	if d.take('}') {
		return nil
	}
	for {
		if d.peek() != '"' {
			return errJSON
		}
		key, err := d.text()
		if err != nil {
			return err
		}
		if !d.take(':') {
			return errJSON
		}
		if err := member(key); err != nil {
			return err
		}
		if d.take('}') {
			return nil
		}
		if !d.take(',') {
			return errJSON
		}
	}
}

// members is object for a PHP array, which is a list when its keys are 0, 1, 2…, and for null.
func (d *jsonDecoder) members(member func(key span) error) error {
	if !d.take('[') {
		if d.peek() == 'n' {
			_, err := d.scalar()
			return err
		}
		return d.object(member)
	}
	if d.take(']') {
		return nil
	}
	for {
		if err := member(span{}); err != nil {
			return err
		}
		if d.take(']') {
			return nil
		}
		if !d.take(',') {
			return errJSON
		}
	}
}

// scalar reads a string, a number, true, false or null. The last is an empty text, as in PHP.
func (d *jsonDecoder) scalar() (span, error) {
	if d.peek() == '"' {
		return d.text()
	}
	start := d.i
	for d.i < len(d.b) && (d.b[d.i] >= '0' && d.b[d.i] <= '9' || d.b[d.i] >= 'a' && d.b[d.i] <= 'z' || d.b[d.i] == 'E' ||
		d.b[d.i] == '-' || d.b[d.i] == '+' || d.b[d.i] == '.') {
		d.i++
	}
	switch word := string(d.b[start:d.i]); {
	case word == "null":
		return span{start, start}, nil
	case word == "true", word == "false", word != "" && (word[0] == '-' || word[0] >= '0' && word[0] <= '9'):
		return span{start, d.i}, nil
	}
	return span{}, errJSON
}

// skip goes past a value that nobody needs.
func (d *jsonDecoder) skip(depth int) error {
	if depth == maxJSONDepth {
		return errJSON
	}
	if d.container() {
		return d.members(func(span) error { return d.skip(depth + 1) })
	}
	_, err := d.scalar()
	return err
}

// text reads a string. What it becomes is never longer than how it is written.
func (d *jsonDecoder) text() (span, error) {
	d.i++
	start := d.i
	for d.i < len(d.b) && d.b[d.i] != '"' && d.b[d.i] != '\\' {
		d.i++
	}
	to := d.i
	for d.i < len(d.b) {
		c := d.b[d.i]
		d.i++
		switch c {
		case '"':
			return span{start, to}, nil
		case '\\':
			r, ok := d.escape()
			if !ok {
				return span{}, errJSON
			}
			to += utf8.EncodeRune(d.b[to:to+min(utf8.UTFMax, d.i-to)], r)
		default:
			d.b[to] = c
			to++
		}
	}
	return span{}, errJSON
}

// escape reads what stands behind a backslash.
func (d *jsonDecoder) escape() (rune, bool) {
	if d.i == len(d.b) {
		return 0, false
	}
	c := d.b[d.i]
	d.i++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		return d.unicode()
	}
	return 0, false
}

// unicode reads the four digits behind \u, and those of the second half of a pair.
func (d *jsonDecoder) unicode() (rune, bool) {
	r, ok := hex4(d.b[d.i:])
	if !ok {
		return 0, false
	}
	d.i += 4
	if !utf16.IsSurrogate(r) {
		return r, true
	}
	if rest := d.b[d.i:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
		if second, ok := hex4(rest[2:]); ok {
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				d.i += 6
				return pair, true
			}
		}
	}
	return utf8.RuneError, true
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
