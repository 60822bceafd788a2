package php

import (
	"net/http"
	"strconv"
)

// The native context is a request in PHP's own serialization, which unserialize() reads in a fraction of the time that any other
// format takes in PHP. It has strings and arrays only, and the SDK unserializes it with allowed_classes=false. It is a list:
//
//	0 method      4 query                  8 attributes, serialized
//	1 scheme      5 path                   9 the form in the body: a nativeForm
//	2 protocol    6 host                  10 uploads: see nativeForm
//	3 remoteAddr  7 headers, serialized   11 nothing; once cookies
//	                                      12 the file that the body is in, or ""
//
// What most requests never look at (headers, attributes) is serialized a second time into a string: PHP copies it and reads it when
// somebody asks. Both are arrays of lists of strings. Cookies are in the headers only: PHP has rules of its own for them, too.
//
// Lengths and counts that are known only afterwards are written with a fixed number of digits; PHP skips leading zeros. A key that
// looks like an integer becomes one in PHP's arrays whoever fills them, unserialize() too.
const (
	// nativeNumber is how wide a number is that is filled in later. Headers are bounded far below (http.limits.header_bytes).
	nativeNumber = 9

	// noBodyFile is how every context ends until a file is named.
	noBodyFile = `i:12;s:0:"";}`
)

// nativeForm says what of a form the server has parsed.
type nativeForm string

const (
	formNone   nativeForm = ""  // nothing: the body is what the client sent
	formTree   nativeForm = "1" // the body is a JSON tree and so are the uploads, as for RoadRunner's workers: the request was theirs first
	formFields nativeForm = "2" // multipart: see nativeParts
)

// appendNative appends the native context of r. See appendContext.
func appendNative(b []byte, r *http.Request, form nativeForm, uploads []byte) []byte {
	scheme, host, path := uriParts(r)
	b = appendPHPString(append(b, "a:13:{i:0;"...), r.Method)
	b = appendPHPString(append(b, "i:1;"...), scheme)
	b = appendPHPString(append(b, "i:2;"...), r.Proto)
	b = appendPHPString(append(b, "i:3;"...), remoteIP(r.RemoteAddr))
	b = appendPHPString(append(b, "i:4;"...), cleanQuery(r.URL.RawQuery))
	b = appendPHPString(append(b, "i:5;"...), path)
	b = appendPHPString(append(b, "i:6;"...), host)
	b = appendNativeHeaders(append(b, "i:7;"...), r.Header)
	b = appendNativeAttributes(append(b, "i:8;"...), attributesOf(r))
	b = appendPHPString(append(b, "i:9;"...), form)
	b = appendPHPString(append(b, "i:10;"...), uploads)
	return append(append(b, `i:11;s:0:"";`...), noBodyFile...)
}

// appendNativeBodyFile names the file that the body is in.
func appendNativeBodyFile(b []byte, name string) []byte {
	b = append(b[:len(b)-len(noBodyFile)], "i:12;"...)
	b = appendPHPString(b, name)
	return append(b, '}')
}

// appendNativeHeaders appends the headers as an array in a string.
func appendNativeHeaders(b []byte, h http.Header) []byte {
	n := len(h)
	if _, ok := h["Host"]; ok {
		n--
	}
	if n <= 0 {
		return append(b, `s:0:"";`...)
	}
	b, start := openPHPString(b)
	b = appendPHPArray(b, n)
	for name, values := range h {
		if name == "Host" {
			continue
		}
		b = appendPHPString(b, name)
		b = appendPHPArray(b, len(values))
		for i, v := range values {
			b = append(strconv.AppendInt(append(b, "i:"...), int64(i), 10), ';')
			b = appendPHPString(b, v)
		}
		b = append(b, '}')
	}
	return closePHPString(append(b, '}'), start)
}

// appendNativeAttributes appends the attributes as an array in a string.
func appendNativeAttributes(b []byte, list []attribute) []byte {
	if len(list) == 0 {
		return append(b, `s:0:"";`...)
	}
	b, start := openPHPString(b)
	b = appendPHPArray(b, len(list))
	for _, a := range list {
		b = appendPHPString(b, a.name)
		b = appendPHPArray(b, len(a.values))
		for i, v := range a.values {
			b = append(strconv.AppendInt(append(b, "i:"...), int64(i), 10), ';')
			b = appendPHPString(b, v)
		}
		b = append(b, '}')
	}
	return closePHPString(append(b, '}'), start)
}

// appendPHPArray appends the beginning of an array of n entries.
func appendPHPArray(b []byte, n int) []byte {
	b = strconv.AppendInt(append(b, "a:"...), int64(n), 10)
	return append(b, ":{"...)
}

// appendPHPString appends a string, of whatever bytes.
func appendPHPString[T ~string | []byte](b []byte, s T) []byte {
	b = strconv.AppendInt(append(b, "s:"...), int64(len(s)), 10)
	b = append(b, ':', '"')
	b = append(b, s...)
	return append(b, '"', ';')
}

// openPHPString begins a string of a length that closePHPString knows.
func openPHPString(b []byte) (_ []byte, start int) {
	b = append(b, `s:000000000:"`...)
	return b, len(b)
}

func closePHPString(b []byte, start int) []byte {
	end := start - len(`:"`)
	putNumber(b[end-nativeNumber:end], len(b)-start)
	return append(b, '"', ';')
}

// putNumber overwrites the zeros in b with a number.
func putNumber(b []byte, n int) {
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}
