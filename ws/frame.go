package ws

import (
	"encoding/binary"
	"fmt"
)

// What the first two bytes of a frame say (RFC 6455, 5.2).
const (
	opContinuation byte = 0x0
	opText         byte = 0x1
	opBinary       byte = 0x2
	opClose        byte = 0x8
	opPing         byte = 0x9
	opPong         byte = 0xA

	bitFin  byte = 0x80
	bitRSV1 byte = 0x40
	bitRSV  byte = 0x30 // RSV2 and RSV3: no extension of ours uses them
	bitMask byte = 0x80

	maxHead    = 14
	maxControl = 125
)

// frameHead is the head of a client's frame.
type frameHead struct {
	op         byte
	fin        bool
	compressed bool // RSV1
	length     int64
	mask       uint32
}

func (h *frameHead) control() bool { return h.op&0x8 != 0 }

// frameError is a breach of the protocol, and the code that answers it.
type frameError struct {
	code   CloseCode
	reason string
}

func (e *frameError) Error() string { return fmt.Sprintf("%d: %s", e.code, e.reason) }

func broken(reason string) *frameError { return &frameError{CloseProtocolError, reason} }

// headLength tells how long a head is whose first two bytes are in b, or what is wrong with them already.
func headLength(b []byte) (int, *frameError) {
	switch op := b[0] & 0x0f; {
	case b[0]&bitRSV != 0:
		return 0, broken("a reserved bit is set")
	case op > opBinary && op < opClose || op > opPong:
		return 0, broken("unknown opcode")
	case b[1]&bitMask == 0:
		return 0, broken("a client's frame must be masked")
	case op >= opClose && b[0]&bitFin == 0:
		return 0, broken("a fragmented control frame")
	case op >= opClose && b[0]&bitRSV1 != 0:
		return 0, broken("a compressed control frame")
	case op >= opClose && b[1]&0x7f > maxControl:
		return 0, broken("a control frame of more than 125 bytes")
	}
	switch b[1] & 0x7f {
	case 126:
		return 8, nil
	case 127:
		return 14, nil
	}
	return 6, nil
}

// parseHead reads a whole head, of the length that headLength told.
func parseHead(b []byte) (frameHead, *frameError) {
	h := frameHead{op: b[0] & 0x0f, fin: b[0]&bitFin != 0, compressed: b[0]&bitRSV1 != 0, length: int64(b[1] & 0x7f)}
	h.mask = binary.LittleEndian.Uint32(b[len(b)-4:])
	switch h.length {
	case 126:
		if h.length = int64(binary.BigEndian.Uint16(b[2:])); h.length < 126 {
			return h, broken("a length that is not in its shortest form")
		}
	case 127:
		n := binary.BigEndian.Uint64(b[2:])
		if n>>63 != 0 {
			return h, broken("a length beyond 63 bits")
		}
		if h.length = int64(n); h.length < 1<<16 {
			return h, broken("a length that is not in its shortest form")
		}
	}
	return h, nil
}

// unmask decodes a piece of a payload in place and returns the mask for what follows it.
func unmask(b []byte, mask uint32) uint32 {
	wide := uint64(mask)<<32 | uint64(mask)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(mask)
		mask = mask>>8 | mask<<24
	}
	return mask
}
