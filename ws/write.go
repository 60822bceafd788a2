package ws

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

// writerPool writes what waits in the queues of connections. Its goroutines come when there is something to write and go when there is
// nothing left. They never wait for a client: what a socket does not take is written by a goroutine of that connection, which lives
// until the queue is empty; so are connections with something between us and the socket, such as TLS.
type writerPool struct {
	max   int
	items int       // in one write
	batch sync.Pool // of *batch
	small sync.Pool // of *batch, for goroutines that wait for a client: there may be thousands

	mu      sync.Mutex // guards the following
	wait    line
	running int
}

// handful is connections that move together between who fills queues and who writes: the lock of the pool is dear when many want it, and the
// memory of a connection when another processor had it last, so that those who pass it on do not touch it.
type handful struct {
	conns [handfulSize]*Conn
	n     int
	next  *handful
}

const handfulSize = 16

var handfuls = sync.Pool{New: func() any { return new(handful) }} // of *handful

// free is for who has taken the connections out.
func (h *handful) free() {
	clear(h.conns[:h.n])
	h.n, h.next = 0, nil
	handfuls.Put(h)
}

// line is connections in a row.
type line struct {
	first, last *handful
	n           int
}

func (l *line) push(c *Conn) {
	h := l.last
	if h == nil || h.n == handfulSize {
		h = handfuls.Get().(*handful)
		l.append(h)
	}
	h.conns[h.n] = c
	h.n++
	l.n++
}

func (l *line) append(h *handful) {
	if l.last == nil {
		l.first = h
	} else {
		l.last.next = h
	}
	l.last = h
}

// pop returns nil when nobody waits.
func (l *line) pop() *handful {
	h := l.first
	if h == nil {
		return nil
	}
	if l.first, h.next = h.next, nil; l.first == nil {
		l.last = nil
	}
	l.n -= h.n
	return h
}

// join moves all of another line behind this one.
func (l *line) join(other *line) {
	if other.first == nil {
		return
	}
	l.append(other.first)
	l.last, l.n = other.last, l.n+other.n
	*other = line{}
}

func (p *writerPool) init() {
	p.max, p.items = runtime.GOMAXPROCS(0), batchItems
	p.batch.New = func() any { return newBatch(batchItems, batchBytes) }
	p.small.New = func() any { return newBatch(batchItems/8, batchBytes/8) }
}

// add is called once per connection until its queue is empty: see Conn.writing.
func (p *writerPool) add(c *Conn) {
	p.mu.Lock()
	p.wait.push(c)
	start := p.startLocked()
	p.mu.Unlock()
	p.start(start)
}

// now is add by who can write as well as anybody.
func (p *writerPool) now(c *Conn) {
	if c.raw == nil {
		p.add(c)
		return
	}
	b := p.small.Get().(*batch)
	defer p.small.Put(b)
	if b.turn(c) {
		p.add(c) // others first
	}
}

// addAll is add for many, and leaves the line empty.
func (p *writerPool) addAll(l *line) {
	if l.n == 0 {
		return
	}
	p.mu.Lock()
	p.wait.join(l)
	start := p.startLocked()
	p.mu.Unlock()
	p.start(start)
}

// startLocked says how many writers are to be started for those who wait.
func (p *writerPool) startLocked() (n int) {
	for p.running < p.max && (p.running == 0 || p.wait.n > max(n, 1)*handfulSize) {
		p.running++
		n++
	}
	return n
}

func (p *writerPool) start(n int) {
	for range n {
		go p.run() // ends when nothing waits
	}
}

func (p *writerPool) run() {
	b := p.batch.Get().(*batch)
	defer p.batch.Put(b)
	var again line
	for {
		p.mu.Lock()
		p.wait.join(&again) // there is more for them, but others first
		mine := p.wait.pop()
		if mine == nil {
			p.running--
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		for _, c := range mine.conns[:mine.n] {
			if c.raw == nil {
				go c.drain(nil) // ends when the queue is empty, or the client has taken nothing for the write timeout
			} else if b.turn(c) {
				again.push(c)
			}
		}
		mine.free()
	}
}

const (
	// batchBytes is how much leaves in one write. Larger messages leave by themselves.
	batchBytes = 64 << 10
	batchItems = 256
)

// batch is what a writer works with.
type batch struct {
	items []item
	bytes []byte // empty, with room

	// Of attempt, which is called with the socket, through a function made once.
	rest    []byte
	err     error
	attempt func(fd uintptr)
}

func newBatch(items, bytes int) *batch {
	b := &batch{items: make([]item, items), bytes: make([]byte, 0, bytes)}
	b.attempt = func(fd uintptr) {
		for len(b.rest) > 0 {
			n, err := sendNow(fd, b.rest)
			b.rest = b.rest[n:]
			switch err {
			case 0, syscall.EINTR:
			case syscall.EAGAIN:
				return
			default:
				b.err = err
				return
			}
		}
	}
	return b
}

// turn sends what waits for a connection, as far as its socket takes it and no more than batchBytes by much. It reports whether there is
// more. Writes in a row to one socket cost less than the same writes to sockets in turn: what the kernel touches is at hand.
func (b *batch) turn(c *Conn) (more bool) {
	for sent := 0; sent < batchBytes; {
		n, more := b.write(c)
		if !more {
			return false
		}
		sent += n
	}
	return true
}

// write is one system call of a turn.
func (b *batch) write(c *Conn) (sent int, again bool) {
	out, more := b.gather(c)
	if len(out) == 0 {
		return 0, false
	}
	b.rest, b.err = out, nil
	if err := c.raw.Control(b.attempt); err != nil { // not Write, which prepares to wait; that there is one writer at a time we see to ourselves
		b.err = err
	}
	rest, err := b.rest, b.err
	b.rest = nil
	switch {
	case err != nil:
		c.fail()
		return 0, false
	case len(rest) > 0:
		go c.drain(append([]byte(nil), rest...)) // ends as in run
		return 0, false
	}
	return len(out), more || c.stillQueued()
}

// gather takes messages from the queue and lays them one behind the other. No messages: the connection is nobody's to write any more.
func (b *batch) gather(c *Conn) (out []byte, more bool) {
	c.mu.Lock()
	n := 0
	if !c.broken {
		n = c.queue.pop(b.items[:min(len(b.items), c.endpoint.hub.writers.items)], cap(b.bytes))
	}
	if n == 0 {
		c.idleLocked()
	}
	more = c.queue.len() > 0
	c.mu.Unlock()
	if n == 0 {
		return nil, false
	}
	items := b.items[:n]
	if n == 1 {
		out = items[0].m.wire(c)
		items[0] = item{}
		return out, more
	}
	out = b.bytes[:0]
	for i := range items {
		out = append(out, items[i].m.wire(c)...)
		items[i] = item{}
	}
	return out, more
}

// stillQueued is called when everything that was taken has been written.
func (c *Conn) stillQueued() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue.len() > 0 && !c.broken {
		return true
	}
	c.idleLocked()
	return false
}

// idleLocked says that nobody writes any more.
func (c *Conn) idleLocked() {
	c.writing = false
	if c.flushed != nil {
		close(c.flushed)
		c.flushed = nil
	}
}

// drain writes the queue out, waiting for the client. rest goes first.
func (c *Conn) drain(rest []byte) {
	b := c.endpoint.hub.writers.small.Get().(*batch)
	defer c.endpoint.hub.writers.small.Put(b)
	for {
		if len(rest) == 0 {
			if rest, _ = b.gather(c); len(rest) == 0 {
				return
			}
		}
		if err := c.writeAll(rest); err != nil {
			c.tooSlow(err)
			c.fail()
			return
		}
		rest = nil
	}
}

// stallTimer is a connection that gives up by itself on a peer which takes nothing for so long.
type stallTimer interface{ SetStallTimeout(time.Duration) }

// giveUpAfter has such a connection do that. Where we write to the socket itself we set deadlines ourselves, when it comes to waiting.
func (c *Conn) giveUpAfter(d time.Duration) {
	if c.raw != nil {
		return
	}
	if t, ok := socketOf(c.conn).(stallTimer); ok {
		t.SetStallTimeout(d)
		c.stalls = true
	}
}

// writeAll waits for the client as long as it takes something now and then.
func (c *Conn) writeAll(p []byte) error {
	if c.stalls {
		_, err := c.conn.Write(p)
		return err
	}
	defer c.conn.SetWriteDeadline(time.Time{})
	for {
		c.conn.SetWriteDeadline(time.Now().Add(c.endpoint.limits.WriteTimeout))
		n, err := c.conn.Write(p)
		if p = p[n:]; len(p) == 0 {
			return err
		}
		if n == 0 || !os.IsTimeout(err) {
			if err == nil {
				err = io.ErrShortWrite
			}
			return err
		}
	}
}

// tooSlow counts a client that has taken nothing for limits.write_timeout, before it is ended.
func (c *Conn) tooSlow(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var late interface{ Timeout() bool }
	if !c.broken && !c.ending && errors.As(err, &late) && late.Timeout() {
		c.space().counters.slow.Add(1)
	}
}

// fail ends a connection on which nothing can be written any more. The reader notices.
func (c *Conn) fail() {
	c.mu.Lock()
	c.broken = true
	c.queue.clear()
	c.idleLocked()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil { // else the handshake is not done: see begin
		conn.Close()
	}
}

// startClose puts a close frame behind what is in the queue.
func (c *Conn) startClose(code CloseCode, reason string) {
	c.mu.Lock()
	if c.ending || c.broken {
		c.mu.Unlock()
		return
	}
	c.endLocked(code, reason)
	c.mu.Unlock()
}

// endLocked is startClose for who has the lock: the client has limits.close_timeout to answer.
func (c *Conn) endLocked(code CloseCode, reason string) {
	c.ending, c.code, c.reason = true, code, cut(reason)
	c.deaf.Store(true)
	c.queue.push(item{m: closeFrame(code, c.reason)})
	if !c.writing {
		c.writing = true
		c.endpoint.hub.writers.add(c)
	}
	if c.conn != nil {
		c.conn.SetReadDeadline(time.Now().Add(c.endpoint.limits.CloseTimeout))
	}
}

// flush returns a channel that is closed when everything has been written, or cannot be.
func (c *Conn) flush() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flushed == nil {
		done := make(chan struct{})
		if !c.writing {
			close(done)
			return done
		}
		c.flushed = done
	}
	return c.flushed
}

const maxReason = 123 // what a close frame has room for

// cut shortens a reason at the end of a character.
func cut(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	n := maxReason
	for n > 0 && !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}
