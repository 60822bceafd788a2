package httpcache

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const (
	// maxVary is by how many headers answers of one URL may differ. Of more they are not stored.
	maxVary = 32

	// cookieVary is what stands before the name of a cookie in a list of headers.
	cookieVary = "cookie:"
)

// varyNames reads the lines of Vary into a sorted list without doubles. ok is false for *, which no request matches (RFC 9111,
// section 4.1), for what is no header, and for too many.
func varyNames(lines []string) (names []string, ok bool) {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			name := trim(part)
			if name == "" {
				continue
			}
			if name == "*" || !httpguts.ValidHeaderFieldName(name) || len(names) > maxVary {
				return nil, false
			}
			names = append(names, http.CanonicalHeaderKey(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), len(names) <= maxVary
}

// union merges sorted lists.
func union(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	both := slices.Concat(a, b)
	slices.Sort(both)
	return slices.Compact(both)
}

// A variant tells the requests apart for which one URL has several answers.
type variant [16]byte

// variantOf is the variant of a request, by the headers in names.
func variantOf(h http.Header, names []string) variant {
	sum := sha256.New()
	var buf [512]byte
	b := buf[:0]
	for _, name := range names {
		b = append(append(b, name...), 0)
		at := len(b)
		b = append(b, 0, 0, 0, 0, 0) // whether it is there, and how long it is
		if cookie, ok := strings.CutPrefix(name, cookieVary); ok {
			b = appendCookie(b, h["Cookie"], cookie)
		} else {
			b = appendField(b, name, h[name])
		}
		if len(b) > at+5 || len(h[name]) > 0 {
			b[at] = 1
		}
		binary.BigEndian.PutUint32(b[at+1:], uint32(len(b)-at-5))
	}
	sum.Write(b)
	return variant(sum.Sum(buf[:0])[:16])
}

// appendField writes a header so that lines which mean the same are the same: lines joined, no space around commas, and no difference
// of case where there is none (RFC 9111, section 4.1).
func appendField(b []byte, name string, lines []string) []byte {
	lower := name == "Accept-Encoding" || name == "Accept-Language"
	for i, line := range lines {
		if i > 0 {
			b = append(b, ',')
		}
		first := true
		for part := range strings.SplitSeq(line, ",") {
			if !first {
				b = append(b, ',')
			}
			first = false
			part = trim(part)
			at := len(b)
			b = append(b, part...)
			if lower {
				for j := at; j < len(b); j++ {
					if b[j] >= 'A' && b[j] <= 'Z' {
						b[j] += 'a' - 'A'
					}
				}
			}
		}
	}
	return b
}

// appendCookie writes the values of a cookie, of which a client may send several.
func appendCookie(b []byte, lines []string, name string) []byte {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, ok := strings.Cut(trim(pair), "="); ok && key == name {
				b = append(append(b, value...), ';')
			}
		}
	}
	return b
}
