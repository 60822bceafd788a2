package php

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"sync/atomic"

	"github.com/edge-server/edge/internal/frame"
)

// A large answer costs most where its bytes change hands: a pipe takes a page from the kernel for every 4 KiB, and gives it back.
// So a worker of sdk/php has some memory in common with the server, as a file without a name. PHP writes the body there, and its
// frame only says how long it is; from there it is written to the client. The memory is cut into slots. A request names the slot that
// is free for its answer, in the upper half of the header's stream byte, and the answer repeats the name when PHP has used it. Without
// a free one, or with a body that is smaller or larger, the body is in the frame as ever.
//
// PHP can write there at any time, of course, as it can to a pipe: it spoils its own answers. It cannot make the file shorter.

const (
	// sharedSlots is how many answers of a worker may be on their way: as many as requests may lie in its pipe.
	sharedSlots = maxAhead
	// slotSize is the largest body in a slot.
	slotSize = 128 << 10
	// sharedLength is how many bytes say how long the body is.
	sharedLength = 4
	// slotShift is where in the stream byte a slot is named: 1 is the first.
	slotShift = 4
)

// featureShared is announced by workers that found the memory.
const featureShared = "shared"

// shared is the memory that a worker has in common with the server. It is unmapped when the worker is gone and the last answer written.
type shared struct {
	mem     []byte
	holders atomic.Int32  // the worker, and answers that are being written
	held    atomic.Uint32 // bit n: slot n+1 has an answer that is being written
}

// place tells the worker where the memory is: its descriptor, and how it is cut.
func (*shared) place(fd int) string {
	return "EDGE_SHARED=" + strconv.Itoa(fd) + ":" + strconv.Itoa(sharedSlots) + ":" + strconv.Itoa(slotSize)
}

// free names a slot that neither a request of the flight has nor an answer, or 0. Pool.mu is held.
func (s *shared) free(flight []*job) byte {
	if s == nil {
		return 0
	}
	taken := s.held.Load()
	for _, j := range flight {
		taken |= 1 << j.slot >> 1
	}
	if n := bits.TrailingZeros32(^taken); n < sharedSlots {
		return byte(n + 1)
	}
	return 0
}

// hold keeps a slot for as long as its answer is being written.
func (s *shared) hold(slot byte) {
	s.holders.Add(1)
	s.held.Or(1 << (slot - 1))
}

func (s *shared) drop(slot byte) {
	s.held.And(^uint32(1 << (slot - 1)))
	s.leave()
}

// leave is for the last one to unmap the memory.
func (s *shared) leave() {
	if s != nil && s.holders.Add(-1) == 0 {
		unmap(s.mem)
	}
}

// slotOf is the slot that a header names.
func slotOf(h frame.Header) byte { return h.Stream >> slotShift }

// bodyIn returns the body of which the end of a payload gives the length.
func (s *shared) bodyIn(slot byte, length []byte) ([]byte, error) {
	if s == nil || slot > sharedSlots || len(length) != sharedLength {
		return nil, fmt.Errorf("%w: slot %d, with %d bytes in place of the length", ErrBadAnswer, slot, len(length))
	}
	n := binary.LittleEndian.Uint32(length)
	if n > slotSize {
		return nil, fmt.Errorf("%w: %d bytes in a slot of %d", ErrBadAnswer, n, slotSize)
	}
	from := int(slot-1) * slotSize
	return s.mem[from : from+int(n) : from+int(n)], nil
}
