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
		for offer := range strings.SplitSeq(line, ",") {
			if mode, answer, ok := acceptOffer(offer); ok {
				return mode, answer
			}
		}
	}
	return deflateMode{}, ""
}

func acceptOffer(offer string) (deflateMode, string, bool) {
	params := strings.Split(offer, ";")
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
	tail    bytes.Reader
	both    io.Reader
	inflate io.ReadCloser
}

// inflaters holds *inflater.
var inflaters = sync.Pool{New: func() any {
	f := &inflater{}
	f.inflate = flate.NewReader(nil)
	return f
}}

// streamTail gives back what was left out, and an empty last block, so that the decompressor sees an end.
var streamTail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

var errInflate = &frameError{CloseInvalidPayload, "the compressed message is not valid"}

// inflate decompresses a message. It stops where the message gets larger than limit, or is no text, however much would follow.
func inflate(compressed []byte, limit int, text bool) (*[]byte, error) {
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.in.Reset(compressed)
	f.tail.Reset(streamTail)
	f.both = io.MultiReader(&f.in, &f.tail)
	_ = f.inflate.(flate.Resetter).Reset(f.both, nil)

	var check textCheck
	out := messages.Get().(*[]byte)
	for {
		if len(*out) == cap(*out) {
			*out = slices.Grow(*out, max(firstChunk, len(*out)))
		}
		room := (*out)[len(*out):min(cap(*out), limit+1)]
		n, err := f.inflate.Read(room)
		*out = (*out)[:len(*out)+n]
		switch {
		case len(*out) > limit:
			putMessage(out)
			return nil, &frameError{CloseTooBig, "the message is too big"}
		case text && !check.next(room[:n]):
			putMessage(out)
			return nil, errText
		case err == io.EOF && text && !check.complete():
			putMessage(out)
			return nil, errText
		case err == io.EOF && f.tail.Len() > len(streamTail)-len(flushTail):
			// A block that says it is the last one may end the stream early; nothing may follow it.
			if f.in.Len() > 0 {
				putMessage(out)
				return nil, errInflate
			}
			return out, nil
		case err == io.EOF:
			return out, nil
		case err != nil:
			putMessage(out)
			return nil, errInflate
		}
	}
}
