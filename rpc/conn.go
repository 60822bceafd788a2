package rpc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

// conn is a connection: one goroutine reads, and every call has one of its own.
type conn struct {
	server *Server
	nc     net.Conn
	peer   peer
	frames *frame.Reader
	slots  chan struct{}  // one element for each call that runs
	calls  sync.WaitGroup // calls that run
	ending atomic.Bool    // Stop has set the read deadline

	writing turn // one frame at a time
}

func newConn(s *Server, nc net.Conn, p peer) *conn {
	return &conn{
		server: s,
		nc:     nc,
		peer:   p,
		frames: frame.NewReader(nc, uint32(s.cfg.MaxFrame)),
		slots:  make(chan struct{}, s.cfg.Concurrency),
	}
}

// serve reads calls until there are no more, and returns when the last one was answered.
func (c *conn) serve() {
	defer c.calls.Wait()
	for {
		err := c.next()
		if err == nil {
			continue
		}
		if broken(err) && !c.ending.Load() {
			c.server.broken.Add(1)
			var junk *frame.JunkError
			if errors.As(err, &junk) {
				err = fmt.Errorf("no frame begins with %q", junk.Junk[:min(len(junk.Junk), 64)]) // its own text is about workers
			}
			c.server.log.Warn("rpc connection closed: it sent something that is not a call", "peer", c.peer.String(), "error", err)
		}
		return
	}
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
	// The call keeps the buffer it was read into, and the reader goes on with the one that the call had.
	call.in = c.frames.Exchange(call.in)

	c.slots <- struct{}{}
	c.calls.Add(1)
	c.server.calls.Add(1)
	c.server.inFlight.Add(1)
	go c.run(call) // ends with its answer; serve waits for it
	return nil
}

func (c *conn) run(call *call) {
	defer c.calls.Done()
	call.run(c.server, &c.writing)
	c.write(call.out)
	c.writing.Unlock()
	putCall(call)
	c.server.inFlight.Add(-1)
	<-c.slots
}

// write sends a frame in one piece; c.writing is held. A client that is gone shows up in the reader. One that does not take its
// answers loses the connection: they would hold memory, and calls, for as long as it likes.
func (c *conn) write(frame []byte) {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.server.patience))
	_, err := c.nc.Write(frame)
	c.writing.lost = c.writing.lost || err != nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.broken.Add(1)
		c.server.log.Warn("rpc connection closed: the client does not take its answers", "peer", c.peer.String(), "waited", c.server.patience)
		c.nc.Close()
	}
}

// finish ends the reader; calls that were read go on.
func (c *conn) finish() {
	c.ending.Store(true)
	// A moment of the past makes a read that waits return, too.
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// broken tells a peer that broke the protocol from one that is gone.
func broken(err error) bool {
	return !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) && !isReset(err)
}
