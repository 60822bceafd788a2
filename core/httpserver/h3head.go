package httpserver

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Heads of HTTP/3, as RFC 9204 has them, without a dynamic table. Go's clients, and quic-go's, have none either.

// Types of frames (RFC 9114, 7.2).
const (
	h3Data    = 0x0
	h3Headers = 0x1
)

const (
	// maxH3Head is what a length of two bytes can say.
	maxH3Head = 1<<14 - 1

	// huffmanFrom is the length from which text is compressed. It saves a fifth; below, what it costs both sides is more than the bytes are worth.
	huffmanFrom = 64
)

// appendH3Head appends the frame with the head of an answer, or reports false when the head is too long, or announces trailers.
func appendH3Head(b []byte, status int, header http.Header) ([]byte, bool) {
	start := len(b)
	b = append(b, h3Headers, 0, 0, 0, 0) // the length, when it is known; and that no entry is of a dynamic table
	b = appendStatus(b, status)
	for name, values := range header {
		if name == "Trailer" || strings.HasPrefix(name, http.TrailerPrefix) {
			return b, false
		}
		for _, value := range values {
			b = appendH3Field(b, name, value)
		}
	}
	length := len(b) - start - 3
	if length > maxH3Head {
		return b, false
	}
	b[start+1], b[start+2] = 0x40|byte(length>>8), byte(length)
	return b, true
}

// appendVarint2 appends n, which is at most maxH3Head, in two bytes.
func appendVarint2(b []byte, n int) []byte { return append(b, 0x40|byte(n>>8), byte(n)) }

// appendStatus appends :status, of which the static table has some.
func appendStatus(b []byte, status int) []byte {
	var entry byte
	switch status {
	case 200:
		entry = 25
	case 304:
		entry = 26
	case 404:
		entry = 27
	case 503:
		entry = 28
	case 204:
		entry = 64
	case 206:
		entry = 65
	case 302:
		entry = 66
	case 400:
		entry = 67
	case 403:
		entry = 68
	case 421:
		entry = 69
	case 425:
		entry = 70
	case 500:
		entry = 71
	default:
		return appendText(appendInt(b, 0x50, 4, 24), strconv.Itoa(status))
	}
	return appendInt(b, 0xc0, 6, int(entry))
}

// appendH3Field appends a field: as an entry of the static table, with the name of one, or with its own name.
func appendH3Field(b []byte, name, value string) []byte {
	entry, entryValue := staticName(name)
	if entry == 0 {
		b = appendInt(b, 0x20, 3, len(name))
		for i := range len(name) {
			c := name[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
		return appendText(b, value)
	}
	if value == entryValue {
		return appendInt(b, 0xc0, 6, entry)
	}
	return appendText(appendInt(b, 0x50, 4, entry), value)
}

// staticName is an entry of the static table (RFC 9204, appendix A) that has this name, 0 if none has, and the entry's value. Of several it is
// the one that answers most often have.
func staticName(name string) (entry int, value string) {
	switch name {
	case "Accept-Ranges":
		return 32, "bytes"
	case "Access-Control-Allow-Headers":
		return 75, "*"
	case "Access-Control-Allow-Methods":
		return 76, "get"
	case "Access-Control-Allow-Origin":
		return 35, "*"
	case "Age":
		return 2, "0"
	case "Alt-Svc":
		return 83, "clear"
	case "Cache-Control":
		return 39, "no-cache"
	case "Content-Disposition":
		return 3, ""
	case "Content-Encoding":
		return 43, "gzip"
	case "Content-Length":
		return 4, "0"
	case "Content-Security-Policy":
		return 85, "script-src 'none'; object-src 'none'; base-uri 'none'"
	case "Content-Type":
		return 52, "text/html; charset=utf-8"
	case "Date":
		return 6, ""
	case "Etag":
		return 7, ""
	case "Last-Modified":
		return 10, ""
	case "Link":
		return 11, ""
	case "Location":
		return 12, ""
	case "Server":
		return 92, ""
	case "Set-Cookie":
		return 14, ""
	case "Strict-Transport-Security":
		return 56, "max-age=31536000"
	case "Timing-Allow-Origin":
		return 93, "*"
	case "Vary":
		return 59, "accept-encoding"
	case "X-Content-Type-Options":
		return 61, "nosniff"
	case "X-Frame-Options":
		return 97, "deny"
	case "X-Xss-Protection":
		return 62, "1; mode=block"
	}
	return 0, ""
}

// appendText appends text and its length.
func appendText(b []byte, text string) []byte {
	if len(text) >= huffmanFrom {
		if length := hpack.HuffmanEncodeLength(text); length < uint64(len(text)) {
			return hpack.AppendHuffmanString(appendInt(b, 0x80, 7, int(length)), text)
		}
	}
	return append(appendInt(b, 0, 7, len(text)), text...)
}

// appendInt appends n in a byte whose upper bits are taken, and in more where it has no room (RFC 7541, 5.1).
func appendInt(b []byte, upper byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, upper|byte(n))
	}
	b = append(b, upper|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, 0x80|byte(n))
	}
	return append(b, byte(n))
}
