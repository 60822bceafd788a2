package httpserver

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// socket is a *net.TCPConn or *net.UnixConn.
type socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// stallConn is an accepted TCP connection that gives up on a peer which takes nothing of what is written to it. It lies under
// TLS, where a timeout in the middle of a write can be taken up again when the peer has taken something.
type stallConn struct {
	socket
	peer net.Addr // who speaks; nil: whoever the socket says

	onClose   func()
	closeOnce sync.Once

	mu      sync.Mutex
	timeout time.Duration // 0: wait for ever
	armed   time.Time     // when the write deadline was last set by this type
	moved   time.Time     // when the peer last took something, as far as that is known
	waited  bool          // a write has run into its deadline since, and may have been taken then
	foreign bool          // somebody else has set a write deadline, which counts instead
	stalled bool          // the timeout has run out: what follows (the end of TLS, for one) would only wait once more
}

func newStallConn(conn socket, timeout time.Duration, onClose func()) *stallConn {
	return &stallConn{socket: conn, timeout: timeout, onClose: onClose}
}

// RemoteAddr is who speaks: with the PROXY protocol the client and not the load balancer.
func (c *stallConn) RemoteAddr() net.Addr {
	if c.peer != nil {
		return c.peer
	}
	return c.socket.RemoteAddr()
}

// SetKeepAlive is that of TCP; other sockets have none.
func (c *stallConn) SetKeepAlive(on bool) error {
	if tcp, ok := c.socket.(*net.TCPConn); ok {
		return tcp.SetKeepAlive(on)
	}
	return nil
}

// Write writes all of p as long as the peer takes some of it within the timeout.
func (c *stallConn) Write(p []byte) (n int, err error) {
	for first := true; ; first = false {
		guarded, err := c.arm(first, true)
		if err != nil {
			return n, err
		}
		k, err := c.socket.Write(p[n:])
		n += k
		if !guarded || !os.IsTimeout(err) || !c.disarm(k > 0) {
			return n, err
		}
	}
}

// writeTwo is Write for two pieces, which leave together.
func (c *stallConn) writeTwo(first, second []byte) (n int, err error) {
	left := net.Buffers{first, second}
	for first := true; ; first = false {
		guarded, err := c.arm(first, true)
		if err != nil {
			return n, err
		}
		k, err := left.WriteTo(c.socket)
		n += int(k)
		if !guarded || !os.IsTimeout(err) || !c.disarm(k > 0) {
			return n, err
		}
	}
}

// ReadFrom lets the kernel copy files (sendfile), with the same timeout. What is not a file goes through Write, because
// after a timeout bytes that were read but not written would be lost.
func (c *stallConn) ReadFrom(src io.Reader) (n int64, err error) {
	file := fileOf(src)
	kernel, ok := c.socket.(io.ReaderFrom)
	if file == nil || !ok {
		buf := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(buf)
		return io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{src}, *buf)
	}
	again := isRegular(file)
	for first := true; ; first = false {
		guarded, err := c.arm(first, again)
		if err != nil {
			return n, err
		}
		k, err := kernel.ReadFrom(src)
		n += k
		if !guarded || !os.IsTimeout(err) || !c.disarm(k > 0 && again) {
			return n, err
		}
	}
}

// copyBuffers holds *[]byte of 32 KiB.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// fileOf returns the file that src reads, or nil.
func fileOf(src io.Reader) *os.File {
	if limited, ok := src.(*io.LimitedReader); ok {
		src = limited.R
	}
	file, _ := src.(*os.File)
	return file
}

// isRegular reports whether the kernel sends the file from where it stands, so that it can go on after a timeout.
func isRegular(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// arm sets the write deadline, unless that was done a moment ago, and reports whether it counts. first is for a new write. One that can be
// taken up again looks several times within the timeout whether the peer takes something: when that was is all that a deadline does not tell.
func (c *stallConn) arm(first, again bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled {
		return false, os.ErrDeadlineExceeded
	}
	if c.timeout == 0 || c.foreign {
		return false, nil
	}
	if first && c.waited { // and was taken in the end
		c.armed, c.waited = time.Time{}, false
	}
	if now := time.Now(); now.Sub(c.armed) > coarse(c.timeout) || !again {
		if c.armed = now; first {
			c.moved = now
		}
		left := c.timeout - now.Sub(c.moved)
		if again {
			left = min(left, c.timeout/looks+coarse(c.timeout))
		}
		c.socket.SetWriteDeadline(now.Add(left))
	}
	return true, nil
}

// looks is how often a write that waits looks within the timeout.
const looks = 4

// disarm is called when a deadline has passed, and reports whether the write may go on. A peer that has taken something gets the whole timeout
// from then on.
func (c *stallConn) disarm(progress bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.armed, c.waited = time.Time{}, true
	if progress {
		c.moved = now
	}
	c.stalled = now.Sub(c.moved) >= c.timeout
	return !c.stalled
}

// coarse is how exactly a timeout is kept: setting a deadline costs as much as a small write.
func coarse(timeout time.Duration) time.Duration { return min(time.Second, timeout/8) }

// SetWriteDeadline takes the deadline over from this type, or hands it back when t is zero. net/http does the latter after
// each request, which then costs nothing.
func (c *stallConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() && !c.foreign && c.timeout > 0 {
		return nil
	}
	c.foreign = !t.IsZero()
	c.armed = time.Time{}
	return c.socket.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (c *stallConn) SetDeadline(t time.Time) error {
	if err := c.socket.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// release leaves the connection to whoever has hijacked it.
func (c *stallConn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeout = 0
	if !c.foreign {
		c.socket.SetWriteDeadline(time.Time{})
	}
}

// SetStallTimeout is for whoever has hijacked the connection and wants it to go on giving up on a peer that takes nothing for so long.
func (c *stallConn) SetStallTimeout(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeout, c.armed = d, time.Time{}
}

// lingers gives a connection that is about to close a timeout, if it has none.
func (c *stallConn) lingers(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timeout == 0 {
		c.timeout = d
		c.socket.SetWriteDeadline(time.Now().Add(d))
	}
}

// Close closes the connection, and counts that once.
func (c *stallConn) Close() error {
	c.closeOnce.Do(c.onClose)
	return c.socket.Close()
}
