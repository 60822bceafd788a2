package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/edge-server/edge/internal/frame"
)

// conn is a connection: one goroutine reads, and every call has one of its own.
type conn struct {
	server *Server
	line   *line
	peer   peer
	frames *frame.Reader
	slots  chan struct{}  // one element for each call that runs
	calls  sync.WaitGroup // calls that run
	ending atomic.Bool    // Stop has set the read deadline
	ctx    context.Context
	leave  context.CancelFunc // says to calls of ctx that the client has gone

	trusted bool   // the client is who may call, or has shown that it knows the secret; changed by the reader under server.mu
	nonce   string // of the challenge that the client has to answer

	shortcut shortcut // the reader's

	running atomic.Int32 // calls of goroutines of their own
	writing turn         // one frame at a time
}

func newConn(s *Server, nc net.Conn, p peer, trusted bool) *conn {
	limit := uint32(s.cfg.MaxFrame)
	if !trusted {
		limit = strangerFrame
	}
	gone, leave := context.WithCancel(context.Background())
	line := newLine(nc, s.keen)
	return &conn{
		server:  s,
		line:    line,
		peer:    p,
		trusted: trusted,
		ctx:     &callerContext{Context: s.work, pid: p.pid, gone: gone},
		leave:   leave,
		frames:  frame.NewReader(line, limit),
		slots:   make(chan struct{}, s.cfg.Concurrency),
	}
}

// serve reads calls until there are no more, and returns when the last one was answered.
func (c *conn) serve() {
	defer c.calls.Wait()
	defer c.leave()
	if !c.trusted && !c.admitStranger() {
		return
	}
	for {
		err := c.next()
		if err != nil {
			c.explain(err)
			return
		}
	}
}

// explain logs why the reading ended, unless the client is just gone.
func (c *conn) explain(err error) {
	if !broken(err) || c.ending.Load() {
		return
	}
	c.server.broken.Add(1)
	var junk *frame.JunkError
	if errors.As(err, &junk) {
		err = fmt.Errorf("no frame begins with %q", junk.Junk[:min(len(junk.Junk), 64)]) // its own text is about workers
	}
	c.server.log.Warn("rpc connection closed: it sent something that is not a call", "peer", c.peer.String(), "error", err)
}

// next reads one call and starts it.
func (c *conn) next() error {
	h, payload, err := c.frames.Next()
	if err != nil {
		return err
	}
	call := getCall()
	if err := call.parse(&h, payload); err != nil {
		putCall(call)
		return err
	}
	if c.frames.Buffered() == 0 && c.runHere(call) {
		putCall(call)
		if c.running.Load() == 0 {
			c.line.rouse()
		}
		return nil
	}
	if err := c.line.calm(); err != nil {
		putCall(call)
		return err
	}
	// The call keeps the buffer it was read into, and the reader goes on with the one that the call had.
	call.in = c.frames.Exchange(call.in)

	c.takeSlot()
	c.calls.Add(1)
	c.running.Add(1)
	c.server.calls.Add(1)
	c.server.inFlight.Add(1)
	go c.run(call) // ends with its answer; serve waits for it
	return nil
}

// runHere answers a call that never waits, without a goroutine of its own. It reports false when it did nothing.
func (c *conn) runHere(call *call) bool {
	if c.short(call) {
		return true
	}
	if !call.quick(c.server) {
		return false
	}
	c.server.calls.Add(1)
	call.run(c.server, c.ctx, &c.writing)
	c.write(call.out)
	c.writing.Unlock()
	return true
}

// takeSlot waits until one call fewer than allowed runs. Nobody reads meanwhile, so somebody has to see whether the client leaves: what
// it waits for may be what keeps the slots.
func (c *conn) takeSlot() {
	select {
	case c.slots <- struct{}{}:
		return
	default:
	}
	defer c.line.watch(c.leave)()
	c.slots <- struct{}{}
}

func (c *conn) run(call *call) {
	defer c.calls.Done()
	call.run(c.server, c.ctx, &c.writing)
	c.write(call.out)
	c.writing.Unlock()
	putCall(call)
	c.running.Add(-1)
	c.server.inFlight.Add(-1)
	<-c.slots
}

// write sends a frame in one piece; c.writing is held. A client that is gone shows up in the reader. One that does not take its
// answers loses the connection: they would hold memory, and calls, for as long as it likes.
func (c *conn) write(frame []byte) {
	err := c.line.send(frame, c.server.patience)
	c.writing.lost = c.writing.lost || err != nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.broken.Add(1)
		c.server.log.Warn("rpc connection closed: the client does not take its answers", "peer", c.peer.String(), "waited", c.server.patience)
		c.line.cut()
	}
}

// finish ends the reader; calls that were read go on.
func (c *conn) finish() {
	c.ending.Store(true)
	c.line.finish()
}

// broken tells a peer that broke the protocol from one that is gone.
func broken(err error) bool {
	return !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) && !isReset(err)
}
