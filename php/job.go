package php

import (
	"context"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/edge-server/edge/internal/frame"
)

const (
	// keptJob is the largest buffer that a job keeps for the next request.
	keptJob = 512 << 10
	// keptFields is the largest number of header fields that a job keeps room for.
	keptFields = 128
	// maxAttempts bounds how often a request moves on to another worker without having reached PHP.
	maxAttempts = 8
)

// jobHeader is what stands before the context: the fence, and the frame header with one option, the length of the context.
var jobHeader = fenceLen + frame.HeaderLen + 4

// job is one request on its way through a worker. It belongs to the handler that made it, except from submit until done:
// then to the queue, and to the worker that took it out.
type job struct {
	buf        []byte  // jobHeader bytes, context, body; ready to become a fence and a frame
	contextLen int     // of buf
	dialect    dialect // of the context
	source     contextOf
	file       *os.File // the body when it is not in buf
	fileSize   int64
	script     uint16 // in classic mode the request's number, see fastcgi.AppendHeader

	// While it waits. Protected by Pool.mu.
	flow         string // of which route or host it is, for fairness: see queue.go
	in           *flow
	next, prev   *job // in the flow
	older, newer *job
	waiting      bool
	queuedAt     int64
	attempts     int
	number       byte // in the flight of a worker: see ahead.go
	slot         byte // for the body of the answer: see shared.go
	moves        int  // how often it was taken back unread
	sealed       atomic.Bool
	gone         bool // nobody waits for it any more

	serves context.Context // of the request, in a pool that is Traced

	// The answer, valid after done.
	done   chan struct{}
	err    error
	stream *stream // an answer in parts, or
	head   []byte  // the context and
	body   []byte  // body of a whole one, both in
	answer *buffer
	rest   *rest   // what of the body is still in the kernel; see rest.go
	shared *shared // what the body lies in, in slot, if it does
	pid    int     // of the worker that answered

	decoded head // scratch
}

var jobs = sync.Pool{New: func() any { return &job{done: make(chan struct{}, 1)} }}

// getJob returns an empty job for workers of that dialect, whose buffer has room for fence and header.
func getJob(speaks dialect) *job {
	j := jobs.Get().(*job)
	if cap(j.buf) < jobHeader {
		j.buf = make([]byte, 0, 4<<10)
	}
	j.buf, j.dialect = j.buf[:jobHeader], speaks
	return j
}

// putJob takes a job back that nobody else holds.
func putJob(j *job) {
	if j.answer != nil {
		putBuffer(j.answer)
	}
	if j.shared != nil {
		j.shared.drop(j.slot)
	}
	if j.file != nil {
		j.file.Close()
		os.Remove(j.file.Name()) // may be moved already
	}
	if cap(j.buf) > keptJob {
		j.buf = nil
	}
	if cap(j.decoded.fields) > keptFields {
		j.decoded.fields = nil
	}
	clear(j.decoded.fields[:cap(j.decoded.fields)]) // they hold on to the texts
	*j = job{buf: j.buf, done: j.done, decoded: j.decoded}
	jobs.Put(j)
}

// finish hands the job back to its handler. The caller must not touch it any more.
func (j *job) finish(err error) {
	j.err = err
	j.done <- struct{}{}
}

// frameFor completes the frame for a worker, behind a fence. It may be called again for another worker.
func (j *job) frameFor(takesFiles bool, limit int64) (head []byte, streamed int64, err error) {
	b := j.buf
	contextLen, payload := j.contextLen, int64(len(b)-jobHeader)
	switch {
	case j.file == nil:
	case takesFiles:
		b = j.dialect.withBodyFile(b, j.file.Name())
		contextLen += len(b) - len(j.buf)
		payload = int64(contextLen)
		j.buf = b[:len(j.buf)]
	case j.fileSize > limit:
		return nil, 0, ErrTooLarge
	default:
		streamed = j.fileSize
		payload += streamed
	}
	if payload > math.MaxUint32 {
		return nil, 0, ErrTooLarge
	}
	frame.AppendHeader(append(b[:0], fenceFrame...), j.dialect.flag(), 0, uint32(payload), uint32(contextLen))
	frame.SetNumber(b[fenceLen:], j.number)
	return b, streamed, nil
}

// buffer is what an answer lies in. It goes from the worker's reader to the handler and back to the pool.
type buffer struct{ b []byte }

const (
	smallBuffer = 8 << 10
	// keptBuffer is the largest buffer that is kept; larger answers are rare, and their memory is better free.
	keptBuffer = 512 << 10
)

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, smallBuffer)} }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

func putBuffer(b *buffer) {
	if cap(b.b) <= keptBuffer {
		buffers.Put(b)
	}
}

// stream is an answer in parts. The worker sends, and closes chunks; the handler receives, or cancels.
type stream struct {
	chunks chan chunk
	gone   chan struct{} // closed by the handler when nobody takes the rest
	err    error         // why the stream broke off; read after chunks is closed
	length int64         // of the body when it is known, else -1
	relay  relay
	pid    int
}

// streamDepth is how many parts may wait for a slow client before PHP is held back.
const streamDepth = 4

// chunk is a part of a streamed answer.
type chunk struct {
	head []byte // the context that came with it, often empty
	body []byte
	buf  *buffer // where both lie
}

// cancel tells the worker that nobody takes the rest.
func (s *stream) cancel() {
	close(s.gone)
	interrupt(s.relay)
}
