package ws

// Control frames are queued as messages are.

func controlFrame(op byte, payload []byte) *Prepared {
	p := &Prepared{plain: make([]byte, 0, 2+len(payload)), head: 2}
	p.plain = append(append(p.plain, op|bitFin, byte(len(payload))), payload...)
	return p
}

// closeFrame is empty for codes that are not for the wire.
func closeFrame(code CloseCode, reason string) *Prepared {
	if code == CloseNoStatus || code == CloseAbnormal || code == 0 {
		return controlFrame(opClose, nil)
	}
	return controlFrame(opClose, append([]byte{byte(code >> 8), byte(code)}, reason...))
}

// closable reports whether a code may be in a close frame (RFC 6455, 7.4 and the IANA registry).
func closable(code CloseCode) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code < 1000 || code > 1014:
		return false
	}
	return code != 1004 && code != CloseNoStatus && code != CloseAbnormal
}
