package httpserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	_ "github.com/edge-server/edge/core/httpserver/http2xconnect" // before net/http; see there
)

// webSocketStream recognises an extended CONNECT for a WebSocket (RFC 8441, RFC 9220), which net/http shows as a header and quic-go as
// the version, and makes it look like the request that it is in HTTP/1.1: handlers, plugins and routes need to know one form only.
func webSocketStream(r *http.Request) bool {
	if r.ProtoMajor < 2 || r.Method != http.MethodConnect {
		return false
	}
	switch protocol := r.Header[":protocol"]; {
	case len(protocol) == 1 && protocol[0] == "websocket":
		delete(r.Header, ":protocol")
	case r.ProtoMajor == 3 && r.Proto == "websocket":
		r.Proto = "HTTP/3.0"
	default:
		return false
	}
	r.Method = http.MethodGet
	r.Header["Upgrade"], r.Header["Connection"] = []string{"websocket"}, []string{"Upgrade"}
	return true
}

// tunnel is the two directions of an extended CONNECT as a connection. It is there for who hijacks the stream, as that is done in
// HTTP/1.1; but the stream ends with its handler, so what goes on in it is given to AfterHandler.
type tunnel struct {
	stream *stream
	body   io.ReadCloser
	after  func()

	writes watch

	writing sync.Mutex // held through a write; taken before mu

	mu     sync.Mutex // guards what follows, and that the protocol's ResponseWriter is not touched once closed
	busy   bool       // in a write
	closed bool

	taken bool // hijacked; of the handler's goroutine
}

// openTunnel takes the request's body away from the handler: it would never end.
func openTunnel(s *stream) *tunnel {
	t := &tunnel{stream: s, body: s.request.Body}
	t.writes.expire, t.writes.writer = (*http.ResponseController).SetWriteDeadline, s.ResponseWriter
	s.request.Body, s.request.ContentLength = http.NoBody, 0
	return t
}

// Hijack hands a stream that was opened for a WebSocket to the handler. The connection that it returns has two more methods, Begin and AfterHandler.
func (s *stream) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch {
	case s.tunnel == nil:
		return nil, nil, http.ErrNotSupported
	case s.tunnel.taken:
		return nil, nil, http.ErrHijacked
	}
	s.tunnel.taken = true
	return s.tunnel, nil, nil
}

// run is called when the handler has returned.
func (t *tunnel) run() {
	defer t.Close()
	if t.after != nil {
		t.after()
	}
}

// Begin sends the head of the answer.
func (t *tunnel) Begin(header http.Header) error {
	w := t.stream.ResponseWriter
	to := w.Header()
	for name, values := range header {
		to[name] = values
	}
	delete(to, "Content-Length")
	t.stream.head()
	w.WriteHeader(http.StatusOK)
	return http.NewResponseController(w).Flush()
}

// AfterHandler says what goes on once the handler has returned. The stream ends with it.
func (t *tunnel) AfterHandler(f func()) { t.after = f }

// SetStallTimeout is how long a write may wait for the client.
func (t *tunnel) SetStallTimeout(d time.Duration) { t.writes.limit = d }

// Read reads what the client sends.
func (t *tunnel) Read(p []byte) (int, error) { return t.body.Read(p) }

// Write sends p at once.
func (t *tunnel) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if !t.setBusy(true) {
		return 0, net.ErrClosed
	}
	defer t.setBusy(false)
	t.writes.begin(t.writes.limit)
	defer t.writes.end()
	n, err := t.stream.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(t.stream.ResponseWriter).Flush()
	}
	return n, err
}

func (t *tunnel) setBusy(busy bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = busy
	return !t.closed
}

// Close ends the stream when AfterHandler's function returns. A write that waits for the client gives up; so does a read.
func (t *tunnel) Close() error {
	controller := http.NewResponseController(t.stream.ResponseWriter)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	controller.SetReadDeadline(time.Unix(1, 0))
	if t.busy {
		controller.SetWriteDeadline(time.Unix(1, 0)) // resets the stream
	}
	t.mu.Unlock()
	t.writing.Lock() // until the write has returned
	defer t.writing.Unlock()
	t.writes.stop()
	return nil
}

// LocalAddr is that of the connection.
func (t *tunnel) LocalAddr() net.Addr {
	if addr, ok := t.stream.request.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addr
	}
	return nil
}

// RemoteAddr is that of the connection.
func (t *tunnel) RemoteAddr() net.Addr { return remote(t.stream.request.RemoteAddr) }

type remote string

func (remote) Network() string  { return "stream" }
func (r remote) String() string { return string(r) }

// SetDeadline sets both deadlines. One that has passed cannot be taken back: the protocols end the stream.
func (t *tunnel) SetDeadline(at time.Time) error {
	if err := t.SetReadDeadline(at); err != nil {
		return err
	}
	return t.SetWriteDeadline(at)
}

// SetReadDeadline is for Read.
func (t *tunnel) SetReadDeadline(at time.Time) error {
	return t.deadline((*http.ResponseController).SetReadDeadline, at)
}

// SetWriteDeadline is for Write; SetStallTimeout makes it unnecessary.
func (t *tunnel) SetWriteDeadline(at time.Time) error {
	return t.deadline((*http.ResponseController).SetWriteDeadline, at)
}

func (t *tunnel) deadline(set func(*http.ResponseController, time.Time) error, at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return os.ErrClosed
	}
	return set(http.NewResponseController(t.stream.ResponseWriter), at)
}
