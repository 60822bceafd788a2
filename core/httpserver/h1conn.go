package httpserver

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// h1Conn is an HTTP/1 connection. One goroutine reads a request, runs the handler, sends the answer, and begins anew; the
// connection has no other goroutine unless a handler takes long (see watch).
//
// No deadline is set for a read: that would cost a request as much as a small write. The connection says what it waits for, in
// phase, and the listener's sweeper looks at all of them a few times a second.
type h1Conn struct {
	endpoint *endpoint
	conn     net.Conn // the stallConn, or the *tls.Conn over it
	stall    *stallConn
	tls      *tls.ConnectionState // nil without TLS

	remote string // the client's address
	plain  bool   // no TLS
	served bool   // there has been a request

	// What was received and not yet read is in[start:end].
	in         []byte
	start, end int
	head       headReader

	phase    atomic.Uint64 // what the connection waits for: see setPhase
	watched  chan struct{} // closed when the watch has ended; set before phase has watching
	current  atomic.Pointer[h1Exchange]
	readGone bool // the client has closed its side, or the connection is broken

	forgotten bool // the endpoint does not count it any more

	// Of the sweeper.
	index  int
	seen   uint64
	seenAt time.Time
}

const (
	firstInput = 4 << 10 // what a connection's buffer begins with
	keepInput  = 4 << 10 // a larger one is given back between requests
)

func newH1Conn(e *endpoint, conn net.Conn, stall *stallConn) *h1Conn {
	c := &h1Conn{endpoint: e, conn: conn, stall: stall, remote: conn.RemoteAddr().String(), plain: true}
	if secure, ok := conn.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls, c.plain = &state, false
	}
	return c
}

// The phases of a connection. The higher bits of h1Conn.phase count changes, so that the sweeper sees whether the connection
// still waits for the same thing.
const (
	phaseFresh   uint64 = iota // nothing has come yet
	phaseHead                  // a part of a head has come
	phaseBody                  // a handler waits for more of the body
	phaseBusy                  // a handler runs, and has not read its body to the end
	phaseHandler               // a handler runs, and nothing more is expected from the client
	phaseIdle                  // between two requests
	phaseOver                  // nothing is read any more, or somebody else reads

	phaseMask = 7
	watching  = 8  // a watch reads on behalf of the handler
	expired   = 16 // the sweeper has ended the wait
	phaseStep = 32
)

// setPhase says what comes next and returns the flags of what was.
func (c *h1Conn) setPhase(phase uint64) (flags uint64) {
	old := c.phase.Load()
	for !c.phase.CompareAndSwap(old, (old&^(phaseStep-1))+phaseStep+phase) { // the sweeper has set a flag
		old = c.phase.Load()
	}
	return old & (watching | expired)
}

// expire ends the wait that state describes, unless it is over: the reader gets a timeout.
func (c *h1Conn) expire(state uint64) bool {
	if !c.phase.CompareAndSwap(state, state|expired) {
		return false
	}
	c.conn.SetReadDeadline(time.Unix(1, 0))
	return true
}

// unexpire lets the connection be read again when flags say that the sweeper has ended a wait which something came for after all.
func (c *h1Conn) unexpire(flags uint64) {
	if flags&expired == 0 {
		return
	}
	c.endpoint.mu.Lock() // the sweeper has it until the deadline is set
	defer c.endpoint.mu.Unlock()
	c.conn.SetReadDeadline(time.Time{})
}

// serve lives as long as the connection.
func (c *h1Conn) serve() {
	c.in = inputs.get()
	defer c.leave()
	defer func() {
		if reason := recover(); reason != nil { // not of a handler, see run: a mistake here must not end the others
			c.endpoint.log.Error("http: panic in a connection", "remote", c.remote, "reason", reason, "stack", string(debug.Stack()))
		}
	}()
	for c.next() {
	}
}

// next serves one request and reports whether another may follow.
func (c *h1Conn) next() bool {
	r, why := c.readRequest()
	if why != nil {
		c.refuse(why)
		return false
	}
	if r == nil {
		return false // the client has gone, HTTP/2 has taken over, or the server stops
	}
	if !c.run(r) {
		return false
	}
	c.setPhase(phaseIdle)
	if c.endpoint.closes() { // since the answer went out
		c.linger()
		return false
	}
	if c.start == c.end && len(c.in) > keepInput {
		c.in, c.start, c.end = inputs.get(), 0, 0
	}
	return true
}

// run lets the handler answer and reports whether the connection can be used again.
func (c *h1Conn) run(x *h1Exchange) (again bool) {
	returned := false
	defer func() {
		if !returned { // but panicked, or called runtime.Goexit
			c.abort(x, recover())
		}
	}()
	c.current.Store(x)
	c.endpoint.ServeHTTP(&x.response, x.request)
	if x.response.hijacked {
		returned = true
		x.cancel()
		return false
	}
	again = x.response.finish()
	returned = true
	c.endHandler(x)
	if again && x.body.discard() && !c.readGone { // there is something to discard only behind an answer in full duplex
		return true
	}
	if !x.response.broken {
		c.linger()
	}
	return false
}

// abort ends an exchange whose handler has panicked: the client must not take what it has for a whole answer.
func (c *h1Conn) abort(x *h1Exchange, reason any) {
	if reason != nil && reason != http.ErrAbortHandler {
		c.endpoint.log.LogAttrs(x, slog.LevelError, fmt.Sprintf("http: panic serving %s: %v", c.remote, reason), slog.String("stack", string(debug.Stack())))
	}
	if x.response.hijacked {
		x.cancel()
		return
	}
	x.response.drop()
	c.endHandler(x)
}

// endHandler ends the watch, the request's context and the reading of its body.
func (c *h1Conn) endHandler(x *h1Exchange) {
	c.current.Store(nil)
	c.stopWatch(c.setPhase(phaseBusy))
	x.cancel()
	x.body.end()
	if x.response.readDeadline {
		c.conn.SetReadDeadline(time.Time{})
	}
	if x.response.writeDeadline {
		c.conn.SetWriteDeadline(time.Time{})
	}
}

// watch reads while a handler takes its time: it is how a client that goes away is noticed. What the client sends ahead stays
// in the buffer.
func (c *h1Conn) watch(x *h1Exchange) {
	defer close(c.watched)
	if c.start == c.end {
		c.start, c.end = 0, 0
	}
	if c.end == len(c.in) {
		return // enough was sent ahead; such a client is heard again later
	}
	n, err := c.conn.Read(c.in[c.end:])
	c.end += n
	var timeout net.Error
	if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
		c.readGone = true
		x.cancel()
	}
}

// stopWatch waits for the end of the watch, if there is one.
func (c *h1Conn) stopWatch(flags uint64) {
	if flags&watching == 0 {
		return
	}
	c.conn.SetReadDeadline(time.Unix(1, 0))
	<-c.watched
	c.conn.SetReadDeadline(time.Time{})
}

// fill reads more from the client, behind what is there. The buffer has room.
func (c *h1Conn) fill() error {
	n, err := c.conn.Read(c.in[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	c.readGone = true
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// write sends two pieces, which leave together where that saves a packet.
func (c *h1Conn) write(first, second []byte) error {
	switch {
	case len(second) == 0:
		_, err := c.conn.Write(first)
		return err
	case len(first) == 0:
		_, err := c.conn.Write(second)
		return err
	case c.plain:
		_, err := c.stall.writeTwo(first, second)
		return err
	}
	if _, err := c.conn.Write(first); err != nil {
		return err
	}
	_, err := c.conn.Write(second)
	return err
}

// refuse answers a request that could not be read, and closes.
func (c *h1Conn) refuse(why *headError) {
	c.endpoint.refuse(why.why)
	status := why.status
	text := http.StatusText(status)
	fmt.Fprintf(c.conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%d %s: %s", status, text, status, text, why.reason)
	c.linger()
}

const (
	lingerTime  = 200 * time.Millisecond
	lingerBytes = 256 << 10
)

// linger hears a client out for a moment before the connection is closed: one that still sends would be reset, often before
// it has read its last answer.
func (c *h1Conn) linger() {
	if c.readGone || c.endpoint.server.hard.Load() || c.setPhase(phaseOver)&expired != 0 {
		return
	}
	if secure, ok := c.conn.(*tls.Conn); ok {
		secure.CloseWrite()
	}
	c.stall.CloseWrite()
	c.stall.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, struct{ io.Reader }{c.stall.socket}, lingerBytes)
}

// leave ends the connection, unless a handler or HTTP/2 has it now.
func (c *h1Conn) leave() {
	defer c.endpoint.forget(c)
	if c.in == nil {
		return
	}
	inputs.put(c.in)
	c.conn.Close()
}

// handOver gives the connection away, with what was received of the next bytes.
func (c *h1Conn) handOver() (received []byte) {
	c.setPhase(phaseOver)
	received = c.in[c.start:c.end]
	c.in, c.start, c.end = nil, 0, 0 // leave sees it; nobody puts the buffer back
	return received
}

// hijack hands the connection to a handler.
func (c *h1Conn) hijack(x *h1Exchange) (net.Conn, *bufio.ReadWriter, error) {
	c.stopWatch(c.setPhase(phaseOver))
	c.current.Store(nil)
	x.body.end()
	if c.readGone {
		return nil, nil, net.ErrClosed
	}
	received := c.handOver()
	c.endpoint.forget(c)
	c.conn.SetDeadline(time.Time{})
	c.stall.release()
	in := bufio.NewReaderSize(&prefixed{received, c.conn}, max(firstInput, len(received)))
	if len(received) > 0 {
		in.Peek(len(received)) // so that Buffered tells
	}
	return c.conn, bufio.NewReadWriter(in, bufio.NewWriterSize(c.conn, firstInput)), nil
}

// prefixed is a reader that begins with what another one has read ahead.
type prefixed struct {
	ahead []byte
	rest  io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.ahead) == 0 {
		return p.rest.Read(b)
	}
	n := copy(b, p.ahead)
	p.ahead = p.ahead[n:]
	return n, nil
}
