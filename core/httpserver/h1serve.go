package httpserver

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// h1Serving is what an endpoint knows of its HTTP/1 connections.
type h1Serving struct {
	draining atomic.Bool // no connection waits for another request
	leaving  atomic.Bool // another process accepts: connections are to come to an end when it suits their clients
	date     atomic.Pointer[[]byte]
	wake     chan struct{} // there are connections again; holds one
	done     chan struct{} // ends the sweeper
	h2       chan net.Conn // connections that speak HTTP/2
	h2Ended  chan struct{} // no more of them are taken

	mu      sync.Mutex // guards h1conns
	h1conns []*h1Conn
}

func (s *h1Serving) init() {
	s.wake, s.done = make(chan struct{}, 1), make(chan struct{})
	s.h2, s.h2Ended = make(chan net.Conn), make(chan struct{})
	s.setDate(time.Now())
}

// inputs holds the buffers in which connections receive heads.
var inputs inputPool

// inputPool holds *[firstInput]byte.
type inputPool struct{ pool sync.Pool }

func (p *inputPool) get() []byte {
	if b, ok := p.pool.Get().(*[firstInput]byte); ok {
		return b[:]
	}
	return make([]byte, firstInput)
}

func (p *inputPool) put(b []byte) {
	if len(b) == firstInput {
		p.pool.Put((*[firstInput]byte)(b))
	}
}

// acceptHTTP accepts the connections of ln until it is closed: those that speak HTTP/1 are served here, those of HTTP/2 by
// net/http.
func (e *endpoint) acceptHTTP(ln net.Listener) error {
	pause := time.Duration(0)
	for {
		conn, err := ln.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if !errors.As(err, &temporary) || !temporary.Temporary() || e.draining.Load() {
				return err
			}
			// Most likely there are no descriptors left. There will be.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			e.log.Error("accept a connection", "error", err, "again in", pause, "idle connections closed", e.closeIdle())
			select {
			case <-time.After(pause):
			case <-e.done:
			}
			continue
		}
		pause = 0
		switch conn := conn.(type) {
		case *stallConn:
			e.startH1(newH1Conn(e, conn, conn))
		case *secureConn:
			e.startH1(newH1Conn(e, conn.Conn, conn.stall))
		default: // a *tls.Conn whose client chose HTTP/2
			conn.(*tls.Conn).NetConn().(*gather).begin(&e.lingering)
			if !e.handOff(conn) {
				conn.Close()
			}
		}
	}
}

func (e *endpoint) startH1(c *h1Conn) {
	e.mu.Lock()
	c.index = len(e.h1conns)
	e.h1conns = append(e.h1conns, c)
	first := c.index == 0
	e.mu.Unlock()
	if first {
		e.setDate(time.Now())
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
	e.conns.Add(1)
	go c.serve() // ends with the connection, or with the handler that owns it then
}

// forget is called by a connection that ends, or belongs to its handler from now on.
func (e *endpoint) forget(c *h1Conn) {
	if c.forgotten {
		return
	}
	c.forgotten = true
	defer e.conns.Done()
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.h1conns) - 1
	e.h1conns[c.index] = e.h1conns[last]
	e.h1conns[c.index].index = c.index
	e.h1conns[last] = nil
	e.h1conns = e.h1conns[:last]
}

const (
	// sweepEvery is how often the sweeper looks at all connections, and so how exactly timeouts are kept.
	sweepEvery = 50 * time.Millisecond

	// perSweep is how many connections it looks at in that time; with more of them it takes longer.
	perSweep = 5000
)

// sweep enforces the timeouts of HTTP/1 connections until done is closed. It sleeps while there are none.
func (e *endpoint) sweep() {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-e.done:
			return
		case <-e.wake:
		case <-timer.C:
		}
		now := time.Now()
		e.setDate(now)
		if n := e.look(now); n > 0 {
			timer.Reset(sweepEvery * time.Duration(1+n/perSweep))
		}
	}
}

// look visits every connection once.
func (e *endpoint) look(now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.h1conns {
		state := c.phase.Load()
		if state != c.seen || c.seenAt.IsZero() {
			c.seen, c.seenAt = state, now
			continue
		}
		if waited := now.Sub(c.seenAt); state&(expired|watching) == 0 {
			e.judgeWait(c, state, waited)
		}
	}
	return len(e.h1conns)
}

// judgeWait ends a wait that has taken too long.
func (e *endpoint) judgeWait(c *h1Conn, state uint64, waited time.Duration) {
	limits := &e.server.cfg.Limits
	switch state & phaseMask {
	case phaseFresh, phaseHead:
		if waited >= limits.ReadHeaderTimeout {
			c.expire(state)
		}
	case phaseIdle:
		if waited >= limits.IdleTimeout {
			c.expire(state)
		}
	case phaseBody:
		if limits.BodyTimeout > 0 && waited >= limits.BodyTimeout {
			c.expire(state)
		}
	case phaseHandler:
		if x := c.current.Load(); x != nil {
			c.watched = make(chan struct{})
			if c.phase.CompareAndSwap(state, state|watching) {
				go c.watch(x) // ends with the handler: see stopWatch
			}
		}
	}
}

// setDate renews the Date header when a second has passed.
func (s *h1Serving) setDate(now time.Time) {
	line := append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)
	if old := s.date.Load(); old == nil || !bytes.Equal(*old, line) {
		s.date.Store(&line)
	}
}

// drainH1 ends the connections that have no request, now or when they are done with it.
func (e *endpoint) drainH1() {
	e.draining.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.h1conns {
		if state := c.phase.Load(); state&phaseMask == phaseFresh || state&phaseMask == phaseIdle {
			c.expire(state)
		}
	}
}

// closeIdle makes room: it ends the connections that wait for another request.
func (e *endpoint) closeIdle() (closed int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.h1conns {
		if state := c.phase.Load(); state&phaseMask == phaseIdle && state&expired == 0 && c.expire(state) {
			closed++
		}
	}
	return closed
}

// closeH1 ends all connections.
func (e *endpoint) closeH1() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.h1conns {
		c.stall.Close()
		if x := c.current.Load(); x != nil {
			x.cancel()
		}
	}
}

// handOff gives a connection to net/http, which speaks HTTP/2 on it.
func (e *endpoint) handOff(conn net.Conn) bool {
	select {
	case e.h2 <- conn:
		return true
	case <-e.h2Ended:
		return false
	}
}

// h2Listener is where a server of net/http gets its connections from.
type h2Listener struct {
	e     *endpoint
	once  sync.Once
	ended chan struct{}
}

// Accept waits for the next connection that speaks HTTP/2.
func (l *h2Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.e.h2:
		return conn, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *h2Listener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

// Addr is the address of the socket.
func (l *h2Listener) Addr() net.Addr { return l.e.tcp.Addr() }

// secureConn is a connection with TLS whose client speaks HTTP/1.
type secureConn struct {
	*tls.Conn
	stall *stallConn
}
