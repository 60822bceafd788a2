package abi

// CtxNext is what handle_request returns.
//
//	bits 63…32  reqCtx: any number; handle_response gets it back
//	bits 31…0   next: 0 ends the chain, anything else passes the request on
//
//	0            the guest answered by itself
//	1            pass on, reqCtx 0
//	16<<32 | 1   pass on, reqCtx 16
type CtxNext uint64

// Next passes the request on with reqCtx.
func Next(reqCtx uint32) CtxNext { return CtxNext(reqCtx)<<32 | 1 }

// Done ends the chain.
const Done CtxNext = 0

// Passes reports whether the request goes on.
func (c CtxNext) Passes() bool { return uint32(c) != 0 }

// ReqCtx is the number for handle_response.
func (c CtxNext) ReqCtx() uint32 { return uint32(c >> 32) }

// CountLen describes a list of NUL-terminated strings.
//
//	bits 63…32  count: how many strings
//	bits 31…0   len: how many bytes they take, NULs included
//
//	no strings                            0
//	"accept\0"                            1<<32 | 7
//	"content-type\0content-length\0"      2<<32 | 28
type CountLen uint64

// PackCountLen packs a count and a length.
func PackCountLen(count, length uint32) CountLen { return CountLen(count)<<32 | CountLen(length) }

// Count is the number of strings.
func (c CountLen) Count() uint32 { return uint32(c >> 32) }

// Len is the number of bytes.
func (c CountLen) Len() uint32 { return uint32(c) }

// EOFLen is what read_body returns.
//
//	bits 63…32  eof: 1 when the body ends after these bytes
//	bits 31…0   len: how many bytes were read
//
//	0<<32 | 16   16 bytes, more may follow
//	1<<32 | 16   16 bytes, the last ones
//	1<<32 | 0    nothing left
type EOFLen uint64

// PackEOFLen packs an end mark and a length.
func PackEOFLen(eof bool, length uint32) EOFLen {
	if eof {
		return 1<<32 | EOFLen(length)
	}
	return EOFLen(length)
}

// EOF reports whether the body ends here.
func (e EOFLen) EOF() bool { return e>>32 != 0 }

// Len is the number of bytes read.
func (e EOFLen) Len() uint32 { return uint32(e) }

// SplitList calls yield with each string of a list as the host packed it, until yield returns false. A last string without
// its NUL is given too.
func SplitList(list []byte, yield func([]byte) bool) {
	for len(list) > 0 {
		end := 0
		for end < len(list) && list[end] != 0 {
			end++
		}
		if !yield(list[:end:end]) || end == len(list) {
			return
		}
		list = list[end+1:]
	}
}
