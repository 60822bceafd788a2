package httpserver

import "time"

// pace is how quickly a body comes. What counts is the time in which a handler waited for it: a slow handler is not a slow client.
type pace struct {
	waited time.Duration
	bytes  int64
}

// tooSlow notes a read, and reports whether the client sends so little at a time that it only wants to be waited for. It has body_timeout to
// get going.
func (p *pace) tooSlow(took time.Duration, n int, l *Limits) bool {
	p.waited += took
	p.bytes += int64(n)
	return l.BodyRate > 0 && l.BodyTimeout > 0 && p.waited > l.BodyTimeout && float64(p.bytes) < float64(l.BodyRate)*p.waited.Seconds()
}
