package php

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The protobuf wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// head is the decoded http.v1.Response: 1 status, 2 map of name to HeaderValue. It is reused between requests.
type head struct {
	status int // 0: PHP said nothing, which means 200
	fields []headField
	spans  []fieldSpan // scratch of decodeJSON
}

type headField struct{ name, value string }

// read reads the context of an answer in whichever encoding it is. The copy is the one allocation for all names and values.
func (h *head) read(context []byte) error {
	if isJSON(context) {
		return h.decodeJSON(context)
	}
	return h.decode(string(context))
}

// decode reads the context of an answer and refuses what must not reach a client: a name that is no token, a value with a line
// break. Names and values are parts of ctx, which therefore must never change.
func (h *head) decode(ctx string) error {
	h.status, h.fields = 0, h.fields[:0]
	for ctx != "" {
		number, wire, value, rest, err := nextField(ctx)
		if err != nil {
			return err
		}
		ctx = rest
		switch {
		case number == 1 && wire == wireVarint:
			status, n := uvarint(value)
			if n <= 0 || status < 100 || status > 599 {
				return fmt.Errorf("%w: status code %d", ErrBadAnswer, int64(status))
			}
			h.status = int(status)
		case number == 2 && wire == wireBytes:
			if err := h.decodeEntry(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeEntry reads one entry of the map: 1 name, 2 HeaderValue{1: repeated bytes}.
func (h *head) decodeEntry(entry string) error {
	name, values := "", ""
	for entry != "" {
		number, wire, value, rest, err := nextField(entry)
		if err != nil {
			return err
		}
		entry = rest
		if wire == wireBytes && number == 1 {
			name = value
		}
		if wire == wireBytes && number == 2 {
			values = value
		}
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%w: %q is not a header name", ErrBadAnswer, name)
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	for values != "" {
		number, wire, value, rest, err := nextField(values)
		if err != nil {
			return err
		}
		values = rest
		if number != 1 || wire != wireBytes {
			continue
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%w: header %s has a line break or control character", ErrBadAnswer, name)
		}
		h.fields = append(h.fields, headField{name, value})
	}
	return nil
}

// trailers returns the names that the Trailer header announces, and whether there is one.
func (h *head) trailers() (names []string, announced bool) {
	for _, f := range h.fields {
		if f.name != "Trailer" {
			continue
		}
		announced = true
		for name := range strings.SplitSeq(f.value, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if httpguts.ValidTrailerHeader(name) {
				names = append(names, name)
			}
		}
	}
	return names, announced
}

// addTo adds the header fields to dst, beside what middleware put there. What frames the message is the server's business:
// Content-Length is kept only when keepLength says so.
func (h *head) addTo(dst http.Header, keepLength bool) {
	if len(dst) > 0 {
		h.replace(dst)
	}
	values := make([]string, len(h.fields))
	for i, f := range h.fields {
		switch f.name {
		case "Transfer-Encoding", "Keep-Alive", "Proxy-Connection", "Upgrade", "Trailer":
			continue
		case "Connection":
			if !strings.EqualFold(f.value, "close") {
				continue
			}
		case "Content-Length":
			if !keepLength {
				continue
			}
			delete(dst, f.name)
		}
		if have := dst[f.name]; len(have) > 0 {
			dst[f.name] = append(have, f.value)
			continue
		}
		values[i] = f.value
		dst[f.name] = values[i : i+1 : i+1]
	}
}

// replace takes out of dst what was set before PHP was asked and PHP sets, too: of two values of one header, such as
// Access-Control-Allow-Origin, clients make what they like. Headers that are lists by nature grow instead.
func (h *head) replace(dst http.Header) {
	for _, f := range h.fields {
		switch f.name {
		case "Alt-Svc", "Link", "Server-Timing", "Set-Cookie", "Vary":
		default:
			delete(dst, f.name)
		}
	}
}

// has reports whether PHP set the header.
func (h *head) has(name string) bool {
	for _, f := range h.fields {
		if f.name == name {
			return true
		}
	}
	return false
}

// nextField cuts the first field off a message. For a varint, value begins with it.
func nextField(msg string) (number, wire int, value, rest string, err error) {
	tag, n := uvarint(msg)
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return 0, 0, "", "", errProtobuf
	}
	msg = msg[n:]
	size := 0
	switch wire = int(tag & 7); wire {
	case wireVarint:
		if _, size = uvarint(msg); size <= 0 {
			return 0, 0, "", "", errProtobuf
		}
	case wireFixed64:
		size = 8
	case wireFixed32:
		size = 4
	case wireBytes:
		length, n := uvarint(msg)
		if n <= 0 || length > uint64(len(msg)-n) {
			return 0, 0, "", "", errProtobuf
		}
		msg, size = msg[n:], int(length)
	default:
		return 0, 0, "", "", errProtobuf
	}
	if size > len(msg) {
		return 0, 0, "", "", errProtobuf
	}
	return int(tag >> 3), wire, msg[:size], msg[size:], nil
}

var errProtobuf = fmt.Errorf("%w: its context is not an http.v1.Response", ErrBadAnswer)

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (uint64, int) {
	var x uint64
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		c := s[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			return 0, -1
		}
		x |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return x, i + 1
		}
	}
	return 0, 0
}
