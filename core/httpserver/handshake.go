package httpserver

import (
	"container/list"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/core/acme"
)

// maxHandshakes bounds the TLS handshakes that one listener has open. A flood of clients that never finish theirs then costs
// bounded memory, and since the oldest ones make room, those that do finish still get in.
const maxHandshakes = 4096

// tlsListener accepts connections and hands them on when their PROXY header has come and their TLS handshake is done: as a *tls.Conn when the client chose
// HTTP/2, because net/http serves HTTP/2 on nothing else, else as a *secureConn.
type tlsListener struct {
	inner   *tcpListener
	config  *tls.Config   // nil: there is a PROXY header alone
	proxies proxies       // nil: there is none
	timeout time.Duration // of one handshake
	limit   int           // maxHandshakes
	log     *slog.Logger
	failed  atomic.Uint64 // handshakes

	ready  chan net.Conn
	broken chan error // of the inner Accept
	done   chan struct{}
	close  sync.Once
	wg     sync.WaitGroup // the accept loop and the handshakes

	mu   sync.Mutex
	open *list.List // of *stallConn in a handshake, oldest first; nil after Close
}

func newTLSListener(inner *tcpListener, config *tls.Config, proxies proxies, timeout time.Duration, log *slog.Logger) *tlsListener {
	t := &tlsListener{
		inner: inner, config: config, proxies: proxies, timeout: timeout, limit: maxHandshakes, log: log,
		ready: make(chan net.Conn), broken: make(chan error), done: make(chan struct{}), open: list.New(),
	}
	t.wg.Go(t.acceptAll)
	return t
}

// acceptAll ends with Close.
func (t *tlsListener) acceptAll() {
	for {
		conn, err := t.inner.accept()
		if err != nil {
			select {
			case t.broken <- err: // net/http decides whether and when to go on
				continue
			case <-t.done:
				return
			}
		}
		if place := t.enter(conn); place != nil {
			t.wg.Go(func() { t.handshake(conn, place) })
		}
	}
}

// enter notes a connection that begins its handshake, at the cost of the oldest one when there are too many.
func (t *tlsListener) enter(conn *stallConn) *list.Element {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		conn.Close()
		return nil
	}
	if t.open.Len() >= t.limit {
		t.open.Remove(t.open.Front()).(*stallConn).Close()
	}
	return t.open.PushBack(conn)
}

func (t *tlsListener) leave(place *list.Element) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open != nil {
		t.open.Remove(place) // nothing happens when it has been removed
	}
}

// handshake ends within the timeout, or when the connection is closed.
func (t *tlsListener) handshake(conn *stallConn, place *list.Element) {
	conn.SetDeadline(time.Now().Add(t.timeout))
	if t.proxies != nil {
		if err := t.proxies.learn(conn); err != nil {
			t.leave(place)
			t.failed.Add(1)
			t.log.Debug("connection refused", "remote", conn.RemoteAddr().String(), "error", err)
			conn.Close()
			return
		}
	}
	if t.config == nil {
		t.leave(place)
		conn.SetDeadline(time.Time{})
		t.deliver(conn, conn)
		return
	}
	secure := tls.Server(newGather(conn), t.config)
	err := secure.Handshake()
	t.leave(place)
	if err != nil {
		t.failed.Add(1)
		t.log.Debug("TLS handshake failed", "remote", conn.RemoteAddr().String(), "error", err)
		answerPlainHTTP(err)
		conn.Close()
		return
	}
	conn.SetDeadline(time.Time{})

	if secure.ConnectionState().NegotiatedProtocol == acme.Protocol {
		secure.Close() // the handshake was the answer
		return
	}
	var result net.Conn = secure
	if secure.ConnectionState().NegotiatedProtocol != "h2" {
		result = &secureConn{secure, conn}
	}
	t.deliver(result, conn)
}

// deliver hands a connection on.
func (t *tlsListener) deliver(result net.Conn, conn *stallConn) {
	select {
	case t.ready <- result:
	case <-t.done:
		conn.Close()
	}
}

// answerPlainHTTP helps someone who has written http:// for https://.
func answerPlainHTTP(err error) {
	var notTLS tls.RecordHeaderError
	if !errors.As(err, &notTLS) || notTLS.Conn == nil {
		return
	}
	switch string(notTLS.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		io.WriteString(notTLS.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nThis port speaks HTTPS: write https:// in the URL.\n")
	}
}

// Accept returns the next connection whose handshake is done.
func (t *tlsListener) Accept() (net.Conn, error) {
	select {
	case conn := <-t.ready:
		return conn, nil
	case err := <-t.broken:
		return nil, err
	case <-t.done:
		return nil, net.ErrClosed
	}
}

// Close ends the accept loop and the handshakes that are under way; wait returns when they have ended.
func (t *tlsListener) Close() error {
	err := net.ErrClosed
	t.close.Do(func() {
		close(t.done)
		err = t.inner.Close()
		t.mu.Lock()
		defer t.mu.Unlock()
		for e := t.open.Front(); e != nil; e = e.Next() {
			e.Value.(*stallConn).Close()
		}
		t.open = nil
	})
	return err
}

func (t *tlsListener) wait() { t.wg.Wait() }

// Addr is the address of the socket.
func (t *tlsListener) Addr() net.Addr { return t.inner.Addr() }

// pending is the number of handshakes under way.
func (t *tlsListener) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		return 0
	}
	return t.open.Len()
}
