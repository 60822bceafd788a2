package ws

import (
	"encoding/binary"
	"sync/atomic"
)

// Kind is what a message carries.
type Kind uint8

// The kinds of messages, with the numbers they have on the wire (and in the ABI of plugins).
const (
	Text   Kind = 1 // UTF-8
	Binary Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Text:
		return "text"
	case Binary:
		return "binary"
	}
	return "unknown"
}

// Prepared is a message in the form in which it is sent, made once for all who get it. It is immutable.
type Prepared struct {
	kind  Kind
	head  uint8  // length of the frame's head
	plain []byte // the frame: head and payload

	// deflated is the same message for connections that negotiated compression: made when the first of them is written to.
	deflated atomic.Pointer[[]byte]
}

// Prepare makes a message. It takes a copy of payload, which must be UTF-8 when kind is Text: clients close a connection on which
// something else comes.
func Prepare(kind Kind, payload []byte) *Prepared { return prepare(kind, payload) }

// PrepareText is Prepare for a text.
func PrepareText(text string) *Prepared { return prepare(Text, text) }

func prepare[T string | []byte](kind Kind, payload T) *Prepared {
	p := &Prepared{kind: kind, plain: make([]byte, 0, headSize(len(payload))+len(payload))}
	p.plain = appendHead(p.plain, byte(kind)|bitFin, len(payload))
	p.head = uint8(len(p.plain))
	p.plain = append(p.plain, payload...)
	return p
}

// Kind is text or binary.
func (p *Prepared) Kind() Kind { return p.kind }

// Payload is what the message carries. It must not be changed.
func (p *Prepared) Payload() []byte { return p.plain[p.head:] }

// headSize is how long the head of an unmasked frame is.
func headSize(n int) int {
	switch {
	case n < 126:
		return 2
	case n < 1<<16:
		return 4
	}
	return 10
}

// appendHead writes the head of an unmasked frame (RFC 6455, 5.2).
func appendHead(to []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(to, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(to, first, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(to, first, 127), uint64(n))
}
