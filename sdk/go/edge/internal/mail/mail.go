// Package mail is the mailbox: the buffer that the server writes messages and arguments into.
package mail

var box []byte

// Get returns the first n bytes. They are valid until the export that runs returns.
func Get(n uint32) []byte { return box[:n:n] }

// room makes the mailbox at least want bytes large.
func room(want uint32) []byte {
	if want > uint32(len(box)) {
		box = make([]byte, max(want, 4096))
	}
	return box
}

// Put is for native tests: it does what the server does.
func Put(parts ...[]byte) {
	room(1 << 16)
	n := 0
	for _, part := range parts {
		n += copy(box[n:], part)
	}
}
