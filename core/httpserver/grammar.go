package httpserver

import (
	"bytes"
	"strings"
)

// tokenByte are the characters of header names (RFC 9110, 5.6.2).
var tokenByte = byteTable("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

// plainPathByte are the characters of paths that stand for themselves however a URL is written.
var plainPathByte = byteTable("-._~/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

// hostByte are the characters of registered names and IPv4 addresses (RFC 3986, 3.2.2).
var hostByte = byteTable("-._~!$&'()*+,;=%0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

// addressByte are the characters between the brackets of an IPv6 address, of which a zone may be part.
var addressByte = byteTable("0123456789abcdefABCDEF:.%-_~ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ")

// validHost accepts host or host:port. Empty labels are refused: others take them for different names.
func validHost(host string) bool {
	var port string
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 2 || !allOf(&addressByte, host[1:end]) {
			return false
		}
		port = host[end+1:]
		if port != "" && port[0] != ':' {
			return false
		}
		port = strings.TrimPrefix(port, ":")
	} else {
		var name string
		name, port, _ = strings.Cut(host, ":")
		if name == "" || name[0] == '.' || strings.Contains(name, "..") || !allOf(&hostByte, name) {
			return false
		}
	}
	for i := range len(port) {
		if !isDigit(port[i]) {
			return false
		}
	}
	return len(port) <= 5
}

func allOf(table *[256]bool, text string) bool {
	for i := range len(text) {
		if !table[text[i]] {
			return false
		}
	}
	return true
}

func byteTable(members string) (table [256]bool) {
	for _, c := range []byte(members) {
		table[c] = true
	}
	return table
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
