package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

type readWriteCloser interface{ io.ReadWriteCloser }

// isWebSocket reports whether the request opens a WebSocket: the only protocol that connections may change to.
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// Tunnels are the WebSockets that go through proxies. Reloads leave them alone.
type Tunnels struct {
	mu     sync.Mutex
	open   map[*tunnelled]struct{}
	closed bool
	wg     sync.WaitGroup
}

// NewTunnels returns none.
func NewTunnels() *Tunnels { return &Tunnels{open: map[*tunnelled]struct{}{}} }

// Open is how many there are.
func (t *Tunnels) Open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// Stop closes all.
func (t *Tunnels) Stop(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	for one := range t.open {
		one.close()
	}
	t.mu.Unlock()
	done := make(chan struct{})
	go func() { // ends with the tunnels, which are closed
		defer close(done)
		t.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("WebSockets through proxies did not end: %w", context.Cause(ctx))
	}
}

// add registers a tunnel, unless there are to be none any more.
func (t *Tunnels) add(one *tunnelled) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.open[one] = struct{}{}
	t.wg.Add(1)
	return true
}

func (t *Tunnels) remove(one *tunnelled) {
	t.mu.Lock()
	delete(t.open, one)
	t.mu.Unlock()
	t.wg.Done()
}

// tunnelConn is the connection to an upstream that has changed protocols.
type tunnelConn struct {
	readWriteCloser
	end  func()
	once sync.Once
}

func (c *tunnelConn) Close() error {
	err := c.readWriteCloser.Close()
	c.once.Do(c.end)
	return err
}

// tunnelled is an answer that opens a tunnel. It is an error to get past ReverseProxy, which knows HTTP/1.1 clients only.
type tunnelled struct {
	header   http.Header
	upstream io.ReadWriteCloser
	client   net.Conn
	moved    atomic.Int64 // when something passed last
}

func (t *tunnelled) Error() string { return "a tunnel was opened" }

func (t *tunnelled) close() {
	t.upstream.Close()
	if t.client != nil {
		t.client.Close()
	}
}

// takeTunnel takes the connection out of an answer.
func takeTunnel(x *exchange, res *http.Response) error {
	conn, ok := res.Body.(*tunnelConn)
	if !ok || !isWebSocket(x.request) || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
		return errors.New("the upstream changed to a protocol that nobody asked for")
	}
	res.Body = http.NoBody
	return &tunnelled{header: res.Header.Clone(), upstream: conn}
}

// stream is the connection of a WebSocket over HTTP/2 or HTTP/3.
type stream interface {
	Begin(http.Header) error
	AfterHandler(func())
	SetStallTimeout(time.Duration)
}

// serveTunnel joins the two connections. In HTTP/1.1 it returns at once: the handler need not stay for it.
func (p *Proxy) serveTunnel(w http.ResponseWriter, x *exchange, t *tunnelled) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.upstream.Close()
		p.log.Warn("a client cannot have a WebSocket here", "route", p.name, "error", err)
		http.Error(w, "502 bad gateway", http.StatusBadGateway)
		return
	}
	t.client = conn
	if !p.tunnels.add(t) {
		t.close()
		return
	}
	run := func() {
		defer p.tunnels.remove(t)
		p.runTunnel(t, rw)
	}
	if s, ok := conn.(stream); ok {
		for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Accept"} {
			delete(t.header, name)
		}
		s.SetStallTimeout(p.config.Timeouts.Idle)
		if err := s.Begin(t.header); err != nil {
			t.close()
			p.tunnels.remove(t)
			return
		}
		s.AfterHandler(run)
		return
	}
	if _, err := conn.Write(switching(t.header)); err != nil {
		t.close()
		p.tunnels.remove(t)
		return
	}
	go run() // ends with either connection, or with Tunnels.Stop
}

// switching is the head of the answer in HTTP/1.1.
func switching(h http.Header) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	h.Del("Content-Length")
	h.Del("Transfer-Encoding")
	_ = h.Write(&b) // into memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// runTunnel passes on what both sides say until one of them ends, or both were silent for too long.
func (p *Proxy) runTunnel(t *tunnelled, rw *bufio.ReadWriter) {
	limit := p.config.Timeouts.Tunnel
	t.moved.Store(time.Now().UnixNano())
	if limit > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(limit, func() {
			if left := limit - time.Since(time.Unix(0, t.moved.Load())); left > 0 {
				timer.Reset(left)
				return
			}
			t.close()
		})
		defer timer.Stop()
	}
	var fromClient io.Reader = t.client
	if rw != nil && rw.Reader.Buffered() > 0 {
		held, _ := rw.Reader.Peek(rw.Reader.Buffered()) // it is there
		fromClient = io.MultiReader(bytes.NewReader(bytes.Clone(held)), t.client)
	}
	done := make(chan struct{})
	go func() { // ends with the connection to the upstream, which is closed below
		defer close(done)
		t.pass(t.client, t.upstream, p.config.Timeouts.Idle)
		t.close()
	}()
	t.pass(t.upstream, fromClient, 0)
	t.close()
	<-done
}

// pass copies. A client that takes nothing for as long as stall ends the tunnel; writes to upstreams have their limit.
func (t *tunnelled) pass(to io.Writer, from io.Reader, stall time.Duration) {
	buf := make([]byte, 4<<10) // messages are short, and there are many tunnels
	conn, _ := to.(net.Conn)
	if _, ok := conn.(stream); ok {
		conn = nil // has its own limit, and a deadline of a stream cannot be taken back
	}
	for {
		n, err := from.Read(buf)
		if n > 0 {
			t.moved.Store(time.Now().UnixNano())
			if conn != nil && stall > 0 {
				_ = conn.SetWriteDeadline(time.Now().Add(stall)) // a closed one fails below
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
