package ws

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
)

// deflateMode is what was agreed on about permessage-deflate (RFC 7692): always without context takeover, in both directions, so that
// a connection holds no window and a message is compressed once for all.
type deflateMode struct {
	on     bool
	window uint8 // the client's limit for our window, in bits; 15 is none
}

const fullWindow = 15

// negotiate finds the first offer of permessage-deflate that can be accepted, and the answer to it.
func negotiate(offers []string) (deflateMode, string) {
	for _, line := range offers {
		for _, offer := range splitUnquoted(line, ',') {
			if mode, answer, ok := acceptOffer(offer); ok {
				return mode, answer
			}
		}
	}
	return deflateMode{}, ""
}

func acceptOffer(offer string) (deflateMode, string, bool) {
	params := splitUnquoted(offer, ';')
	if strings.TrimSpace(params[0]) != "permessage-deflate" {
		return deflateMode{}, "", false
	}
	mode := deflateMode{on: true, window: fullWindow}
	answer := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	var seen []string
	for _, param := range params[1:] {
		name, value, valued := strings.Cut(strings.TrimSpace(param), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if slices.Contains(seen, name) {
			return deflateMode{}, "", false
		}
		seen = append(seen, name)
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if valued {
				return deflateMode{}, "", false
			}
		case "client_max_window_bits":
			if _, ok := windowBits(value); valued && !ok {
				return deflateMode{}, "", false
			}
		case "server_max_window_bits":
			bits, ok := windowBits(value)
			if !ok {
				return deflateMode{}, "", false
			}
			mode.window = bits
			answer += "; server_max_window_bits=" + strconv.Itoa(int(bits))
		default:
			return deflateMode{}, "", false
		}
	}
	return mode, answer, true
}

// splitUnquoted splits at separators that are not within a quoted string.
func splitUnquoted(text string, separator byte) (parts []string) {
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '"':
			quoted = !quoted
		case b == '\\' && quoted:
			i++
		case b == separator && !quoted:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

// windowBits reads 8 to 15, in quotes or not, without leading zeros.
func windowBits(text string) (uint8, bool) {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	n, err := strconv.ParseUint(text, 10, 8)
	return uint8(n), err == nil && n >= 8 && n <= fullWindow && text[0] != '0'
}

// wire is the message as it goes to a connection.
func (p *Prepared) wire(c *Conn) []byte {
	size := len(p.plain) - int(p.head)
	if !c.deflate.on || p.kind == 0 || size < int(c.endpoint.limits.CompressFrom) || size == 0 {
		return p.plain
	}
	if size > 1<<c.deflate.window {
		return p.plain // the only window we have could reach back further than the client looks
	}
	return p.compressed()
}

// compressed is the frame with a compressed payload, or the plain one when that is no longer.
func (p *Prepared) compressed() []byte {
	if b := p.deflated.Load(); b != nil {
		return *b
	}
	frame := deflate(p)
	if len(frame) >= len(p.plain) {
		frame = p.plain
	}
	p.deflated.Store(&frame)
	return frame
}

// deflaters holds *flate.Writer.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(io.Discard, flate.BestSpeed) // the level is valid
	return w
}}

// flushTail is what ends a flushed stream, and is left out on the wire (RFC 7692, 7.2.1).
var flushTail = []byte{0, 0, 0xff, 0xff}

func deflate(p *Prepared) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	_, _ = w.Write(p.Payload()) // into memory
	_ = w.Flush()
	body := bytes.TrimSuffix(out.Bytes(), flushTail)
	frame := make([]byte, 0, headSize(len(body))+len(body))
	frame = appendHead(frame, byte(p.kind)|bitFin|bitRSV1, len(body))
	return append(frame, body...)
}

// inflater is a decompressor with what it reads from.
type inflater struct {
	in      bytes.Reader
	inflate io.ReadCloser
}

// inflaters holds *inflater.
var inflaters = sync.Pool{New: func() any {
	f := &inflater{}
	f.inflate = flate.NewReader(&f.in)
	return f
}}

// streamTail gives back what was left out, and an empty last block, so that the decompressor sees an end.
var streamTail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

var errInflate = &frameError{CloseInvalidPayload, "the compressed message is not valid"}

const (
	inflateWindow = 32 << 10

	// maxLastBlocks is how many blocks of a message may say that they are the last one (RFC 7692, 7.2.1, allows some). What follows one of
	// them begins anew, and costs a copy of the window.
	maxLastBlocks = 64
)

// inflate decompresses a message with streamTail behind it. It stops where the message gets larger than limit, or is no text, however much would follow.
func inflate(compressed []byte, limit int, text bool) (*[]byte, error) {
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.in.Reset(compressed)
	defer f.in.Reset(nil)
	_ = f.inflate.(flate.Resetter).Reset(&f.in, nil)

	var check textCheck
	out := messages.Get().(*[]byte)
	for last := 0; ; {
		if len(*out) == cap(*out) {
			*out = slices.Grow(*out, max(firstChunk, len(*out)))
		}
		room := (*out)[len(*out):min(cap(*out), limit+1)]
		n, err := f.inflate.Read(room)
		*out = (*out)[:len(*out)+n]
		var breach *frameError
		switch {
		case len(*out) > limit:
			breach = &frameError{CloseTooBig, "the message is too big"}
		case text && !check.next(room[:n]):
			breach = errText
		case err == nil:
		case err != io.EOF:
			breach = errInflate
		case f.in.Len() == 0 || f.in.Len() == len(streamTail): // some send nothing behind a last block of their own
			if !text || check.complete() {
				return out, nil
			}
			breach = errText
		default:
			if last++; last > maxLastBlocks {
				breach = errInflate
				break
			}
			_ = f.inflate.(flate.Resetter).Reset(&f.in, (*out)[max(0, len(*out)-inflateWindow):])
		}
		if breach != nil {
			putMessage(out)
			return nil, breach
		}
	}
}
