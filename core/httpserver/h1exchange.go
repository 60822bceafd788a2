package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// h1Exchange is one request with its answer. It is the request's context as well, so that all of it is one piece of memory.
type h1Exchange struct {
	conn     *h1Conn
	request  *http.Request // &own
	own      http.Request
	url      url.URL
	values   [12]string // of the headers, if there are no more
	body     h1Body
	response h1Response

	asking  sync.Mutex // guards awaited, and keeps 100 Continue before the answer
	awaited bool       // the client waits for 100 Continue, or for its answer

	mu    sync.Mutex // guards what follows
	ended bool
	done  chan struct{} // made when somebody asks for it
	after map[int]func()
	next  int
}

var _ context.Context = (*h1Exchange)(nil)

// cancel ends the context: the client has gone, or the handler has returned.
func (x *h1Exchange) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	x.ended = true
	if x.done != nil {
		close(x.done)
	}
	for _, f := range x.after {
		go f() // ends by itself: that is what context.AfterFunc promises
	}
	x.after = nil
}

// Done is closed when the client goes away or the handler returns.
func (x *h1Exchange) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.ended {
			close(x.done)
		}
	}
	return x.done
}

// Err is context.Canceled once Done is closed.
func (x *h1Exchange) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return context.Canceled
	}
	return nil
}

// Deadline says that there is none.
func (x *h1Exchange) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value knows the address that the client has connected to, and the server, from whose presence httputil.ReverseProxy takes that
// it may break an answer off.
func (x *h1Exchange) Value(key any) any {
	switch key {
	case http.LocalAddrContextKey:
		return x.conn.conn.LocalAddr()
	case http.ServerContextKey:
		return x.conn.endpoint.http
	}
	return nil
}

// goOn tells a client that waits for it to send its body, unless it gets its answer instead.
func (x *h1Exchange) goOn() error {
	x.asking.Lock()
	defer x.asking.Unlock()
	if !x.awaited {
		return nil
	}
	x.awaited = false
	return x.conn.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"), nil)
}

// stopAsking is called before an answer: no 100 Continue may follow.
func (x *h1Exchange) stopAsking() {
	if x.body.expects {
		x.asking.Lock()
		x.awaited = false
		x.asking.Unlock()
	}
}

// AfterFunc saves contexts that are derived from this one their goroutine.
func (x *h1Exchange) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		go f() // as above
		return func() bool { return false }
	}
	if x.after == nil {
		x.after = map[int]func(){}
	}
	key := x.next
	x.next++
	x.after[key] = f
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		_, waits := x.after[key]
		delete(x.after, key)
		return waits
	}
}

// h1Body is the body of a request.
type h1Body struct {
	exchange *h1Exchange

	mu      sync.Mutex // handlers may read in goroutines of their own
	chunked bool
	expects bool   // the client waits for 100 Continue before it sends the body; it may decide not to send it
	over    bool   // it was read to its end
	closed  bool   // by the handler, or because it has returned
	err     error  // what every Read returns
	left    uint64 // bytes of the body, or of the chunk
	amid    bool   // a chunk has begun
	excess  int64  // bytes of chunk headers beyond what their data justifies
	pace    pace
}

const (
	// maxTrailer bounds a trailer section.
	maxTrailer = 3 << 10

	// maxChunkExcess bounds chunk headers that carry more than the data between them.
	maxChunkExcess = 16 << 10
)

// Read reads on, and lets the client begin if it waits for that.
func (b *h1Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *h1Body) read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.over:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case b.expects:
		if err := b.exchange.goOn(); err != nil {
			return 0, b.fail(err)
		}
	}
	if b.chunked && !b.amid {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
	}
	n, err := b.data(p[:min(uint64(len(p)), b.left)])
	b.left -= uint64(n)
	switch {
	case err != nil:
		return n, b.fail(err)
	case b.left > 0:
	case !b.chunked:
		b.reachedEnd()
		return n, io.EOF
	default:
		b.amid = false
		if err := b.endChunk(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// data reads what was received already, or else straight from the connection.
func (b *h1Body) data(p []byte) (int, error) {
	c := b.exchange.conn
	if c.start < c.end {
		n := copy(p, c.in[c.start:c.end])
		c.start += n
		return n, nil
	}
	return b.wait(p)
}

// wait reads from the connection, for as long as the body timeout allows.
func (b *h1Body) wait(p []byte) (int, error) {
	c := b.exchange.conn
	c.setPhase(phaseBody)
	began := time.Now()
	n, err := c.conn.Read(p)
	flags := c.setPhase(phaseBusy)
	switch {
	case n > 0 && b.pace.tooSlow(time.Since(began), n, &c.endpoint.server.cfg.Limits):
		c.unexpire(flags)
		return n, os.ErrDeadlineExceeded
	case n > 0:
		c.unexpire(flags) // the last byte came with the last second
		return n, nil
	case err == nil:
		err = io.ErrNoProgress
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.readGone = true
	}
	return 0, err
}

// reachedEnd notes the end of the body.
func (b *h1Body) reachedEnd() {
	b.over = true
	b.exchange.conn.setPhase(phaseHandler)
}

// fail makes err what every Read returns.
func (b *h1Body) fail(err error) error {
	b.err = err
	return err
}

// line reads a line of the chunked coding, without its end.
func (b *h1Body) line() ([]byte, error) {
	c := b.exchange.conn
	for scanned := 0; ; {
		received := c.in[c.start:c.end]
		for i := scanned; i < len(received); i++ {
			if received[i] != '\n' {
				continue
			}
			if i == 0 || received[i-1] != '\r' {
				return nil, b.refuse(refusedBareLF, "a line does not end in CR LF")
			}
			c.start += i + 1
			return received[:i-1], nil
		}
		scanned = len(received)
		if scanned > maxFramingLine {
			return nil, b.refuse(refusedChunk, "a line is too long")
		}
		if c.start > 0 {
			c.end = copy(c.in, received)
			c.start = 0
		}
		n, err := b.wait(c.in[c.end:])
		if err != nil {
			return nil, b.fail(err)
		}
		c.end += n
	}
}

// refuse breaks the body off: what comes after it cannot be told from it.
func (b *h1Body) refuse(why refusal, reason string) error {
	b.exchange.conn.endpoint.refuse(why)
	return b.fail(fmt.Errorf("malformed chunked body: %s", reason))
}

// nextChunk reads the line before a chunk and, before the end, the trailers.
func (b *h1Body) nextChunk() error {
	line, err := b.line()
	if err != nil {
		return err
	}
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return b.refuse(refusedChunk, "a chunk's line has control characters")
		}
	}
	digits, _, _ := strings.Cut(string(trimRight(line)), ";")
	size, ok := parseHex(trimRight([]byte(digits)))
	if !ok || len(line) > maxFramingLine {
		return b.refuse(refusedChunk, "a chunk does not begin with its size in hexadecimal digits")
	}
	b.excess = max(0, b.excess+int64(len(line))+2-16-2*int64(size))
	if b.excess > maxChunkExcess {
		return b.refuse(refusedChunk, "there is more about chunks than in them")
	}
	if size == 0 {
		if err := b.trailers(); err != nil {
			return err
		}
		b.reachedEnd()
		return io.EOF
	}
	b.amid, b.left = true, size
	return nil
}

// endChunk reads the end of the line behind a chunk.
func (b *h1Body) endChunk() error {
	line, err := b.line()
	if err == nil && len(line) > 0 {
		err = b.refuse(refusedChunk, "a chunk is longer than it says")
	}
	return err
}

// trailers reads the headers behind the last chunk. The handler sees them when all are there.
func (b *h1Body) trailers() error {
	var read http.Header
	for size := 0; ; {
		line, err := b.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		size += len(line) + 2
		name, value, _ := strings.Cut(string(line), ":")
		if len(line) > maxFramingLine || size > maxTrailer || !validTrailer(line) {
			return b.refuse(refusedTrailer, "this trailer is not taken")
		}
		if read == nil {
			read = http.Header{}
		}
		name = http.CanonicalHeaderKey(name)
		read[name] = append(read[name], strings.Trim(value, " \t"))
	}
	r := b.exchange.request
	if r.Trailer == nil {
		r.Trailer = read
		return nil
	}
	maps.Copy(r.Trailer, read)
	return nil
}

// Close ends the reading. What is left is read before the answer goes out, or the connection is closed behind it.
func (b *h1Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// take locks the body for the server. A goroutine of the handler that waits for the client is interrupted: its answer is due.
func (b *h1Body) take() {
	if b.mu.TryLock() {
		return
	}
	conn := b.exchange.conn.conn
	conn.SetReadDeadline(time.Unix(1, 0))
	b.mu.Lock()
	conn.SetReadDeadline(time.Time{})
}

// end is called when the handler has returned, or owns the connection: nothing reads from then on.
func (b *h1Body) end() {
	b.take()
	b.closed = true
	b.mu.Unlock()
}

// maxDiscard is how much of a body that nobody wants is read to keep the connection.
const maxDiscard = 256 << 10

// discard reads what the handler has left of the body, for as long as the client may take for a piece of it, and reports whether the
// connection can be used again.
func (b *h1Body) discard() bool {
	b.take()
	defer b.mu.Unlock()
	switch {
	case b.over:
		return true
	case b.err != nil, b.expects, !b.chunked && b.left > maxDiscard:
		return false
	}
	b.closed = true
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	began, limit := time.Now(), b.exchange.conn.endpoint.server.cfg.Limits.BodyTimeout
	for n := 0; n <= maxDiscard; {
		k, err := b.read(*buf)
		if err != nil {
			return err == io.EOF
		}
		if n += k; limit > 0 && time.Since(began) > limit {
			return false
		}
	}
	return false
}
