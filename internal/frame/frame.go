package frame

import (
	"encoding/binary"
	"hash/crc32"
)

// HeaderLen is the size of a header without options.
const HeaderLen = 12

// MaxOptions is the largest number of options a frame can have.
const MaxOptions = 10

const (
	version      = 1
	minWords     = HeaderLen / 4
	maxWords     = minWords + MaxOptions
	crcOffset    = 6
	streamOffset = 10
	numberOffset = 11
)

// The flags of byte 1.
const (
	FlagControl byte = 0x01 // exchange of pids, stop command
	FlagRaw     byte = 0x04
	FlagJSON    byte = 0x08
	FlagMsgpack byte = 0x10
	FlagGob     byte = 0x20
	FlagError   byte = 0x40 // the payload is the text of an error
	FlagProto   byte = 0x80

	// CodecMask keeps the codec of a flag byte.
	CodecMask = FlagRaw | FlagJSON | FlagMsgpack | FlagGob | FlagProto
)

// The bits of byte 10, which drive streamed answers.
const (
	StreamMore byte = 0x01 // worker: another frame of this answer follows
	StreamStop byte = 0x02 // server: end the stream, nobody listens
	StreamPing byte = 0x04 // worker: answer with StreamPong before I go on
	StreamPong byte = 0x08
)

// Header is what a frame says about itself.
type Header struct {
	Flags   byte
	Stream  byte
	Number  byte   // of a request, repeated by its answer where both sides agreed on that; else 0
	Len     uint32 // bytes of payload
	NumOpts int
	opts    [MaxOptions]uint32
}

// Option returns option i, or 0 when the frame has fewer.
func (h *Header) Option(i int) uint32 {
	if i < 0 || i >= h.NumOpts {
		return 0
	}
	return h.opts[i]
}

// Is reports whether the flag is set.
func (h *Header) Is(flag byte) bool { return h.Flags&flag != 0 }

// Has reports whether the stream bit is set.
func (h *Header) Has(bit byte) bool { return h.Stream&bit != 0 }

// wordsOf is the length of the header that begins with b, in words; 0 when there is no such header.
func wordsOf(b []byte) int {
	words := int(b[0] & 0x0f)
	if b[0]>>4 != version || words < minWords || words > maxWords {
		return 0
	}
	return words
}

// headerOf decodes a header that is there whole.
func headerOf(b []byte, words int) Header {
	h := Header{
		Flags: b[1], Stream: b[streamOffset], Number: b[numberOffset],
		Len: binary.LittleEndian.Uint32(b[2:]), NumOpts: words - minWords,
	}
	for i := range h.NumOpts {
		h.opts[i] = binary.LittleEndian.Uint32(b[HeaderLen+4*i:])
	}
	return h
}

// Cut cuts the first frame off b. It is not ok when b does not begin with a whole frame.
func Cut(b []byte) (h Header, rest []byte, ok bool) {
	if len(b) < HeaderLen || binary.LittleEndian.Uint32(b[crcOffset:]) != checksum(b) {
		return Header{}, nil, false
	}
	words := wordsOf(b)
	if words == 0 || len(b) < 4*words {
		return Header{}, nil, false
	}
	h = headerOf(b, words)
	if uint64(len(b)-4*words) < uint64(h.Len) {
		return Header{}, nil, false
	}
	return h, b[4*words+int(h.Len):], true
}

// SetNumber puts a number into the header at the start of b.
func SetNumber(b []byte, number byte) { b[numberOffset] = number }

// SetStream puts stream bits into the header at the start of b.
func SetStream(b []byte, stream byte) { b[streamOffset] = stream }

// AppendHeader appends the header and options of a frame whose payload has payloadLen bytes.
// It panics on more than MaxOptions options: their number is written in the caller's source, not in foreign bytes.
func AppendHeader(dst []byte, flags, stream byte, payloadLen uint32, options ...uint32) []byte {
	if len(options) > MaxOptions {
		panic("frame: more than MaxOptions options")
	}
	start := len(dst)
	dst = append(dst, version<<4|byte(minWords+len(options)), flags)
	dst = binary.LittleEndian.AppendUint32(dst, payloadLen)
	dst = binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
	dst = append(dst, stream, 0)
	for _, o := range options {
		dst = binary.LittleEndian.AppendUint32(dst, o)
	}
	return dst
}

// AppendFrame appends a whole frame, ready for one write. The payload must be shorter than 4 GiB.
func AppendFrame(dst []byte, flags, stream byte, payload []byte, options ...uint32) []byte {
	dst = AppendHeader(dst, flags, stream, uint32(len(payload)), options...)
	return append(dst, payload...)
}

// Seal puts the payload length, and with it the checksum, into the header at the start of b. It is for frames that are
// built in place: AppendHeader with length 0, append the payload, Seal.
func Seal(b []byte, payloadLen uint32) {
	binary.LittleEndian.PutUint32(b[2:], payloadLen)
	binary.LittleEndian.PutUint32(b[crcOffset:], checksum(b))
}

// checksum covers the first six bytes of a header only. What hash/crc32 does before it looks at a byte takes longer than these six.
func checksum(header []byte) uint32 {
	sum := ^uint32(0)
	for _, b := range header[:crcOffset] {
		sum = crc32.IEEETable[byte(sum)^b] ^ sum>>8
	}
	return ^sum
}
