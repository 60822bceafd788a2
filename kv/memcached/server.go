package memcached

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/edge-server/edge/kv"
)

const (
	// maxPipelined is how many requests are on their way before their answers are read. Their lines fit into the buffers of a
	// socket, so that neither side waits for the other to read.
	maxPipelined = 64

	// maxUnsent is how many bytes of requests are gathered before they are sent.
	maxUnsent = 64 << 10

	// downFor is how long a server that could not be reached is left alone, while callers get the error at once.
	downFor = 100 * time.Millisecond
)

// server is one memcached and a pool of connections to it.
type server struct {
	network, addr string
	dial          func(ctx context.Context, network, addr string) (net.Conn, error)
	dialTimeout   time.Duration
	timeout       time.Duration
	maxIdle       time.Duration
	maxValue      int
	slots         chan struct{} // one for each connection in use

	mu        sync.Mutex // protects what follows
	idle      []*conn    // the last is the youngest
	closed    bool
	downUntil time.Time
	downErr   error
}

type conn struct {
	net.Conn
	r    *bufio.Reader
	used time.Time
}

// request is one of a pipeline.
type request struct {
	append func(dst []byte) []byte
	done   func(reply)
}

// do sends requests and hands their answers over, in order. once means that they must not be sent twice: then a broken connection
// is an error even when it had been idle. Requests before the one that failed have been answered.
func (s *server) do(ctx context.Context, once bool, requests []request) error {
	for len(requests) > 0 {
		n := min(len(requests), maxPipelined)
		if err := s.lot(ctx, once, requests[:n]); err != nil {
			return err
		}
		requests = requests[n:]
	}
	return nil
}

func (s *server) lot(ctx context.Context, once bool, requests []request) error {
	select {
	case s.slots <- struct{}{}:
	default:
		wait, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		select {
		case s.slots <- struct{}{}:
		case <-wait.Done():
			if err := ctx.Err(); err != nil {
				return err
			}
			return fmt.Errorf("%w: all %d connections were busy for %s; raise memcached.pool_size", kv.ErrUnavailable, cap(s.slots), s.timeout)
		}
	}
	defer func() { <-s.slots }()
	for {
		c, reused, err := s.get(ctx)
		if err != nil {
			return err
		}
		answered, err := s.exchange(ctx, c, requests)
		if err == nil {
			s.put(c)
			return nil
		}
		c.Close()
		// A connection that broke while it was idle says so at its next use; then another one may do better.
		var network net.Error
		if !reused || once || answered > 0 || ctx.Err() != nil || errors.As(err, &network) && network.Timeout() || errors.Is(err, errProtocol) {
			return err
		}
	}
}

// exchange sends the requests over one connection and reads their answers.
func (s *server) exchange(ctx context.Context, c *conn, requests []request) (answered int, err error) {
	end := time.Now().Add(s.timeout)
	if limit, ok := ctx.Deadline(); ok && limit.Before(end) {
		end = limit
	}
	if err := c.SetDeadline(end); err != nil {
		return 0, err
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		defer func() {
			if !stop() && err == nil {
				err = context.Cause(ctx) // the deadline may come over the next user: the connection is spent
			}
		}()
	}
	var out []byte
	for i, r := range requests {
		out = r.append(out)
		if len(out) >= maxUnsent || i == len(requests)-1 {
			if _, err := c.Write(out); err != nil {
				return 0, err
			}
			out = out[:0]
		}
	}
	for ; answered < len(requests); answered++ {
		answer, err := readReply(c.r, s.maxValue)
		if err != nil {
			return answered, noEOF(err)
		}
		requests[answered].done(answer)
	}
	return answered, nil
}

// get returns an idle connection that is still good, or a new one.
func (s *server) get(ctx context.Context) (c *conn, reused bool, err error) {
	for {
		c, err := s.takeIdle()
		if err != nil {
			return nil, false, err
		}
		if c == nil {
			break
		}
		if time.Since(c.used) < s.maxIdle && alive(c.Conn) {
			return c, true, nil
		}
		c.Close()
	}
	c, err = s.connect(ctx)
	return c, false, err
}

func (s *server) takeIdle() (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, kv.ErrClosed
	}
	if len(s.idle) == 0 {
		return nil, nil
	}
	c := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	return c, nil
}

func (s *server) connect(ctx context.Context) (*conn, error) {
	s.mu.Lock()
	down, err := time.Now().Before(s.downUntil), s.downErr
	s.mu.Unlock()
	if down {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, s.dialTimeout)
	defer cancel()
	nc, err := s.dial(limited, s.network, s.addr)
	if err != nil {
		if ctx.Err() == nil {
			s.mu.Lock()
			s.downUntil, s.downErr = time.Now().Add(downFor), err
			s.mu.Unlock()
		}
		return nil, err
	}
	return &conn{Conn: nc, r: bufio.NewReaderSize(nc, 16<<10)}, nil
}

// put gives a connection back. What is left unread in it would be taken for the answer of the next request.
func (s *server) put(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || c.r.Buffered() > 0 {
		c.Close()
		return
	}
	c.used = time.Now()
	s.idle = append(s.idle, c)
	if oldest := s.idle[0]; time.Since(oldest.used) > s.maxIdle {
		oldest.Close()
		s.idle = append(s.idle[:0], s.idle[1:]...)
	}
}

func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

// alive looks, without waiting, whether the other side has closed the connection or sent what nobody asked for.
func alive(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	good := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		good = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true // never wait
	})
	return err == nil && good
}

// command sends one line of the classic protocol and returns the line of its answer.
func (s *server) command(ctx context.Context, line string) (string, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	end := time.Now().Add(s.timeout)
	if limit, ok := ctx.Deadline(); ok && limit.Before(end) {
		end = limit
	}
	if err := c.SetDeadline(end); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		return "", err
	}
	answer, err := readLine(c.r)
	return string(answer), noEOF(err)
}
