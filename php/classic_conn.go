package php

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// fcgiConn is the relay of a worker of classic mode: a connection that is dialed when it is needed. The worker's goroutine reads,
// it and at most one helper write; others close it or set deadlines.
type fcgiConn struct {
	network, address string
	own              bool   // it leads to a process of the worker alone, and is kept while that lives
	released         func() // called at the end, or nil

	mu     sync.Mutex // protects what follows
	conn   net.Conn   // nil when there is none
	idle   *time.Timer
	closed bool
}

// open returns whether there is a connection already, and dials one otherwise.
func (c *fcgiConn) open() (reused bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, net.ErrClosed
	}
	if c.conn != nil {
		if c.own || c.alive() {
			c.stopIdle()
			return true, nil
		}
		c.conn.Close()
		c.conn = nil
	}
	c.conn, err = net.DialTimeout(c.network, c.address, dialTimeout)
	return false, err
}

// alive reports whether the other end still holds the connection: it may close one that was idle at any time.
func (c *fcgiConn) alive() bool {
	raw, err := c.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = err == syscall.EAGAIN
		return true
	})
	return err == nil && alive
}

// rest lets a connection that is not needed now end after a while.
func (c *fcgiConn) rest(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return
	}
	conn := c.conn
	c.idle = time.AfterFunc(limit, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conn == conn && c.idle != nil {
			c.conn.Close()
			c.conn, c.idle = nil, nil
		}
	})
}

// stopIdle ends the rest. c.mu is held.
func (c *fcgiConn) stopIdle() {
	if c.idle != nil {
		c.idle.Stop()
		c.idle = nil
	}
}

// disconnect closes the connection; the next open dials another.
func (c *fcgiConn) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopIdle()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *fcgiConn) current() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

func (c *fcgiConn) Read(b []byte) (int, error) {
	if conn := c.current(); conn != nil {
		return conn.Read(b)
	}
	return 0, io.ErrUnexpectedEOF
}

func (c *fcgiConn) Write(b []byte) (int, error) {
	if conn := c.current(); conn != nil {
		return conn.Write(b)
	}
	return 0, io.ErrClosedPipe
}

// writeAll writes several pieces at once.
func (c *fcgiConn) writeAll(b *net.Buffers) (int64, error) {
	if conn := c.current(); conn != nil {
		return b.WriteTo(conn)
	}
	return 0, io.ErrClosedPipe
}

func (c *fcgiConn) SetReadDeadline(t time.Time) error {
	if conn := c.current(); conn != nil {
		return conn.SetReadDeadline(t)
	}
	return nil
}

func (c *fcgiConn) SetWriteDeadline(t time.Time) error {
	if conn := c.current(); conn != nil {
		return conn.SetWriteDeadline(t)
	}
	return nil
}

// Close ends the connection for good, and the socket of a process with it.
func (c *fcgiConn) Close() error {
	c.disconnect()
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if first && c.own {
		os.Remove(c.address)
	}
	if first && c.released != nil {
		c.released()
	}
	return nil
}

// unread is what nobody can tell of a socket.
func (c *fcgiConn) unread() int { return -1 }
