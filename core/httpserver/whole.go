package httpserver

import (
	"context"
	"net"
	"net/http"
)

const (
	// wholeFrom is how long a body is of which net/http certainly sends a part together with the head, and the rest after it.
	wholeFrom = 8 << 10
	// headMost is what net/http's buffer holds: the most that it writes before such a body's rest.
	headMost = 4 << 10
)

// WriteWhole writes a whole body. net/http fills a small buffer with the head of the answer and the beginning of a large body, sends
// that, and then the rest. The client would be woken twice, the first time for little; here both leave in one write.
func WriteWhole(w http.ResponseWriter, r *http.Request, body []byte) (int, error) {
	if len(body) < wholeFrom || r.ProtoMajor != 1 {
		return w.Write(body)
	}
	c, ok := r.Context().Value(connKey{}).(*plainConn)
	if !ok {
		return w.Write(body)
	}
	c.gather = gathering
	n, err := w.Write(body)
	if rest := c.endGathering(); err == nil {
		err = rest
	}
	return n, err
}

// connKey is under which the context of a request has its *plainConn.
type connKey struct{}

// connContext lets WriteWhole find the connection. TLS cuts what it sends into records anyhow.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*plainConn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// gatherState says what Write does. It is the handler's, whose goroutine is the only one that writes while it has the turn.
type gatherState uint8

const (
	notGathering gatherState = iota
	gathering                // the next write is kept, if it is short
	gathered                 // one is kept, and leaves with the next
)

// Write keeps the head of an answer back until the body is there: see WriteWhole.
func (c *plainConn) Write(p []byte) (int, error) {
	switch {
	case c.gather == gathering && len(p) <= headMost:
		c.kept = append(c.kept[:0], p...)
		c.gather = gathered
		return len(p), nil
	case c.gather == gathered:
		c.gather = notGathering
		n, err := c.stall.writeTwo(c.kept, p)
		return max(n-len(c.kept), 0), err
	}
	c.gather = notGathering
	return c.Conn.Write(p)
}

// endGathering sends what nothing followed.
func (c *plainConn) endGathering() error {
	state := c.gather
	c.gather = notGathering
	if state != gathered {
		return nil
	}
	_, err := c.stall.Write(c.kept)
	return err
}
