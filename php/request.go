package php

import (
	"encoding/binary"
	"math/bits"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The request's context is the protobuf message http.v1.Request, written here by hand straight from *http.Request: it saves
// the intermediate objects and every allocation (BenchmarkAppendContext).
//
//	1 remote_addr  2 protocol  3 method  4 uri  5 header   6 cookies  7 raw_query  8 parsed  9 uploads  10 attributes
//
// header, cookies and attributes are maps of name to HeaderValue{1: repeated bytes}.
const (
	fieldRemoteAddr = 1
	fieldProtocol   = 2
	fieldMethod     = 3
	fieldURI        = 4
	fieldHeader     = 5
	fieldCookies    = 6
	fieldRawQuery   = 7
	fieldParsed     = 8
	fieldUploads    = 9
	fieldAttributes = 10
)

// appendContext appends the context of r. parsed says that the body is a JSON tree, uploads is the tree of files or empty.
func appendContext(b []byte, r *http.Request, parsed bool, uploads []byte) []byte {
	b = appendText(b, fieldRemoteAddr, remoteIP(r.RemoteAddr))
	b = appendText(b, fieldProtocol, r.Proto)
	b = appendText(b, fieldMethod, r.Method)
	query := cleanQuery(r.URL.RawQuery)
	b = appendURI(b, r, query)
	for name, values := range r.Header {
		if name != "Host" {
			b = appendEntry(b, fieldHeader, name, values)
		}
	}
	for _, line := range r.Header["Cookie"] {
		b = appendCookies(b, line)
	}
	b = appendText(b, fieldRawQuery, query)
	if parsed {
		b = append(b, fieldParsed<<3, 1)
	}
	if len(uploads) > 0 {
		b = appendTag(b, fieldUploads, len(uploads))
		b = append(b, uploads...)
	}
	for _, a := range attributesOf(r) {
		b = appendEntry(b, fieldAttributes, a.name, a.values)
	}
	return b
}

// appendAttribute appends one attribute to a context. Fields of a message may come in any order, so the end is a fine place.
func appendAttribute(b []byte, name, value string) []byte {
	return appendEntry(b, fieldAttributes, name, []string{value})
}

// remoteIP is the address without its port, or "" when it is none, as on a unix socket.
func remoteIP(addr string) string {
	if _, err := netip.ParseAddrPort(addr); err == nil {
		host := addr[:strings.LastIndexByte(addr, ':')]
		return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if _, err := netip.ParseAddr(addr); err == nil {
		return addr
	}
	return ""
}

// appendURI appends the absolute URI, which is where PHP finds the host.
func appendURI(b []byte, r *http.Request, query string) []byte {
	scheme, host, path := uriParts(r)
	n := len(scheme) + len("://") + len(host) + len(path)
	if query != "" {
		n += len("?") + len(query)
	}
	return appendURIText(appendTag(b, fieldURI, n), scheme, host, path, query)
}

func appendURIText(b []byte, scheme, host, path, query string) []byte {
	b = append(b, scheme...)
	b = append(b, "://"...)
	b = append(b, host...)
	b = append(b, path...)
	if query != "" {
		b = append(b, '?')
		b = append(b, query...)
	}
	return b
}

// uriParts are the scheme, host and path of the absolute URI, which has neither user nor fragment.
func uriParts(r *http.Request) (scheme, host, path string) {
	scheme, host, path = "http", hostOf(r), r.URL.EscapedPath()
	if r.TLS != nil {
		scheme = "https"
	}
	if r.URL.IsAbs() && r.URL.Host != "" {
		scheme = r.URL.Scheme
	}
	if path != "" && path[0] != '/' {
		path = "/" + path // OPTIONS *
	}
	return scheme, host, path
}

// hostOf is the host of the URI: the one asked for, or for an old client that names none the address it came to, since PHP
// cannot parse a URI without a host.
func hostOf(r *http.Request) string {
	if r.URL.IsAbs() && r.URL.Host != "" {
		return r.URL.Host
	}
	if r.Host != "" {
		return r.Host
	}
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && validHost(addr.String()) {
		return addr.String()
	}
	return "localhost"
}

// validHost reports whether host is a name, or an IPv6 address in brackets, and maybe a port. Applications build links of it
// and decide by it, and PHP's parsers give up on anything else.
func validHost(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name = host[:i]
		if port := host[i+1:]; port != "" {
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return false
			}
		}
	}
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		addr, err := netip.ParseAddr(name[1 : len(name)-1])
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~%!$&'()*+,;=", c) < 0:
			return false
		}
	}
	return name != ""
}

// cleanQuery drops line breaks from a query and escapes what is no printable ASCII: in the message it is a text, which has to
// be UTF-8, and PHP refuses the whole request otherwise.
func cleanQuery(query string) string {
	dirty := 0
	for dirty < len(query) && ' ' < query[dirty] && query[dirty] < 0x7f {
		dirty++
	}
	if dirty == len(query) {
		return query
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString(query[:dirty])
	for i := dirty; i < len(query); i++ {
		switch c := query[i]; {
		case c == '\r' || c == '\n':
		case c <= ' ' || c >= 0x7f:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// appendCookies appends the cookies of one Cookie line, unescaped. Of several with one name the last wins, since a later
// entry of a protobuf map replaces an earlier one.
func appendCookies(b []byte, line string) []byte {
	for line != "" {
		var name, value string
		var ok bool
		if name, value, line, ok = nextCookie(line); ok {
			b = appendPair(b, fieldCookies, name, value)
		}
	}
	return b
}

// nextCookie cuts the first cookie off a Cookie line. It is not ok when it is none, or is badly escaped.
func nextCookie(line string) (name, value, rest string, ok bool) {
	part, rest, _ := strings.Cut(line, ";")
	name, value, _ = strings.Cut(strings.Trim(part, " \t"), "=")
	name = strings.TrimRight(name, " \t")
	value = strings.Trim(value, " \t")
	if !httpguts.ValidHeaderFieldName(name) {
		return "", "", rest, false
	}
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	if strings.ContainsAny(value, "%+") {
		unescaped, err := url.QueryUnescape(value)
		if err != nil {
			return "", "", rest, false
		}
		value = unescaped
	}
	return name, value, rest, true
}

// appendEntry appends an entry of a map of name to HeaderValue.
func appendEntry(b []byte, field int, name string, values []string) []byte {
	inner := 0
	for _, v := range values {
		inner += sizeOf(len(v))
	}
	b = appendTag(b, field, sizeOf(len(name))+sizeOf(inner))
	b = appendText(b, 1, name)
	b = appendTag(b, 2, inner)
	for _, v := range values {
		b = appendTag(b, 1, len(v))
		b = append(b, v...)
	}
	return b
}

// appendPair is appendEntry for a single value.
func appendPair(b []byte, field int, name, value string) []byte {
	inner := sizeOf(len(value))
	b = appendTag(b, field, sizeOf(len(name))+sizeOf(inner))
	b = appendText(b, 1, name)
	b = appendTag(b, 2, inner)
	b = appendTag(b, 1, len(value))
	return append(b, value...)
}

// appendText appends a string field. Empty ones are written too: a decoder reads the same with and without them, and sizes stay simple.
func appendText(b []byte, field int, s string) []byte {
	b = appendTag(b, field, len(s))
	return append(b, s...)
}

// appendTag appends the tag and length of a field of n bytes.
func appendTag(b []byte, field, n int) []byte {
	b = append(b, byte(field)<<3|wireBytes)
	return binary.AppendUvarint(b, uint64(n))
}

// sizeOf is what a field of n bytes takes with its tag and length. Field numbers here are below 16, so tags take one byte.
func sizeOf(n int) int { return 1 + (bits.Len64(uint64(n)|1)+6)/7 + n }
