package httpserver

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// stream is one HTTP/2 or HTTP/3 request. A client may stop sending its body or taking its answer on one stream while the
// connection is busy with others, so the timeouts that h1Conn and stallConn keep for connections are kept here once more.
//
// It is the request's ResponseWriter and, by way of streamBody, its Body.
type stream struct {
	http.ResponseWriter
	request *http.Request
	limits  *Limits
	dates   *dateHeader

	announced http.Header // the trailers that the head names; every copy of the request has this map

	tunnel  *tunnel // of a WebSocket; nil for other requests
	body    streamBody
	headed  bool  // the head of the answer has gone, or its headers were cleaned
	refused bool  // the client asked for a WebSocket and the handler has answered something else: nothing follows the head
	written int64 // body bytes of the answer
	reads   watch
	writes  watch
}

// unflushed is how much of an answer net/http and quic-go keep in memory before they wait for the client.
const unflushed = 4 << 10

// serveStream runs the handler under watch.
func (e *endpoint) serveStream(w http.ResponseWriter, r *http.Request, tunnelled bool) {
	var s *stream
	var answer *h3Answer // nil for others
	switch {
	case r.ProtoMajor == 3:
		e.streams.Add(1)
		defer e.streams.Add(-1)
		both := &h3Stream{answer: h3Answer{ResponseWriter: w, isHead: r.Method == http.MethodHead}}
		s = &both.stream
		if !tunnelled {
			answer = &both.answer
			w = answer
		}
	default:
		s = &stream{}
	}
	s.ResponseWriter, s.request, s.limits, s.dates, s.announced = w, r, &e.server.cfg.Limits, &e.dates, r.Trailer
	s.reads.expire, s.reads.writer = (*http.ResponseController).SetReadDeadline, w
	s.writes.expire, s.writes.writer = (*http.ResponseController).SetWriteDeadline, w
	defer s.reads.stop()
	defer s.writes.stop()
	if tunnelled {
		s.tunnel = openTunnel(s)
	} else if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		s.body = streamBody{stream: s, body: r.Body}
		r.Body = &s.body
	}

	e.server.handler.ServeHTTP(s, r)
	if tunnelled && s.tunnel.taken {
		s.tunnel.run()
		return
	}
	s.head() // net/http and quic-go send it for a handler that wrote nothing

	if s.writes.stop() {
		panic(http.ErrAbortHandler) // resets the stream
	}
	if s.written > 0 && s.limits.WriteTimeout > 0 && r.Context().Err() == nil {
		// The end of the answer goes out behind our back. With a client that has gone, the deadline would be all that keeps the connection.
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.WriteTimeout))
	}
	if answer != nil {
		answer.end()
	}
}

// watched is how much of a large write the client must take within the write timeout.
const watched = 64 << 10

// connectionHeaders mean the connection of HTTP/1 (RFC 9110, 7.6.1). Clients of HTTP/2 and HTTP/3 must take an answer that
// has one as malformed (RFC 9113, 8.2.2; RFC 9114, 4.2), so what PHP, a plugin or a route set there is dropped.
var connectionHeaders = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// head cleans the headers before they go.
func (s *stream) head() {
	if s.headed {
		return
	}
	s.headed = true
	s.clean()
	s.date()
	if s.tunnel != nil && !s.tunnel.taken { // of a handler that wrote a body, or nothing at all: the implied 200 would open the tunnel
		s.refused = true
		s.ResponseWriter.WriteHeader(http.StatusNotImplemented)
	}
}

// errNoTunnel ends a handler that answers a client which waits for a WebSocket with a stream of its own.
var errNoTunnel = errors.New("the client asked for a WebSocket, which there is not at this path")

func (s *stream) clean() {
	header := s.Header()
	for _, name := range connectionHeaders {
		delete(header, name)
	}
}

// date spares the protocols to write the time of each answer. Who has set one keeps it, or none where it is nil.
func (s *stream) date() {
	header := s.Header()
	if _, ok := header["Date"]; !ok {
		header["Date"] = s.dates.get(time.Now())
	}
}

// WriteHeader sends the head, or an informational answer before it.
func (s *stream) WriteHeader(status int) {
	if status >= 200 && !s.headed {
		s.headed = true
		s.date()
	}
	if s.tunnel != nil && status >= 200 && status < 300 {
		s.refused = true
		status = http.StatusNotImplemented // this route knows no WebSocket, and 2xx would open the tunnel
	}
	s.clean()
	s.ResponseWriter.WriteHeader(status)
}

// Write hands p on, under watch from where it may have to wait for the client.
func (s *stream) Write(p []byte) (n int, err error) {
	s.head()
	if s.refused {
		return 0, errNoTunnel
	}
	if s.written += int64(len(p)); s.written <= unflushed {
		return s.ResponseWriter.Write(p)
	}
	for {
		piece := p[n:min(n+watched, len(p))]
		s.writes.begin(s.limits.WriteTimeout)
		k, err := s.ResponseWriter.Write(piece)
		s.writes.end()
		if n += k; err != nil || n == len(p) {
			return n, err
		}
	}
}

// WriteString is Write.
func (s *stream) WriteString(text string) (int, error) {
	s.head()
	if s.refused {
		return 0, errNoTunnel
	}
	if size := s.written + int64(len(text)); size <= unflushed {
		s.written = size
		return io.WriteString(s.ResponseWriter, text)
	}
	return s.Write([]byte(text))
}

// FlushError sends what there is.
func (s *stream) FlushError() error {
	s.head()
	if s.refused {
		return errNoTunnel
	}
	if s.written == 0 {
		return http.NewResponseController(s.ResponseWriter).Flush() // headers alone wait for nobody
	}
	s.writes.begin(s.limits.WriteTimeout)
	defer s.writes.end()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Flush is FlushError for handlers that look for an http.Flusher.
func (s *stream) Flush() { s.FlushError() }

// Unwrap is for http.ResponseController, and for handlers that need an interface of the protocol's own ResponseWriter.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// streamBody is the Body of the request.
type streamBody struct {
	stream *stream
	body   io.ReadCloser
	pace   pace
	slow   bool // too slow: nothing more is read
}

// Read waits for the client no longer than the body timeout.
func (b *streamBody) Read(p []byte) (int, error) {
	s := b.stream
	if b.slow {
		return 0, os.ErrDeadlineExceeded
	}
	began := time.Now()
	s.reads.begin(s.limits.BodyTimeout)
	n, err := b.body.Read(p)
	s.reads.end()
	if err == nil && b.pace.tooSlow(time.Since(began), n, s.limits) {
		b.slow = true
		return n, os.ErrDeadlineExceeded
	}
	if err == io.EOF && s.request.ProtoMajor == 3 {
		s.takeTrailers()
	}
	return n, err
}

// takeTrailers puts the trailers that quic-go has just set on its own copy of the request where handlers, which have other
// copies, see them. As with net/http's HTTP/2, those that nobody announced are dropped.
func (s *stream) takeTrailers() {
	came := s.request.Trailer
	for name := range s.announced {
		if values, ok := came[name]; ok {
			s.announced[name] = values
		}
	}
	s.request.Trailer = s.announced
}

// Close ends the body.
func (b *streamBody) Close() error { return b.body.Close() }

// watch lets the writer's deadline expire when one of many operations takes longer than a limit. One timer lasts for all of them: it looks from
// time to time when the current one began.
type watch struct {
	expire func(*http.ResponseController, time.Time) error
	writer http.ResponseWriter

	mu      sync.Mutex
	timer   *time.Timer
	limit   time.Duration
	began   time.Time // zero between operations
	stopped bool
	expired bool
}

// begin starts an operation; a limit of 0 is none.
func (w *watch) begin(limit time.Duration) {
	if limit == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
	if w.timer == nil && !w.stopped {
		w.limit = limit
		w.timer = time.AfterFunc(limit, w.look)
	}
}

// end ends the operation.
func (w *watch) end() {
	w.mu.Lock()
	w.began = time.Time{}
	w.mu.Unlock()
}

// look runs in the timer's goroutine.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	wait := w.limit
	if !w.began.IsZero() {
		wait -= time.Since(w.began)
	}
	if wait > 0 {
		w.timer.Reset(wait)
		return
	}
	w.expired, w.stopped = true, true
	w.expire(http.NewResponseController(w.writer), time.Unix(1, 0))
}

// stop reports whether an operation has expired. From then on expire is not called: the protocol's ResponseWriter must not be
// touched after the handler.
func (w *watch) stop() (expired bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.stopped = true
	return w.expired
}
