package php

import (
	"io"
	"net/http"
	"sync"
)

// The end of a large answer need not come into this process's memory at all: its pages move from the worker's pipe into a pipe of
// the answer's own, at once, so that the worker is free, and from there into the client's socket. Where that does not go (TLS,
// HTTP/2, a plugin that reads the answer), it is read from that pipe as from anything else.

const (
	// restFrom is how much of an answer must be outstanding for it to be worth the calls.
	restFrom = 16 << 10
	// restMost is how much of an answer fits into a pipe, whatever its pieces are.
	restMost = 192 << 10
	// maxRests is how many answers may lie in pipes at a time. The next ones lie in memory.
	maxRests = 64
)

// restPool keeps the pipes.
type restPool struct {
	mu     sync.Mutex
	free   []*rest
	made   int
	closed bool
}

// get returns an empty pipe, or nil when there is none to be had.
func (p *restPool) get() *rest {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		x := p.free[n-1]
		p.free = p.free[:n-1]
		return x
	}
	if p.closed || p.made == maxRests {
		return nil
	}
	x := openRest()
	if x != nil {
		p.made++
	}
	return x
}

// put takes a pipe back. One that is not empty is closed.
func (p *restPool) put(x *rest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.left == 0 && !p.closed {
		p.free = append(p.free, x)
		return
	}
	p.made--
	x.close()
}

// close closes the pipes, those in use when they come back.
func (p *restPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, x := range p.free {
		x.close()
	}
	p.made -= len(p.free)
	p.free = nil
}

// Len is how much of it is left.
func (x *rest) Len() int64 { return int64(x.left) }

// answerSize is how long the answer's body is.
func (j *job) answerSize() int64 {
	n := int64(len(j.body))
	if j.rest != nil {
		n += j.rest.Len()
	}
	return n
}

// writeBody writes the answer's body. A client that is gone needs no answer.
func (j *job) writeBody(w http.ResponseWriter) {
	if _, err := w.Write(j.body); err != nil || j.rest == nil {
		return
	}
	if to, ok := w.(io.ReaderFrom); ok {
		_, _ = to.ReadFrom(j.rest)
		return
	}
	buf := getBuffer()
	defer putBuffer(buf)
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, j.rest, buf.b[:cap(buf.b)])
}

// takePayload reads an answer's frame, of which the header is h: all of it, or all but its rest.
func (w *worker) takePayload(size, context int) ([]byte, *rest, error) {
	if err := w.await(context); err != nil {
		return nil, nil, err
	}
	have := min(size, w.reader.Buffered()) // all that was read ahead: the rest begins behind it
	if from, x := w.restFor(size - have); x != nil {
		return w.takeWithRest(from, x, size, have)
	}
	payload, err := w.take(size)
	return payload, nil, err
}

// restFor returns the worker's pipe and an empty one for n bytes of its answer, or nil where they are better read.
func (w *worker) restFor(n int) (*pipeRelay, *rest) {
	from, ok := w.relay.(*pipeRelay)
	if !ok || n < restFrom || n > restMost {
		return nil, nil
	}
	return from, w.pool.rests.get()
}

// await lets the next n bytes be buffered.
func (w *worker) await(n int) error {
	for {
		if err := w.reader.Await(n); err == nil || !w.again(err) {
			return err
		}
	}
}

func (w *worker) takeWithRest(from *pipeRelay, x *rest, size, have int) ([]byte, *rest, error) {
	payload, err := w.take(have)
	for err == nil && x.left < size-have {
		var n int
		n, err = x.fill(from.out, size-have-x.left)
		w.reader.Passed(n)
		switch {
		case err == nil && n == 0: // the pieces are too small for the pipe
			return w.takeBackRest(payload, x, size)
		case err != nil && w.again(err):
			err = nil
		}
	}
	if err != nil {
		w.pool.rests.put(x)
		return nil, nil, err
	}
	return payload, x, nil
}

// takeBackRest reads a rest that does not fit into its pipe into memory after all.
func (w *worker) takeBackRest(payload []byte, x *rest, size int) ([]byte, *rest, error) {
	defer w.pool.rests.put(x)
	whole := make([]byte, len(payload)+x.left, size)
	copy(whole, payload)
	if _, err := io.ReadFull(x, whole[len(payload):]); err != nil {
		return nil, nil, err
	}
	end, err := w.take(size - len(whole))
	if err != nil {
		return nil, nil, err
	}
	return append(whole, end...), nil, nil
}
