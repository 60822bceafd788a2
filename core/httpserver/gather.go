package httpserver

import (
	"net"
	"sync"
	"time"
)

// gather lies between TLS and the socket of a connection that speaks HTTP/2. net/http writes the head of an answer, then its body, and the frames
// of other streams as they come, each with a system call, which is the dearest part of a small answer. Here a write is taken, and a goroutine
// that runs while there is something passes on what has come together by the time it gets its turn.
//
// Before begin, and for HTTP/1, it does nothing. What is not told here it has of stallConn.
type gather struct {
	*stallConn
	on    bool         // begin comes before all writes but those of the handshake
	owner *gatherOwner // of those that are closed and still have something to send

	mu      sync.Mutex // guards what follows
	room    sync.Cond  // some was taken, or there is no use in waiting
	waiting *[]byte    // of gatherBuffers; nil when nothing waits
	running bool       // the goroutine; or a write that was too large for it
	large   bool       // it is that
	closed  bool       // nothing more is taken; what waits is sent
	err     error      // of the socket
}

const (
	// gatherMost may wait, and as much again be on its way.
	gatherMost = 16 << 10

	// partingWait is for the last bytes of a connection whose writes have no timeout.
	partingWait = 30 * time.Second
)

var gatherBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, gatherMost)) }}

// gatherOwner knows the connections that net/http has closed and that have something left to send.
type gatherOwner struct {
	mu    sync.Mutex // guards those
	those map[*gather]struct{}
	wg    *sync.WaitGroup // one for each; its counter is not 0 while net/http closes a connection
}

func newGather(conn *stallConn) *gather {
	g := &gather{stallConn: conn}
	g.room.L = &g.mu
	return g
}

// begin is called when the handshake is done.
func (g *gather) begin(owner *gatherOwner) { g.on, g.owner = true, owner }

// Write takes p. The error may be that of an earlier write. TLS has one write at a time.
func (g *gather) Write(p []byte) (int, error) {
	if !g.on {
		return g.stallConn.Write(p)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.running && g.err == nil && !g.closed && g.size()+len(p) > gatherMost {
		g.room.Wait()
	}
	switch {
	case g.err != nil:
		return 0, g.err
	case g.closed:
		return 0, net.ErrClosed
	case len(p) > gatherMost:
		return g.writeLarge(p)
	}
	if g.waiting == nil {
		g.waiting = gatherBuffers.Get().(*[]byte)
	}
	*g.waiting = append(*g.waiting, p...)
	if !g.running {
		g.running = true
		go g.run() // ends when nothing waits, or with the socket
	}
	return len(p), nil
}

func (g *gather) size() int {
	if g.waiting == nil {
		return 0
	}
	return len(*g.waiting)
}

// writeLarge is for what is not worth a copy. Nothing waits then, and nothing comes meanwhile.
func (g *gather) writeLarge(p []byte) (int, error) {
	g.running, g.large = true, true
	g.mu.Unlock()
	n, err := g.stallConn.Write(p)
	g.mu.Lock()
	g.running, g.large = false, false
	g.fails(err)
	return n, err
}

// run passes on what waits.
func (g *gather) run() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.waiting != nil && g.err == nil {
		taken := g.waiting
		g.waiting = nil
		g.room.Broadcast()
		g.mu.Unlock()
		_, err := g.stallConn.Write(*taken)
		*taken = (*taken)[:0]
		gatherBuffers.Put(taken)
		g.mu.Lock()
		g.fails(err)
	}
	g.running = false
	g.room.Broadcast()
	if g.closed {
		g.stallConn.Close()
		g.owner.remove(g)
	}
}

// fails notes an error of the socket, and closes it: whoever reads is to know.
func (g *gather) fails(err error) {
	if err != nil && g.err == nil {
		g.err = err
		g.stallConn.Close()
	}
}

// SetWriteDeadline does nothing but for the handshake: the socket has its own timeout, and nobody waits for it here.
func (g *gather) SetWriteDeadline(t time.Time) error {
	if !g.on {
		return g.stallConn.SetWriteDeadline(t)
	}
	return nil
}

// SetDeadline sets both deadlines.
func (g *gather) SetDeadline(t time.Time) error {
	if !g.on {
		return g.stallConn.SetDeadline(t)
	}
	return g.stallConn.SetReadDeadline(t)
}

// Close closes the socket when what waits is sent. Once more, or in a large write, it does so at once.
func (g *gather) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.running || g.large || g.closed {
		return g.stallConn.Close()
	}
	g.closed = true
	g.room.Broadcast()
	g.stallConn.lingers(partingWait)
	g.stallConn.SetReadDeadline(time.Unix(1, 0)) // whoever reads is to know
	g.owner.add(g)
	return nil
}

func (o *gatherOwner) add(g *gather) {
	o.wg.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.those == nil {
		o.those = map[*gather]struct{}{}
	}
	o.those[g] = struct{}{}
}

func (o *gatherOwner) remove(g *gather) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.those, g)
	o.wg.Done()
}

// close cuts off all of them.
func (o *gatherOwner) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for g := range o.those {
		g.stallConn.Close()
	}
}

var _ net.Conn = (*gather)(nil)
