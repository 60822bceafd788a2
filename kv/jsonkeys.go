package kv

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// NotUTF8 implements rpc.JSONChecker: two keys whose bytes are no text would be one.
func (r *Request) NotUTF8(arg []byte) error { return notUTF8(arg) }

// NotUTF8 implements rpc.JSONChecker.
func (o *Op) NotUTF8(arg []byte) error { return notUTF8(arg) }

// notUTF8 names the text in which the first byte is that is not UTF-8.
func notUTF8(arg []byte) error {
	at := 0
	for at < len(arg) {
		r, n := utf8.DecodeRune(arg[at:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		at += n
	}
	const shown = 64
	begin := max(bytes.LastIndexByte(arg[:at], '"')+1, at-shown)
	end := min(len(arg), at+shown)
	if i := bytes.IndexByte(arg[at:end], '"'); i >= 0 {
		end = at + i
	}
	return fmt.Errorf("%q is not UTF-8, and JSON has no other texts: for keys of any bytes call with the codec PROTO, as sdk/php does", arg[begin:end])
}
