package ws

import (
	"sync/atomic"
	"time"
)

// Seldom is for a line of the log that may be due a thousand times a second: Now is true once in that time.
type Seldom struct{ last atomic.Int64 } // Unix nanoseconds

// Now reports whether the line is to be written.
func (s *Seldom) Now() bool {
	last, now := s.last.Load(), time.Now().UnixNano()
	return now-last >= int64(time.Second) && s.last.CompareAndSwap(last, now)
}
