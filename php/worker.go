package php

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

const (
	// maxWhole is the largest answer read whole; a larger one passes through in chunks, like a stream.
	maxWhole = 1 << 20
	// chunkSize is how much of a larger answer, or of a body on disk, is in memory at a time.
	chunkSize = 64 << 10
	// maxHead bounds an answer's context: status and headers.
	maxHead = 1 << 20
	// maxErrorText is how much of an error reported by the application is logged.
	maxErrorText = 16 << 10
	// exitGrace is how long a worker that closed its relay may take to end by itself, so that its status can be told.
	exitGrace = 500 * time.Millisecond
	// drainGrace is how long the rest of what a script echoed is waited for.
	drainGrace = 100 * time.Millisecond

	// answered in place of a number of bytes sent means that PHP certainly saw the request.
	answered = -2

	// overdue in worker.busy means that the supervisor decided to kill the worker for its current answer.
	overdue = -1
)

// State is what a worker does.
//
//	booting ─► idle ◄─► busy ─► stopping ─► gone
//	   └────────┴────────┴──── killed or crashed ─► gone
type State uint8

// The states of a worker.
const (
	StateBooting State = iota
	StateIdle
	StateBusy
	StateStopping
)

func (s State) String() string {
	return [...]string{"booting", "idle", "busy", "stopping"}[s]
}

// worker is a PHP process and the goroutine that owns its relay.
type worker struct {
	pool       *Pool
	spec       *spec
	proc       *process
	relay      relay
	reader     *frame.Reader
	box        *buffer      // what the reader reads into
	speaks     dialect      // how it reads the context of a request
	takesFiles bool         // it understands edge.body_file
	fences     bool         // its requests go behind a fence
	hangup     *hangup      // how it is told that a client is gone, if it wants to be
	log        *slog.Logger // in debug mode; else nil
	started    time.Time

	ahead *ahead        // for workers that get requests ahead; nil for all others
	fcgi  *conversation // for workers of classic mode; nil for all others

	jobs chan *job     // one job for an idle worker
	quit chan struct{} // closed to retire an idle worker

	busy      atomic.Int64 // since when PHP has the word, 0 when it does not, or overdue
	served    atomic.Uint64
	doomed    atomic.Bool // killed for exec_timeout
	killed    atomic.Bool // by a forced stop
	live      *stream     // the answer that is passed on now
	stopUntil time.Time   // while the rest of a cancelled stream is drained
	lastUntil time.Time   // while what a dead process left behind is read

	// Protected by Pool.mu.
	state     State
	since     int64 // in this state
	retire    bool  // stop after the current job
	replacing bool  // its successor is booting
	worn      bool  // it is to be replaced
	worksOn   bool  // although it is spent
	why       reason
	expires   int64 // when ttl is over, 0 for never
	limit     uint64
	serves    context.Context // of the request, in a pool that is Traced: see serving.go
}

// fate is what becomes of a worker after a job.
type fate uint8

const (
	keep fate = iota // take the next job
	stop             // end it gracefully
	dead             // it is dead, or has to be
)

// run takes jobs until the worker is retired or dies.
func (w *worker) run() {
	if w.ahead != nil {
		w.runAhead()
		return
	}
	for {
		j, next := w.pool.nextJob(w)
		if next == keep {
			next = w.serve(j)
		}
		switch next {
		case keep:
			w.count()
		case stop:
			w.shutdown()
			w.pool.leave(w, false)
			return
		case dead:
			w.kill()
			w.pool.leave(w, true)
			return
		}
	}
}

// count notes a served job, and asks for a successor when that was one of the last wanted of this worker.
func (w *worker) count() {
	w.pool.mu.Lock()
	w.countLocked()
	w.pool.mu.Unlock()
}

// countLocked is count for who holds p.mu.
func (w *worker) countLocked() {
	p, n := w.pool, w.served.Add(1)
	if n == 1 {
		p.failures, p.lastErr = 0, nil // whatever failed before, the application works
	}
	if w.limit > 0 && n == w.limit-w.early() {
		w.wear(byMaxJobs)
		p.poke()
	}
}

// serve runs one job. It always hands it back: to its handler, or to the queue.
func (w *worker) serve(j *job) fate {
	if j.serves != nil {
		defer w.note(j.serves)()
	}
	if w.fcgi != nil {
		return w.serveScript(j)
	}
	if w.proc.gone.Load() {
		w.logEnd(nil, false)
		w.pool.requeue(j)
		return w.lastFate()
	}
	if !w.fences && w.reader.Buffered() > 0 {
		w.pool.logFor(w).Error("php worker broke the protocol", "error", errStray)
		w.pool.requeue(j)
		return dead
	}
	w.busy.Store(w.pool.now())
	fenced := w.fenced()
	sent, err := w.send(j, fenced)
	if errors.Is(err, ErrTooLarge) {
		result := w.endTurn()
		j.finish(err)
		return result
	}
	if err != nil {
		return w.failed(j, sent, err)
	}
	if fenced {
		if err := w.passFence(); err != nil {
			return w.neverTaken(j, err)
		}
	}
	w.listen(j)
	h, err := w.head()
	w.listen(nil)
	if err != nil {
		return w.failed(j, sent, err)
	}
	j.pid = w.proc.pid
	return w.receive(j, h)
}

// send writes the job's frame and returns how much of it. The header must arrive in one piece, so it goes with all that is in
// memory.
func (w *worker) send(j *job, fenced bool) (sent int64, err error) {
	j.speak(w.speaks)
	head, streamed, err := j.frameFor(w.takesFiles, int64(w.pool.cfg.Body.Frame))
	if err != nil {
		return 0, err
	}
	if !fenced {
		head = head[fenceLen:]
	}
	n, err := w.relay.Write(head)
	if err != nil || streamed == 0 {
		return int64(n), err
	}
	more, readErr, writeErr := spool(w.relay, io.NewSectionReader(j.file, 0, streamed))
	if readErr == nil && writeErr == nil && more < streamed {
		readErr = io.ErrUnexpectedEOF
	}
	return int64(n) + more, errors.Join(readErr, writeErr)
}

// receive takes the answer whose first header is h.
func (w *worker) receive(j *job, h frame.Header) fate {
	if h.Is(frame.FlagError) {
		return w.applicationError(j)
	}
	if h.Is(frame.FlagControl) || h.NumOpts != 1 || h.Option(0) > h.Len || h.Option(0) > maxHead {
		return w.refuse(j, fmt.Errorf("%w: a frame with flags %#x, %d options, context of %d in %d bytes", ErrBadAnswer, h.Flags, h.NumOpts, h.Option(0), h.Len))
	}
	more := h.Has(frame.StreamMore)
	if more || h.Len > maxWhole {
		return w.passOn(j, h)
	}

	split := int(h.Option(0))
	payload, rest, err := w.takePayload(int(h.Len), split)
	if err != nil {
		return w.failed(j, answered, err)
	}
	if rest == nil && split == len(payload) && string(payload) == stopRequest {
		w.endTurn()
		w.pool.requeue(j)
		return stop
	}
	if err := checkCodec(h, payload[:split]); err != nil {
		if rest != nil {
			w.pool.rests.put(rest)
		}
		return w.refuse(j, err)
	}
	j.head, j.body = payload[:split], payload[split:]
	j.answer, j.rest = w.exchange(), rest
	result := w.endTurn()
	j.finish(nil)
	return result
}

// checkCodec refuses answers in what no package answers in. Protobuf and JSON are told apart by their first byte: packages before
// RoadRunner 2024 leave the codec empty.
func checkCodec(h frame.Header, context []byte) error {
	const known = frame.FlagProto | frame.FlagJSON
	if len(context) == 0 || h.Flags&frame.CodecMask&^known == 0 {
		return nil
	}
	return fmt.Errorf("%w: unknown payload type: %d", ErrBadAnswer, h.Flags&frame.CodecMask)
}

// endTurn ends PHP's turn. It tells whether the worker may go on: the supervisor may have decided to kill it just now, which
// must not hit the next request.
func (w *worker) endTurn() fate {
	if w.busy.Swap(0) == overdue {
		return dead
	}
	return keep
}

// exchange gives away the buffer that holds what was read last.
func (w *worker) exchange() *buffer {
	full, fresh := w.box, getBuffer()
	full.b = w.reader.Exchange(fresh.b)
	w.box = fresh
	return full
}

// applicationError logs what the worker reported instead of an answer. The worker is fine.
func (w *worker) applicationError(j *job) fate {
	if err := w.readError(); err != nil {
		return w.failed(j, answered, err)
	}
	result := w.endTurn()
	j.finish(ErrApplication)
	return result
}

// readError reads an error frame into the log.
func (w *worker) readError() error {
	text, err := w.take(maxErrorText)
	if err != nil {
		return err
	}
	w.pool.logFor(w).Error("php application error", "error", string(text))
	w.pool.stats.errors.Add(1)
	return w.skipFrame()
}

// refuse answers for a worker whose frames make no sense; nothing it says from here on can be trusted.
func (w *worker) refuse(j *job, err error) fate {
	w.pool.logFor(w).Error("php worker broke the protocol", "error", err)
	j.finish(err)
	return dead
}

// failed answers for a worker whose relay failed. sent is what was written of the frame, or answered.
func (w *worker) failed(j *job, sent int64, cause error) fate {
	err := w.explain(cause)
	// PHP never saw a request of which all that was written still lies in the pipe, so it may go to another worker. A request
	// that was read in part may be what killed PHP.
	if errors.Is(err, ErrCrashed) && (sent == 0 || int64(w.relay.unread()) == sent) {
		w.logEnd(cause, false)
		w.pool.requeue(j)
		return w.lastFate()
	}
	if errors.Is(err, ErrCrashed) {
		w.logEnd(cause, true)
	}
	j.finish(err)
	return dead
}

// logEnd logs how the process ended, inside a request or without one.
func (w *worker) logEnd(cause error, inside bool) {
	log := w.pool.logFor(w)
	switch {
	case inside:
		log.Error("php worker died with a request in it", "status", w.proc.status, "error", cause)
	case w.lastFate() == stop:
		log.Info("php worker ended by itself", "status", w.proc.status)
	default:
		log.Warn("idle php worker died", "status", w.proc.status)
	}
}

// lastFate is that of a process that is gone and had no request. One that served and then ended in order, as scripts do that
// watch their memory, did not crash.
func (w *worker) lastFate() fate {
	if w.proc.gone.Load() && w.proc.clean && w.served.Load() > 0 {
		return stop
	}
	return dead
}

// explain turns an error of the relay into what happened, and makes sure that the worker is dead.
func (w *worker) explain(cause error) error {
	var junk *frame.JunkError
	switch {
	case w.busy.Load() == overdue:
		w.pool.logFor(w).Error("php worker took longer than exec_timeout and was killed", "exec_timeout", w.pool.cfg.ExecTimeout)
		return ErrTimeout
	case w.killed.Load():
		return ErrStopped
	case errors.As(cause, &junk):
		_ = w.relay.SetReadDeadline(time.Now().Add(drainGrace))
		junk.Junk = w.reader.Drain(maxErrorText)
		w.pool.logFor(w).Error("php worker wrote to its relay what is no frame; echo and var_dump belong to stderr", "output", string(junk.Junk))
		return fmt.Errorf("%w: %w", ErrBadAnswer, junk)
	case errors.Is(cause, frame.ErrHeader):
		w.pool.logFor(w).Error("php worker broke the protocol", "error", cause)
		return fmt.Errorf("%w: %w", ErrBadAnswer, cause)
	}
	if !w.proc.waitFor(exitGrace) {
		w.proc.kill()
		<-w.proc.exited
	}
	return fmt.Errorf("%w: %s", ErrCrashed, w.proc.status)
}

// head reads the next header.
func (w *worker) head() (frame.Header, error) {
	for {
		h, err := w.reader.Head()
		if err == nil && w.ahead != nil && h.Is(frame.FlagControl) && h.Number != 0 {
			if err = w.untaken(h.Number); err == nil {
				err = w.skipFrame()
			}
			if err == nil {
				continue
			}
		}
		if err == nil {
			return h, nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && w.retired() {
			return h, errRetired
		}
		if !w.again(err) {
			return h, err
		}
		if w.retired() { // meanwhile, and again took back the deadline that tells
			return h, errRetired
		}
	}
}

// take returns the next n bytes of the payload.
func (w *worker) take(n int) ([]byte, error) {
	for {
		b, err := w.reader.Take(n)
		if err == nil || !w.again(err) {
			return b, err
		}
	}
}

// skipFrame drops the rest of the current payload.
func (w *worker) skipFrame() error {
	for w.reader.Left() > 0 {
		if _, err := w.take(chunkSize); err != nil {
			return err
		}
	}
	return nil
}

// again reports whether reading may go on after a deadline: one that a handler set to interrupt a stream may come late.
func (w *worker) again(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || w.killed.Load() {
		return false
	}
	if w.proc.gone.Load() {
		return w.readLast()
	}
	if w.live != nil && w.stopUntil.IsZero() && w.live.isGone() {
		return false
	}
	if !w.stopUntil.IsZero() && !time.Now().Before(w.stopUntil) {
		return false
	}
	_ = w.relay.SetReadDeadline(w.stopUntil)
	// The end of the process sets a deadline, too, which must not be lost.
	return !w.proc.gone.Load() || w.readLast()
}

// readLast goes on reading for a moment after the end of the process, and no longer: a child of it may hold the relay open.
func (w *worker) readLast() bool {
	if w.lastUntil.IsZero() {
		w.lastUntil = time.Now().Add(drainGrace)
	} else if !time.Now().Before(w.lastUntil) {
		return false
	}
	_ = w.relay.SetReadDeadline(w.lastUntil)
	return true
}

// interrupt wakes a worker that waits for PHP.
func interrupt(r relay) { _ = r.SetReadDeadline(time.Unix(1, 0)) }

// shutdown asks PHP to end, and kills it when it does not within stop_timeout.
func (w *worker) shutdown() {
	if w.fcgi != nil {
		w.endScripts()
		return
	}
	w.pool.stopping(w)
	until := time.Now().Add(w.pool.cfg.StopTimeout)
	_ = w.relay.SetWriteDeadline(until)
	_ = w.relay.SetReadDeadline(until)
	if w.pool.isForced() {
		w.proc.kill()
	} else if _, err := w.relay.Write(stopFrame); err == nil {
		// A worker may have something left to say, and must not block on saying it.
		_, _, _ = spool(io.Discard, w.relay)
		w.proc.waitFor(time.Until(until))
	}
	w.kill()
}

// kill ends the process and frees what belongs to it.
func (w *worker) kill() {
	w.proc.kill()
	<-w.proc.exited
	w.closeRelay()
	putBuffer(w.box)
}

func (w *worker) closeRelay() {
	w.relay.Close()
	if w.ahead == nil {
		return
	}
	for w.ahead.writers.Load() > 0 {
		time.Sleep(time.Millisecond) // nobody may write to what another file gets for a descriptor
	}
	w.ahead.pipe.close()
}

// stopRequest asks to end: as a control frame the worker, as an answer's context the server.
const stopRequest = `{"stop":true}`

var (
	stopFrame       = frame.AppendFrame(nil, frame.FlagControl|frame.FlagJSON, 0, []byte(stopRequest))
	pongFrame       = frame.AppendFrame(nil, 0, frame.StreamPong, nil)
	streamStopFrame = frame.AppendFrame(nil, 0, frame.StreamStop, nil)
)
