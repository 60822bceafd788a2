package httpserver

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

// h1Conn is a connection as net/http's HTTP/1 server sees it. It hands on the client's bytes behind a scanner, never more than
// to the end of one message at a time, so that net/http's buffer is empty between two messages and a handler that hijacks the
// connection gets every byte behind its request as it came.
//
// A refused message is spoilt in place: a zero byte replaces the line feed of the offending line and an empty line follows.
// net/http answers that with 400, after the answers to earlier requests, and closes.
type h1Conn struct {
	net.Conn // the stallConn, or the *tls.Conn over it
	owner    h1Owner
	stall    *stallConn

	// Of the reader. net/http has at most one, and lets one end before the next begins.
	scanner   scanner
	begun     bool   // the first bytes have come
	pending   []byte // received, behind the end of the last message handed on
	ending    []byte // what is left of brokenEnding to hand on
	broken    error  // what every Read returns once ending is empty
	bodyUntil time.Time
	bodyArmed time.Time

	mu         sync.Mutex // guards what follows
	reading    bool
	called     bool // net/http has called the reader back, with a deadline in the past
	readFailed bool
	want       time.Time // the read deadline that was asked for
	applied    time.Time // the one the socket has
	foreign    bool      // not HTTP/1 any more: everything passes
}

// h1Owner is what a connection tells its listener.
type h1Owner interface {
	bodyTimeout() time.Duration
	began(*h1Conn)   // the first bytes are there
	refuse(refusal)  // the client was refused
	stopsHard() bool // nobody waits for what clients still have to say
}

// brokenEnding ends the line and the head that a zero byte has spoilt.
const brokenEnding = "\r\n\r\n"

// plainConn adds what net/http looks for in a connection without TLS.
type plainConn struct {
	h1Conn

	gather gatherState // see WriteWhole
	kept   []byte
}

// secureConn adds what net/http looks for in a connection with TLS.
type secureConn struct {
	h1Conn
	tls *tls.Conn
}

func newPlainConn(conn *stallConn, owner h1Owner, h2c bool) *plainConn {
	c := &plainConn{h1Conn: h1Conn{Conn: conn, stall: conn, owner: owner}}
	c.scanner.h2c = h2c
	return c
}

func newSecureConn(conn *tls.Conn, stall *stallConn, owner h1Owner) *secureConn {
	return &secureConn{h1Conn{Conn: conn, stall: stall, owner: owner}, conn}
}

// ReadFrom lets net/http send files by the kernel.
func (c *plainConn) ReadFrom(src io.Reader) (int64, error) { return c.stall.ReadFrom(src) }

// CloseWrite tells the client that the answer ends here.
func (c *plainConn) CloseWrite() error { return c.stall.CloseWrite() }

// ConnectionState becomes http.Request.TLS.
func (c *secureConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// CloseWrite tells the client that the answer ends here.
func (c *secureConn) CloseWrite() error { return c.tls.CloseWrite() }

// Read hands on bytes of at most one message.
func (c *h1Conn) Read(p []byte) (int, error) {
	switch {
	case len(c.ending) > 0:
		n := copy(p, c.ending)
		c.ending = c.ending[n:]
		return n, nil
	case c.broken != nil:
		return 0, c.broken
	case len(c.pending) > 0:
		return c.readPending(p)
	case c.scanner.state == inForeign || len(p) == 0:
		return c.Conn.Read(p)
	}
	c.beginRead()
	n, err := c.Conn.Read(p)
	c.endRead(err)
	if n == 0 {
		if err != nil && c.scanner.amidBody() {
			// net/http may go on after that, and would take what comes after all for the next request.
			c.broken = err
		}
		return 0, err
	}
	if !c.begun {
		c.begun = true
		c.owner.began(c)
	}
	k := c.scan(p[:n])
	if k < n && c.broken == nil {
		c.pending = bytes.Clone(p[k:n])
	}
	return k, nil
}

func (c *h1Conn) readPending(p []byte) (int, error) {
	n := copy(p, c.pending)
	if c.scanner.state != inForeign {
		n = c.scan(p[:n])
	}
	if c.broken != nil || n == len(c.pending) {
		c.pending = nil // the next read may be long in coming
	} else {
		c.pending = c.pending[n:]
	}
	return n, nil
}

// scan returns how much of p to hand on, spoilt if need be.
func (c *h1Conn) scan(p []byte) int {
	n, why := c.scanner.scan(p)
	if why != refusedNot {
		p[n-1] = 0
		c.breakOff(why, io.EOF)
		c.ending = []byte(brokenEnding)
	}
	if c.scanner.state == inForeign {
		c.letPass()
	}
	return n
}

// breakOff ends the stream of bytes that net/http sees.
func (c *h1Conn) breakOff(why refusal, err error) {
	c.broken, c.pending = err, nil
	c.owner.refuse(why)
}

// idle is called when net/http is done with a request and waits for the next one: a message must have ended.
func (c *h1Conn) idle() {
	if c.scanner.state != inRequestLine && c.scanner.state != inForeign && c.broken == nil {
		c.breakOff(refusedDesync, io.EOF)
	}
}

// hijacked is called when a handler has taken the connection over.
func (c *h1Conn) hijacked() {
	c.scanner.state = inForeign
	c.letPass()
	c.stall.release()
}

// letPass makes deadlines take effect at once, as everyone but net/http's HTTP/1 server expects.
func (c *h1Conn) letPass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign = true
	c.applyDeadline(c.want)
}

// beginRead gives the socket the deadline that holds for this read: the one that was asked for or, amid a body without one,
// the body timeout. net/http changes its mind several times between two reads; only the last word counts.
func (c *h1Conn) beginRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = true
	deadline := c.want
	if deadline.IsZero() && c.scanner.amidBody() {
		deadline = c.bodyDeadline()
	}
	c.applyDeadline(deadline)
}

func (c *h1Conn) endRead(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	if err != nil && !c.called {
		c.readFailed = true
	}
	c.called = false
}

func (c *h1Conn) bodyDeadline() time.Time {
	timeout := c.owner.bodyTimeout()
	if timeout == 0 {
		return time.Time{}
	}
	if now := time.Now(); now.Sub(c.bodyArmed) > coarse(timeout) {
		c.bodyArmed, c.bodyUntil = now, now.Add(timeout)
	}
	return c.bodyUntil
}

func (c *h1Conn) applyDeadline(t time.Time) {
	if t != c.applied {
		c.applied = t
		c.Conn.SetReadDeadline(t)
	}
}

// SetReadDeadline takes effect at once on a Read that is under way, else with the next one.
func (c *h1Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.want = t
	if c.foreign {
		c.applied = t
		return c.Conn.SetReadDeadline(t)
	}
	if c.reading {
		c.called = !t.IsZero() && t.Unix() <= 1
		c.applyDeadline(t)
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *h1Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetWriteDeadline(t)
}

const (
	lingerTime  = 200 * time.Millisecond
	lingerBytes = 256 << 10
)

// Close closes the connection. A client that still sends would be reset, often before it has read its last answer; so when
// it is net/http that ends an exchange, the client is heard out for a moment.
func (c *h1Conn) Close() error {
	if c.mayLinger() {
		if s, ok := c.Conn.(*tls.Conn); ok {
			s.CloseWrite()
		}
		c.stall.CloseWrite()
		c.stall.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, struct{ io.Reader }{c.stall.TCPConn}, lingerBytes)
	}
	return c.Conn.Close()
}

// mayLinger says no when the client has gone or has been silent for too long, and when it is a stop that closes the
// connection: it does so while net/http waits in Read, or in a hurry.
func (c *h1Conn) mayLinger() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	linger := !c.reading && !c.readFailed && !c.foreign && !c.owner.stopsHard()
	c.readFailed = true // for the next Close
	return linger
}
