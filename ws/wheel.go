package ws

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// clock tells the time without asking the system too often: monotonic, as time.Time is.
type clock struct{}

func (clock) now() time.Time { return time.Now() }

// beat is what the wheel knows of a connection.
type beat struct {
	heard          atomic.Uint32 // the tick at which something last came
	asked          bool          // a ping was sent, at asking; this and the rest is guarded by the wheel's lock
	asking         uint32
	due            uint32
	before, behind *Conn
	turning        bool // in the wheel

	busy atomic.Bool // the protocol deals with what the client has sent: nobody listens to answers
}

const (
	wheelTick  = 250 * time.Millisecond
	wheelSlots = 512
)

// wheel asks silent clients whether they are there: one goroutine for all, a list per moment.
type wheel struct {
	clock clock
	tick  atomic.Uint32
	done  chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex // guards the slots
	slots [wheelSlots]*Conn
	runs  bool
}

func (w *wheel) init() { w.done = make(chan struct{}) }

func (w *wheel) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs {
		return
	}
	w.runs = true
	w.ended.Go(w.turn)
}

func (w *wheel) stop() {
	w.mu.Lock()
	runs := w.runs
	w.runs = false
	w.mu.Unlock()
	if runs {
		close(w.done)
		w.ended.Wait()
	}
}

func (w *wheel) turn() {
	ticker := time.NewTicker(wheelTick)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-ticker.C:
			w.advance()
		}
	}
}

func ticks(d time.Duration) uint32 { return uint32(max(1, d/wheelTick)) }

// add begins to look after a connection.
func (w *wheel) add(c *Conn) {
	now := w.tick.Load()
	c.heard.Store(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	c.turning = true
	w.put(c, now+ticks(c.endpoint.limits.PingInterval))
}

// put needs the lock.
func (w *wheel) put(c *Conn, due uint32) {
	c.due = due
	slot := &w.slots[due%wheelSlots]
	c.before, c.behind = nil, *slot
	if *slot != nil {
		(*slot).before = c
	}
	*slot = c
}

func (w *wheel) take(c *Conn) {
	if c.before != nil {
		c.before.behind = c.behind
	} else {
		w.slots[c.due%wheelSlots] = c.behind
	}
	if c.behind != nil {
		c.behind.before = c.before
	}
	c.before, c.behind = nil, nil
}

// remove forgets a connection that has ended.
func (w *wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.turning {
		c.turning = false
		w.take(c)
	}
}

// advance looks at the connections whose moment has come. What is to be done for them is done without the lock.
func (w *wheel) advance() {
	now := w.tick.Add(1)
	var ping, lost []*Conn
	w.mu.Lock()
	for c := w.slots[now%wheelSlots]; c != nil; {
		behind := c.behind
		if int32(now-c.due) >= 0 {
			w.take(c)
			switch silent := now - c.heard.Load(); {
			case !c.busy.Load() && c.unanswered() && !c.unread() && c.unanswered(): // in this order: see attended
				c.turning = false
				lost = append(lost, c)
			case silent >= ticks(c.endpoint.limits.PingInterval):
				c.asked, c.asking = true, now
				w.put(c, now+ticks(c.endpoint.limits.PongTimeout))
				ping = append(ping, c)
			default:
				c.asked = false
				w.put(c, now-silent+ticks(c.endpoint.limits.PingInterval))
			}
		}
		c = behind
	}
	w.mu.Unlock()
	for _, c := range ping {
		c.ping()
	}
	for _, c := range lost {
		c.space().counters.lost.Add(1)
		c.Close(c.endpoint.lost.code, c.endpoint.lost.reason)
	}
}

// unanswered reports whether nothing came since the client was asked. It needs the lock.
func (c *Conn) unanswered() bool { return c.asked && int32(c.heard.Load()-c.asking) < 0 }

// unread reports whether something lies in the socket that nobody has read yet: then it is this side that is late, on a machine with too
// much to do. Sending its clients away would have them all come again.
func (c *Conn) unread() bool {
	if c.raw == nil {
		return false
	}
	waits := false
	_ = c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waits = err == nil && n > 0
	})
	return waits
}

// attended ends busy. That the client was silent meanwhile is not its fault.
func (c *Conn) attended() {
	c.heard.Store(c.endpoint.hub.wheel.tick.Load())
	c.busy.Store(false)
}

// ping asks the client whether it is there.
func (c *Conn) ping() {
	m := pingFrame
	if c.endpoint.ping != nil {
		m = c.endpoint.ping(c)
	}
	if m != nil {
		_ = c.enqueue(m, true)
	}
}

var pingFrame = controlFrame(opPing, nil)
