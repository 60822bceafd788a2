package ws

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"
)

// reader takes frames from a connection and hands messages to the protocol. It lives on the connection's goroutine.
type reader struct {
	c *Conn

	// What was received and not yet looked at is in[start:end]. Small on purpose: a connection that waits for its client holds
	// nothing else. The payload of larger frames goes into a buffer of the message at once.
	in         [readBuffer]byte
	start, end int

	own     bool  // the goroutine is the connection's own
	opening bool  // OnOpen is still to be called
	err     error // what the last read in loop said

	pressed bool // a deadline is set: a message has begun

	// The message in progress, when it is not one frame that lies in the buffer.
	left       int64 // of the payload of the frame that is being read, not taken yet
	shut       bool  // the frame is the client's close frame
	kind       Kind
	began      bool // a first fragment has come
	compressed bool
	message    []byte
	text       textCheck

	second uint32 // the moment that frames counts
	frames int

	tick  uint32 // the moment that fresh counts
	fresh int    // goroutines begun in it
}

const (
	readBuffer = 512

	// keptMessage is the largest buffer that goes back into the pool.
	keptMessage = 64 << 10
	firstChunk  = 4 << 10
)

// messages holds *[]byte for messages in progress.
var messages = sync.Pool{New: func() any { b := make([]byte, 0, firstChunk); return &b }}

// serve begins the life of a connection: the first thing that happens after the handshake. ahead is what the client has sent behind
// its handshake. With own, the goroutine belongs to the connection.
func (c *Conn) serve(ahead []byte, own bool) {
	r := &reader{c: c, own: own, opening: true}
	if r.end = copy(r.in[:], ahead); r.end < len(ahead) { // rare: the rest is read as if it came now
		c.mu.Lock()
		c.conn, c.raw = &prefixed{c.conn, ahead[r.end:]}, nil
		c.mu.Unlock()
	}
	c.begin()
	r.loop()
}

// loop waits for the client and works, until the end.
//
// A stack that has once grown to 4 KiB never shrinks below that while a read waits on it, and handlers make it grow. So a connection
// that was busy goes on in a new goroutine, whose stack is of 2 KiB: that and the reader are all it holds between messages. What stands here
// must therefore be shallow.
func (r *reader) loop() {
	for {
		if r.start == r.end && !r.opening {
			r.start = 0
			r.end, r.err = r.c.conn.Read(r.in[:])
			if r.end > 0 {
				r.err = nil // it comes again
			}
		}
		if !r.work() {
			return
		}
		if r.own && r.stale() {
			go r.loop() // ends with the connection, or in another one of these
			return
		}
	}
}

// stale reports whether the goroutine should be replaced: not more often than maxFresh times in a tick, busy connections do without.
func (r *reader) stale() bool {
	if now := r.c.endpoint.hub.wheel.tick.Load(); now != r.tick {
		r.tick, r.fresh = now, 0
	}
	r.fresh++
	return r.fresh <= maxFresh
}

const maxFresh = 16

// work deals with what is in the buffer and reports whether the connection goes on.
func (r *reader) work() (again bool) {
	c := r.c
	end := closing{CloseInternal, "internal error"}
	defer func() {
		if reason := recover(); reason != nil {
			c.endpoint.log.Error("ws: panic in a connection", "space", c.space().name, "reason", reason, "stack", string(debug.Stack()))
			r.goodbye(&frameError{CloseInternal, "internal error"})
			again = false
		}
		if !again {
			r.release()
			c.finish(end)
		}
	}()
	if r.opening {
		r.opening = false
		c.busy.Store(true)
		c.endpoint.protocol.OnOpen(c)
		c.attended()
	}
	if r.end > 0 {
		c.heard.Store(c.endpoint.hub.wheel.tick.Load())
	}
	for err := r.err; r.start < r.end || err != nil; {
		var ended *closing
		if err == nil {
			ended, err = r.frame()
		}
		switch {
		case ended != nil:
			end = *ended
			return false
		case err != nil:
			end = r.judge(err)
			return false
		}
	}
	if r.began { // and the rest is not there yet
		r.press()
	}
	return true
}

// begin lets what was sent before the connection was there go out.
func (c *Conn) begin() {
	c.endpoint.hub.wheel.add(c)
	c.mu.Lock()
	waits := c.queue.len() > 0
	if !waits {
		c.idleLocked()
	}
	switch {
	case c.broken: // by a stop that had no time left when there was no connection yet
		c.conn.Close()
	case c.ending: // by a Close that came too early to set it
		c.conn.SetReadDeadline(time.Now().Add(c.endpoint.limits.CloseTimeout))
	}
	c.mu.Unlock()
	if c.endpoint.hub.stops() { // since the handshake began: those who send all away may have missed this one
		c.Close(c.endpoint.restart.code, c.endpoint.restart.reason)
	}
	if waits {
		c.endpoint.hub.writers.add(c)
	}
}

// judge turns the error that ended the reading into the end of the connection.
func (r *reader) judge(err error) closing {
	c := r.c
	var breach *frameError
	switch {
	case errors.As(err, &breach):
		r.goodbye(breach)
		return closing{breach.code, breach.reason}
	case errors.Is(err, os.ErrDeadlineExceeded) && !c.Ending(): // a stream whose writer has failed ends with a deadline, too
		r.goodbye(&frameError{ClosePolicy, "a message took too long"})
		return closing{ClosePolicy, "a message took too long"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending { // ours, whether the client has answered in time or not
		return closing{c.code, c.reason}
	}
	return closing{CloseAbnormal, ""}
}

// finish takes the connection apart.
func (c *Conn) finish(end closing) {
	hub, space := c.endpoint.hub, c.space()
	defer hub.serving.Done()
	c.mu.Lock()
	c.broken = true
	c.queue.clear()
	c.mu.Unlock()
	c.conn.Close()
	hub.wheel.remove(c)
	defer space.release(c)
	defer c.leave()
	defer func() {
		if reason := recover(); reason != nil {
			c.endpoint.log.Error("ws: panic in a protocol's OnClose", "space", space.name, "reason", reason, "stack", string(debug.Stack()))
		}
	}()
	c.endpoint.protocol.OnClose(c, end.code, end.reason)
}

// goodbye tells the client what it has done wrong, and hears it out: who still sends would be reset, often before it has read the reason.
// Its half of the connection ends after the client's close frame only (RFC 6455, 7.1.1), since many clients cannot write any more when TLS has ended.
func (r *reader) goodbye(why *frameError) {
	c := r.c
	if why.code != CloseInternal {
		c.space().counters.malformed.Add(1)
	}
	c.startClose(why.code, why.reason)
	c.flushOut()
	if _, ok := c.conn.(stream); ok {
		return // its end does not overtake what was sent
	}
	if r.answered() {
		return
	}
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, onlyReader{c.conn}, lingerBytes)
}

const lingerBytes = 1 << 20

type onlyReader struct{ io.Reader }

// answered drops what the client sends until its close frame, and reports whether that came: within limits.close_timeout and lingerBytes.
// What the frames say is not looked at, since something was wrong with them already.
func (r *reader) answered() bool {
	for budget := lingerBytes; budget > 0; {
		if r.left > 0 {
			n, err := r.drop()
			if err != nil {
				return false
			}
			budget -= n
			continue
		}
		if r.shut {
			return true
		}
		if r.need(2) != nil {
			return false
		}
		n := 2
		r.shut = r.in[r.start]&0x0f == opClose
		length := uint64(r.in[r.start+1] & 0x7f)
		if r.in[r.start+1]&bitMask != 0 {
			n += 4
		}
		switch length {
		case 126:
			n += 2
		case 127:
			n += 8
		}
		if r.need(n) != nil {
			return false
		}
		switch length {
		case 126:
			length = uint64(binary.BigEndian.Uint16(r.in[r.start+2:]))
		case 127:
			length = binary.BigEndian.Uint64(r.in[r.start+2:])
		}
		r.start += n
		r.left = int64(min(length, math.MaxInt64))
		budget -= n
	}
	return false
}

// drop takes some of what is left of a payload, and looks at none of it.
func (r *reader) drop() (n int, err error) {
	if r.start == r.end {
		r.start = 0
		if r.end, err = r.read(r.in[:]); r.end == 0 && err != nil {
			return 0, err
		}
	}
	n = int(min(r.left, int64(r.end-r.start)))
	r.start += n
	r.left -= int64(n)
	return n, nil
}

// flushOut waits until the client has taken what waits for it, for a while.
func (c *Conn) flushOut() {
	timer := time.NewTimer(c.endpoint.limits.CloseTimeout)
	defer timer.Stop()
	select {
	case <-c.flush():
	case <-timer.C:
	}
}

// need has at least n bytes in the buffer; n is small.
func (r *reader) need(n int) error {
	for r.end-r.start < n {
		if r.start > 0 {
			r.end = copy(r.in[:], r.in[r.start:r.end])
			r.start = 0
		}
		if r.end > 0 || r.began {
			r.press()
		}
		k, err := r.read(r.in[r.end:])
		if r.end += k; err != nil && r.end-r.start < n {
			return err
		}
	}
	return nil
}

func (r *reader) read(p []byte) (int, error) {
	n, err := r.c.conn.Read(p)
	if n > 0 {
		r.c.heard.Store(r.c.endpoint.hub.wheel.tick.Load())
	}
	return n, err
}

// press sets the time within which the message in progress must be whole.
func (r *reader) press() {
	if !r.pressed {
		r.pressed = true
		r.c.readDeadline(time.Now().Add(r.c.endpoint.limits.ReadTimeout))
	}
}

// relax is called when nothing is in progress.
func (r *reader) relax() {
	if r.pressed && !r.began {
		r.pressed = false
		r.c.readDeadline(time.Time{})
	}
}

// readDeadline leaves the deadline alone that the close handshake has set.
func (c *Conn) readDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending {
		c.conn.SetReadDeadline(t)
	}
}

// frame reads one frame. ended is set when it was the client's close frame.
func (r *reader) frame() (ended *closing, err error) {
	if err := r.need(2); err != nil {
		return nil, err
	}
	n, breach := headLength(r.in[r.start:])
	if breach != nil {
		return nil, breach
	}
	if err := r.need(n); err != nil {
		return nil, err
	}
	head, breach := parseHead(r.in[r.start : r.start+n])
	if breach == nil {
		r.start += n
		r.left = head.length
		breach = r.count(&head)
	}
	if breach != nil {
		return nil, breach
	}
	if head.control() {
		return r.control(&head)
	}
	return nil, r.data(&head)
}

// count enforces limits.rate. Pieces of a message are free as long as there is something in them: the size of messages bounds them.
func (r *reader) count(head *frameHead) *frameError {
	limit := r.c.endpoint.limits.Rate
	if limit == 0 || head.op == opContinuation && head.length > 0 {
		return nil
	}
	second := r.c.endpoint.hub.wheel.tick.Load() / uint32(time.Second/wheelTick)
	if second != r.second {
		r.second, r.frames = second, 0
	}
	if r.frames++; r.frames <= limit {
		return nil
	}
	r.c.space().counters.flooded.Add(1)
	return &frameError{ClosePolicy, "too many messages"}
}

// control answers a control frame.
func (r *reader) control(head *frameHead) (*closing, error) {
	n := int(head.length)
	if err := r.need(n); err != nil {
		return nil, err
	}
	payload := r.in[r.start : r.start+n]
	r.start += n
	r.left = 0
	unmask(payload, head.mask)
	r.relax()
	switch head.op {
	case opPing:
		_ = r.c.enqueue(controlFrame(opPong, payload), true)
	case opClose:
		return r.closed(payload)
	}
	return nil, nil
}

// closed is the client's end of the connection.
func (r *reader) closed(payload []byte) (*closing, error) {
	end := closing{CloseNoStatus, ""}
	r.shut = true
	switch {
	case len(payload) == 1:
		return nil, broken("a close frame of one byte")
	case len(payload) >= 2:
		end.code = CloseCode(payload[0])<<8 | CloseCode(payload[1])
		if !closable(end.code) {
			return nil, broken("an invalid close code")
		}
		if !utf8.Valid(payload[2:]) {
			return nil, &frameError{CloseInvalidPayload, "the reason is not UTF-8"}
		}
		end.reason = string(payload[2:])
	}
	c := r.c
	c.mu.Lock()
	ours := c.ending
	if ours { // it has answered
		end = closing{c.code, c.reason}
	}
	c.mu.Unlock()
	c.startClose(end.code, "")
	c.flushOut()
	return &end, nil
}

// data reads a frame of a message and hands the message on when it is whole.
func (r *reader) data(head *frameHead) error {
	limit := r.c.endpoint.maxMessage()
	switch {
	case head.op == opContinuation && !r.began:
		return broken("a continuation of nothing")
	case head.op != opContinuation && r.began:
		return broken("a message within another one")
	case head.compressed && (head.op == opContinuation || !r.c.deflate.on):
		return broken("a reserved bit is set")
	}
	if head.op != opContinuation {
		r.kind, r.compressed = Kind(head.op), head.compressed
	}
	if r.compressed {
		limit += limit/256 + 64 // what deflate may add to what it cannot compress
	}
	if head.length > limit-int64(len(r.message)) {
		return &frameError{CloseTooBig, "the message is too big"}
	}
	if head.fin && !r.began && !r.compressed && head.length <= int64(r.end-r.start) {
		return r.inPlace(head)
	}
	r.began = true
	if err := r.payload(head); err != nil {
		return err
	}
	if !head.fin {
		return nil
	}
	return r.whole()
}

// inPlace hands on a message that lies in the buffer as a whole.
func (r *reader) inPlace(head *frameHead) error {
	payload := r.in[r.start : r.start+int(head.length)]
	r.start += len(payload)
	r.left = 0
	unmask(payload, head.mask)
	if r.kind == Text && !utf8.Valid(payload) {
		return errText
	}
	r.relax()
	r.dispatch(payload)
	return nil
}

var errText = &frameError{CloseInvalidPayload, "the text is not UTF-8"}

// payload appends the frame's payload to the message. Memory grows with what has come, not with what was announced.
func (r *reader) payload(head *frameHead) error {
	if r.message == nil {
		r.message = *messages.Get().(*[]byte)
	}
	mask := head.mask
	for r.left > 0 {
		var piece []byte
		if have := r.end - r.start; have > 0 {
			n := int(min(r.left, int64(have)))
			r.message = append(r.message, r.in[r.start:r.start+n]...)
			r.start += n
			piece = r.message[len(r.message)-n:]
		} else {
			r.press()
			room := r.room(r.left)
			n, err := r.read(room)
			if n == 0 && err != nil {
				return err
			}
			piece = room[:n]
			r.message = r.message[:len(r.message)+n]
		}
		r.left -= int64(len(piece))
		mask = unmask(piece, mask)
		if r.kind == Text && !r.compressed && !r.text.next(piece) {
			return errText
		}
	}
	return nil
}

// room is free space behind the message, no more than is left of the frame.
func (r *reader) room(left int64) []byte {
	if len(r.message) == cap(r.message) {
		bigger := make([]byte, len(r.message), max(firstChunk, 2*cap(r.message)))
		copy(bigger, r.message)
		r.message = bigger
	}
	n := int(min(left, int64(cap(r.message)-len(r.message))))
	return r.message[len(r.message) : len(r.message)+n]
}

// whole hands on a message that came in pieces.
func (r *reader) whole() error {
	message := r.message
	if r.compressed {
		r.message = append(r.message, streamTail...)
		plain, err := inflate(r.message, int(r.c.endpoint.maxMessage()), r.kind == Text)
		if err != nil {
			return err
		}
		message = *plain
		defer putMessage(plain)
	} else if r.kind == Text && !r.text.complete() {
		return errText
	}
	r.began, r.compressed, r.text = false, false, textCheck{}
	r.relax()
	r.dispatch(message)
	r.release()
	return nil
}

// dispatch gives a message to the protocol, unless the server has ended the connection.
func (r *reader) dispatch(message []byte) {
	if r.c.deaf.Load() {
		return
	}
	r.c.space().counters.received.Add(1)
	r.c.busy.Store(true)
	r.c.endpoint.protocol.OnMessage(r.c, r.kind, message)
	r.c.attended()
}

// release gives the message's buffer back.
func (r *reader) release() {
	if r.message == nil {
		return
	}
	b := r.message[:0]
	r.message = nil
	putMessage(&b)
}

func putMessage(b *[]byte) {
	if cap(*b) <= keptMessage {
		*b = (*b)[:0]
		messages.Put(b)
	}
}

// prefixed is a connection that begins with what was read of it before.
type prefixed struct {
	net.Conn
	ahead []byte
}

// Read takes what was read before first.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.ahead) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.ahead)
	p.ahead = p.ahead[n:]
	return n, nil
}
