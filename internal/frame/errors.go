package frame

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrHeader means bytes with a valid checksum and an impossible version or length.
var ErrHeader = errors.New("frame header has an unknown version or length")

const (
	// notFoundPrefix is how PHP begins "Could not open input file: …", which it writes to its standard output.
	notFoundPrefix = "Could not op"
	// maxJunk is how much of what is not a frame an error carries.
	maxJunk = 4 << 10
)

// JunkError means that the peer sent something that is not a frame, which is nearly always text that a script echoed.
type JunkError struct {
	Junk []byte // the beginning of it
}

// NotFound reports whether the junk is PHP's message about a script that does not exist.
func (e *JunkError) NotFound() bool { return bytes.HasPrefix(e.Junk, []byte(notFoundPrefix)) }

func (e *JunkError) Error() string {
	if e.NotFound() {
		return fmt.Sprintf("the script was not found: %q", bytes.TrimSpace(e.Junk))
	}
	return fmt.Sprintf("validation failed on the message sent to STDOUT: output of the script where a frame should be: %q", e.Junk)
}

// SizeError means a payload beyond the Reader's limit.
type SizeError struct {
	Size, Limit uint32
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("frame of %d bytes is over the limit of %d", e.Size, e.Limit)
}
