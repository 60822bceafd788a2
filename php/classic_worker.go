package php

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/edge-server/edge/internal/osproc"
	"github.com/edge-server/edge/php/fastcgi"
)

const (
	// maxScriptHead bounds the header lines that a script sends.
	maxScriptHead = 256 << 10
	// quiet is how long a script that has begun its answer says nothing until what it said is sent on.
	quiet = 2 * time.Millisecond
	// maxInline is the most that the kernel is sure to take of a request at once, even when PHP reads nothing of it.
	maxInline = 64 << 10
	// idleConn is how long an unused connection to a FastCGI server is kept: it occupies one of that server's processes.
	idleConn = 5 * time.Second
	// dialTimeout is how long a FastCGI server may take to accept a connection.
	dialTimeout = 5 * time.Second
)

var (
	errQuiet = errors.New("nothing came for a moment")
	// errUnsent means that php closed the connection before anything of the request was written.
	errUnsent = errors.New("nothing of the request was written")
)

// conversation is what a worker of classic mode has for talking FastCGI. It belongs to the worker's goroutine.
type conversation struct {
	conn   *fcgiConn
	own    bool // the worker is a process, with a socket of its own
	reader *fastcgi.Reader
	stderr *osproc.Lines
	errors []byte // a line of the script's stderr that has no end yet
	head   []byte // header lines of the answer at hand, as far as they came
	parsed fastcgi.Head
	tail   []byte      // scratch for the end of the parameters
	timed  bool        // conn has a deadline for reading
	inline net.Buffers // scratch
	parts  [4][]byte   // of inline
}

// serveScript runs one job, as serve does.
func (w *worker) serveScript(j *job) fate {
	if w.proc.gone.Load() {
		w.logEnd(nil, false)
		w.pool.requeue(j)
		return w.lastFate()
	}
	w.busy.Store(w.pool.now())
	j.pid = w.proc.pid
	c := w.fcgi
	reused, err := c.conn.open()
	if err != nil {
		return w.unreachable(j, err)
	}
	if !c.own {
		defer c.conn.rest(w.pool.restFor())
	}
	if reused && c.reader.Buffered() > 0 {
		w.pool.logFor(w).Error("php broke the protocol", "error", errStray)
		c.conn.disconnect()
		return w.serveScript(j)
	}
	if !reused {
		c.reader.Reset(c.conn)
	}
	c.reader.Expect(j.script)
	c.head, c.errors = c.head[:0], c.errors[:0]
	written, err := w.sendScript(j)
	defer written.wait(c.conn)
	if errors.Is(err, errUnsent) && j.attempts < maxAttempts {
		return w.sendElsewhere(j)
	}
	if err != nil {
		return w.scriptFailed(j, err)
	}
	return w.receiveScript(j, written)
}

// sendElsewhere gives a request of which PHP cannot have read anything another chance: PHP was gone already.
func (w *worker) sendElsewhere(j *job) fate {
	w.fcgi.conn.disconnect()
	if !w.fcgi.own {
		j.attempts++
		return w.serveScript(j) // over another connection
	}
	w.proc.waitFor(exitGrace)
	w.proc.kill()
	<-w.proc.exited
	w.logEnd(nil, false)
	w.busy.Store(0)
	w.pool.requeue(j)
	return w.lastFate()
}

// restFor is how long a connection may be idle. php-fpm counts that as time of its request, which it limits.
func (p *Pool) restFor() time.Duration {
	if p.cfg.ExecTimeout > 0 {
		return min(idleConn, p.cfg.ExecTimeout/2)
	}
	return idleConn
}

// unreachable answers for a server that does not accept a connection.
func (w *worker) unreachable(j *job, err error) fate {
	if w.fcgi.own || w.spec.classic.fpm != nil {
		w.pool.logFor(w).Warn("php worker does not accept connections and is replaced", "error", err)
		w.busy.Store(0)
		w.pool.requeue(j)
		return dead
	}
	result := w.endTurn()
	w.pool.logFor(w).Error("php does not answer", "fastcgi", w.pool.cfg.FastCGI, "error", err)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, os.ErrDeadlineExceeded) {
		j.finish(fmt.Errorf("%w: %w", ErrOverloaded, err))
	} else {
		j.finish(fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
	return result
}

// writing is a body on its way to PHP beside its answer. Nothing of a job is touched by it.
type writing struct{ done chan error }

// wait ends what is still being written, which nobody reads any more, and with it the connection.
func (t *writing) wait(conn *fcgiConn) {
	if t.done == nil {
		return
	}
	if len(t.done) == 0 {
		conn.disconnect()
	}
	_ = t.end() // whatever failed ended the answer, too
}

// end waits for the writer.
func (t *writing) end() error {
	err := <-t.done
	t.done = nil
	return err
}

// over reports whether all of the body was written.
func (t *writing) over() bool {
	if t.done == nil {
		return true
	}
	return len(t.done) > 0 && t.end() == nil
}

// sendScript writes a request. A small one is written at once; a larger one beside the answer: a script may answer before it reads.
func (w *worker) sendScript(j *job) (*writing, error) {
	c, size := w.fcgi, j.bodySize()
	context := j.buf[jobHeader : jobHeader+j.contextLen]
	c.tail = appendBodyHead(c.tail[:0], j.script, size)
	if j.file == nil && len(j.buf) <= maxInline {
		body := j.buf[jobHeader+j.contextLen:]
		mid := len(c.tail)
		if len(body) > 0 {
			c.tail = fastcgi.AppendHeader(c.tail, fastcgi.Stdin, j.script, len(body))
			mid = len(c.tail)
		}
		c.tail = fastcgi.AppendHeader(c.tail, fastcgi.Stdin, j.script, 0)
		c.parts = [4][]byte{context, c.tail[:mid], body, c.tail[mid:]}
		c.inline = c.parts[:]
		n, err := c.conn.writeAll(&c.inline)
		if n == 0 && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
			err = fmt.Errorf("%w: %w", errUnsent, err)
		}
		return &writing{}, err
	}

	// The job goes back to its handler when the answer begins, so what is written is taken out of it.
	file, buf, contextLen, id := j.file, j.buf, j.contextLen, j.script
	j.file, j.buf = nil, nil
	t := &writing{done: make(chan error, 1)}
	go func() { // ends with the connection at the latest, which wait sees to
		t.done <- writeScript(c.conn, id, buf[jobHeader:jobHeader+contextLen], slices.Clone(c.tail), buf[jobHeader+contextLen:], file, size)
	}()
	return t, nil
}

// writeScript writes a request with a body in memory or in a file, which it removes.
func writeScript(conn io.Writer, id uint16, context, tail, body []byte, file *os.File, size int64) error {
	var source io.Reader = bytes.NewReader(body)
	if file != nil {
		defer os.Remove(file.Name())
		defer file.Close()
		source = io.NewSectionReader(file, 0, size)
	}
	if _, err := conn.Write(slices.Concat(context, tail)); err != nil {
		return err
	}
	const part = 32 << 10
	buf := spoolBuffers.Get().(*[spoolBuffer]byte)
	defer spoolBuffers.Put(buf)
	for left := size; left > 0; {
		n := int(min(left, part))
		record := fastcgi.AppendHeader(buf[:0], fastcgi.Stdin, id, n)[:fastcgi.HeaderLen+n]
		if _, err := io.ReadFull(source, record[fastcgi.HeaderLen:]); err != nil {
			return err
		}
		if _, err := conn.Write(record); err != nil {
			return err
		}
		left -= int64(n)
	}
	_, err := conn.Write(fastcgi.AppendHeader(nil, fastcgi.Stdin, id, 0))
	return err
}

// part is what came of an answer: its head, written as a worker's answer has it, and a piece of its body.
type part struct {
	box  *buffer
	data []byte
	head int // length of the head, or -1 as long as it is not complete
}

func newPart(head int) *part {
	box := getBuffer()
	return &part{box: box, data: box.b[:0], head: head}
}

func (a *part) body() int { return len(a.data) - max(a.head, 0) }

// hand gives the memory away.
func (a *part) hand() *buffer {
	a.box.b = a.data[:cap(a.data)]
	return a.box
}

// receiveScript takes an answer. One that ends before it is large, and that PHP does not pause in, is given to the handler as a
// whole; any other in parts.
func (w *worker) receiveScript(j *job, written *writing) fate {
	a := newPart(-1)
	ended, err := w.collect(a, maxWhole)
	if err != nil {
		putBuffer(a.hand())
		return w.scriptFailed(j, err)
	}
	if !ended {
		return w.passScript(j, a)
	}
	if !written.over() {
		w.fcgi.conn.disconnect() // the rest of the body would be taken for the next request
	}
	j.head, j.body, j.answer = a.data[:a.head], a.data[a.head:], a.hand()
	result := w.endTurn()
	j.finish(nil)
	return result
}

// passScript gives an answer to the handler part by part, as passOn does.
func (w *worker) passScript(j *job, first *part) fate {
	s := &stream{
		chunks: make(chan chunk, streamDepth),
		gone:   make(chan struct{}),
		length: -1,
		relay:  w.relay,
		pid:    w.proc.pid,
	}
	j.stream, w.live = s, s
	defer func() { w.live = nil }()
	w.pool.stats.streams.Add(1)
	j.finish(nil)

	err := w.passParts(s, first)
	if err == nil || errors.Is(err, errClientGone) || s.isGone() {
		close(s.chunks)
		if err == nil {
			return w.endTurn()
		}
		return w.abandon()
	}
	s.err = w.explainScript(err)
	if errors.Is(s.err, ErrCrashed) && w.fcgi.own {
		w.logEnd(err, true)
	}
	close(s.chunks)
	return w.afterFailure()
}

func (w *worker) passParts(s *stream, a *part) error {
	for ended := false; ; a = newPart(0) {
		if a.head == 0 {
			var err error
			if ended, err = w.collect(a, chunkSize); err != nil {
				putBuffer(a.hand())
				return err
			}
		}
		if !w.deliver(s, chunk{head: a.data[:a.head], body: a.data[a.head:], buf: a.hand()}) {
			return errClientGone
		}
		if ended {
			return nil
		}
		w.resume() // every part has exec_timeout anew
	}
}

// abandon leaves a script whose client is gone. PHP notices the closed connection when it writes, and ends the script or, when that
// ignores it, goes on for as long as exec_timeout allows. The worker is of use again when it is back.
func (w *worker) abandon() fate {
	w.live = nil
	w.fcgi.conn.disconnect()
	if !w.fcgi.own {
		return w.endTurn()
	}
	w.resume()
	if err := w.greetScript(func() error { return nil }); err != nil {
		err = w.explain(err)
		if errors.Is(err, ErrCrashed) {
			w.logEnd(err, true)
		}
		return dead
	}
	return w.endTurn()
}

// collect reads records into a, until the end of the answer, or until there is something to send on: limit bytes of a body, or
// less when PHP pauses.
func (w *worker) collect(a *part, limit int) (ended bool, err error) {
	c := w.fcgi
	for {
		var patience time.Duration
		if a.head > 0 || a.body() > 0 {
			patience = quiet
		}
		t, content, err := w.record(patience)
		if errors.Is(err, errQuiet) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		switch t {
		case fastcgi.Stdout:
			if err := c.take(a, content); err != nil {
				return false, err
			}
		case fastcgi.Stderr:
			c.logErrors(w.proc.pid, content)
		case fastcgi.EndRequest:
			return true, c.finish(a, content, w.proc.pid)
		default:
			return false, fmt.Errorf("%w: a record of type %d in an answer", fastcgi.ErrRecord, t)
		}
		if a.head >= 0 && a.body() >= limit {
			return false, nil
		}
	}
}

// take adds output of the script to a: header lines up to the empty one, then the body.
func (c *conversation) take(a *part, content []byte) error {
	if a.head >= 0 {
		a.data = append(a.data, content...)
		return nil
	}
	searched := len(c.head)
	c.head = append(c.head, content...)
	end := fastcgi.HeadEnd(c.head, searched)
	if end < 0 {
		if len(c.head) > maxScriptHead {
			return fmt.Errorf("%w: its header is longer than %d bytes", ErrBadAnswer, maxScriptHead)
		}
		return nil
	}
	if err := c.parsed.Parse(c.head[:end]); err != nil {
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	a.data = appendScriptHead(a.data, &c.parsed)
	a.head = len(a.data)
	a.data = append(a.data, c.head[end:]...)
	c.head = c.head[:0]
	return nil
}

// appendScriptHead writes status and headers as the answer of a worker has them, so that whatever sends one sends the other.
func appendScriptHead(b []byte, h *fastcgi.Head) []byte {
	b = binary.AppendUvarint(append(b, 1<<3|wireVarint), uint64(h.Status))
	for _, f := range h.Fields {
		b = appendPair(b, 2, string(f.Name), string(f.Value))
	}
	return b
}

// finish checks the end of an answer.
func (c *conversation) finish(a *part, content []byte, pid int) error {
	if len(c.errors) > 0 {
		c.stderr.Line(pid, c.errors, false)
		c.errors = c.errors[:0]
	}
	end, err := fastcgi.ParseEnd(content)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	case end.Protocol == fastcgi.Overloaded || end.Protocol == fastcgi.CannotMultiplex:
		return ErrOverloaded
	case end.Protocol != fastcgi.Complete:
		return fmt.Errorf("%w: the FastCGI server refused the request with status %d", ErrBadAnswer, end.Protocol)
	case a.head < 0:
		return fmt.Errorf("%w: it ended without a header", ErrBadAnswer)
	}
	return nil
}

// logErrors logs what a script wrote to its stderr, line by line.
func (c *conversation) logErrors(pid int, content []byte) {
	for len(content) > 0 {
		line, rest, whole := bytes.Cut(content, []byte("\n"))
		content = rest
		c.errors = append(c.errors, line...)
		if whole || len(c.errors) > osproc.MaxLine {
			c.stderr.Line(pid, bytes.TrimRight(c.errors[:min(len(c.errors), osproc.MaxLine)], "\r"), len(c.errors) > osproc.MaxLine)
			c.errors = c.errors[:0]
		}
	}
}

// record reads the next record. When none came for as long as patience, which is not 0, the error is errQuiet.
func (w *worker) record(patience time.Duration) (fastcgi.Type, []byte, error) {
	c := w.fcgi
	for {
		if !c.reader.Ready() && (patience > 0 || c.timed) {
			w.timeRecord(patience)
		}
		if w.live != nil && w.live.isGone() {
			return 0, nil, errClientGone
		}
		t, content, err := c.reader.Next()
		switch {
		case err == nil:
			return t, content, nil
		case !errors.Is(err, os.ErrDeadlineExceeded), w.killed.Load():
			return 0, nil, err
		case w.live != nil && w.live.isGone():
			return 0, nil, errClientGone
		case w.proc.gone.Load():
			if !w.readLast() {
				return 0, nil, io.EOF
			}
		case patience > 0 && w.busy.Load() != overdue:
			c.timed = true
			return 0, nil, errQuiet
		case w.busy.Load() == 0: // a boot that took too long
			return 0, nil, err
		default:
			c.timed = true
		}
	}
}

// timeRecord sets how long the next read may take.
func (w *worker) timeRecord(patience time.Duration) {
	var until time.Time
	if patience > 0 {
		until = time.Now().Add(patience)
	}
	w.fcgi.timed = patience > 0
	_ = w.relay.SetReadDeadline(until)
	if w.proc.gone.Load() { // its end set a deadline, too
		w.readLast()
	}
}

// scriptFailed answers for a script of which no answer came, or none that can be sent on.
func (w *worker) scriptFailed(j *job, cause error) fate {
	err := w.explainScript(cause)
	if errors.Is(err, ErrCrashed) && w.fcgi.own {
		w.logEnd(cause, true)
	}
	j.finish(err)
	return w.afterFailure()
}

// explainScript turns an error of a conversation into what happened.
func (w *worker) explainScript(cause error) error {
	if errors.Is(cause, fastcgi.ErrRecord) {
		cause = fmt.Errorf("%w: %w", ErrBadAnswer, cause)
	}
	switch {
	case errors.Is(cause, ErrBadAnswer), errors.Is(cause, ErrOverloaded):
		w.pool.logFor(w).Error("php broke the protocol", "error", cause)
		return cause
	case w.fcgi.own:
		return w.explain(cause)
	case w.busy.Load() == overdue:
		w.pool.logFor(w).Error("php took longer than exec_timeout, its connection was closed", "exec_timeout", w.pool.cfg.ExecTimeout)
		return ErrTimeout
	case w.killed.Load():
		return ErrStopped
	}
	w.pool.logFor(w).Error("php closed the connection before it had answered", "error", cause)
	return fmt.Errorf("%w: %w", ErrCrashed, cause)
}

// afterFailure ends a turn that went wrong. A process that cannot be trusted is replaced; a connection is merely closed.
func (w *worker) afterFailure() fate {
	if w.fcgi.own {
		return dead
	}
	w.fcgi.conn.disconnect()
	return w.endTurn()
}

// endScripts asks php-cgi to end. A signal lets it end after its script; it notices the signal when the connection is closed.
func (w *worker) endScripts() {
	w.pool.stopping(w)
	if w.fcgi.own && !w.pool.isForced() {
		w.proc.signal(syscall.SIGTERM)
		w.fcgi.conn.disconnect()
		w.proc.waitFor(w.pool.cfg.StopTimeout)
	}
	w.kill()
}

// signal sends a signal to the process alone, not to its group.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(p.pid, s)
	}
}
