package httpserver

import (
	"net/http"
	"sync/atomic"
	"time"
)

// net/http and quic-go start a goroutine for each stream, with a small stack. On its way through middleware and plugins it would outgrow that
// two or three times, and each time the runtime visits every frame there is: a tenth of the time of a small answer. So there is room for the
// usual way at once, while there are few frames. What needs more grows as ever.

// deepen makes room for a request of this version of HTTP. quic-go has used more of the stack by then.
func deepen(version int) {
	switch version {
	case 2:
		deepenBy5K(version)
	case 3:
		deepenBy10K(version)
	}
}

//go:noinline
func deepenBy5K(at int) byte {
	var room [5 << 10]byte
	return room[at&1023]
}

//go:noinline
func deepenBy10K(at int) byte {
	var room [10 << 10]byte
	return room[at&1023]
}

// dateHeader is Date, which all answers of a second share.
type dateHeader struct{ now atomic.Pointer[datedSecond] }

type datedSecond struct {
	second int64
	header []string
}

func (d *dateHeader) get(now time.Time) []string {
	second := now.Unix()
	if last := d.now.Load(); last != nil && last.second == second {
		return last.header
	}
	next := &datedSecond{second, []string{now.UTC().Format(http.TimeFormat)}}
	d.now.Store(next)
	return next.header
}
