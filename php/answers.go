package php

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

// This file is the goroutine of a worker that gets requests ahead: it reads answers and gives the worker what it does next.

// runAhead is run for a worker that gets requests ahead.
func (w *worker) runAhead() {
	var cause error
	next := w.settle(nil)
	if next == keep {
		next, cause = w.readAnswers()
	}
	if next == stop {
		w.shutdown()
	} else {
		next = w.wreck(cause)
		w.kill()
	}
	w.pool.leave(w, next == dead)
}

// readAnswers reads answers until the worker is retired or dies. The error is why it does, when its relay failed.
func (w *worker) readAnswers() (fate, error) {
	for {
		h, err := w.head()
		if errors.Is(err, errRetired) {
			return stop, nil
		}
		if err != nil {
			return dead, err
		}
		next, err := w.takeAnswer(h)
		if err != nil || next != keep {
			return next, err
		}
	}
}

// takeAnswer takes the answer whose first header is h.
func (w *worker) takeAnswer(h frame.Header) (fate, error) {
	if h.Is(frame.FlagControl) && h.NumOpts == 0 {
		return w.returned()
	}
	if err := w.wholeSent(); err != nil {
		return dead, err
	}
	if h.Is(frame.FlagError) {
		if err := w.readError(); err != nil {
			return dead, err
		}
		return w.landed(h.Number, ErrApplication, answer{})
	}
	if h.Is(frame.FlagControl) || h.NumOpts != 1 || h.Option(0) > h.Len || h.Option(0) > maxHead {
		return dead, fmt.Errorf("%w: a frame with flags %#x, %d options, context of %d in %d bytes", ErrBadAnswer, h.Flags, h.NumOpts, h.Option(0), h.Len)
	}
	if h.Has(frame.StreamMore) || h.Len > maxWhole {
		return w.streamAnswer(h)
	}
	payload, rest, err := w.takePayload(int(h.Len), int(h.Option(0)))
	if err != nil {
		return dead, err
	}
	if rest == nil && len(payload) == len(stopRequest) && string(payload) == stopRequest && int(h.Option(0)) == len(payload) {
		return w.refused(h.Number)
	}
	whole := answer{head: payload[:h.Option(0)], body: payload[h.Option(0):], rest: rest, slot: slotOf(h)}
	if whole.slot != 0 {
		if rest != nil {
			w.pool.rests.put(rest)
			return dead, fmt.Errorf("%w: slot %d and a body of its own", ErrBadAnswer, whole.slot)
		}
		if whole.body, err = w.ahead.shared.bodyIn(whole.slot, whole.body); err != nil {
			return dead, err
		}
	}
	return w.landed(h.Number, nil, whole)
}

// answer is one that came whole.
type answer struct {
	head, body []byte
	rest       *rest // of the body
	slot       byte  // that the body lies in, if it does
}

// wholeSent waits for the writer of a large frame, which holds on to its job: PHP has read the frame, so the writer is done or just
// about to notice. A worker that answers what it did not read is given up.
func (w *worker) wholeSent() error {
	a := w.ahead
	if a.writers.Load() == 0 {
		return nil
	}
	w.pool.mu.Lock()
	large := a.large
	w.pool.mu.Unlock()
	if !large {
		return nil // packets are written at once, and others than the one answered are on their way
	}
	for try := 0; a.writers.Load() > 0; try++ {
		switch {
		case try < 100:
			runtime.Gosched()
		case try < 100+int(exitGrace/writerPoll):
			time.Sleep(writerPoll)
		default:
			return fmt.Errorf("%w: it answered a request that it has not read", ErrBadAnswer)
		}
	}
	return nil
}

// landed ends the job of that number, with an error or with its answer, and gives the worker what it does next.
func (w *worker) landed(number byte, failure error, a answer) (fate, error) {
	p := w.pool
	p.mu.Lock()
	j := p.land(w, number)
	if j != nil && a.slot != 0 && a.slot != j.slot {
		p.mu.Unlock()
		err := fmt.Errorf("%w: its body is in slot %d, and it was given %d", ErrBadAnswer, a.slot, j.slot)
		j.finish(err)
		return dead, err
	}
	if j == nil {
		p.mu.Unlock()
		if a.rest != nil {
			p.rests.put(a.rest)
		}
		return dead, fmt.Errorf("%w: an answer to request %d, which it does not have", ErrBadAnswer, number)
	}
	if a.slot != 0 {
		j.shared = w.ahead.shared
		j.shared.hold(a.slot)
	}
	w.countLocked()
	var out written
	next := w.advance(&out)
	p.mu.Unlock()
	out.put()
	if failure == nil {
		j.head, j.body = a.head, a.body
		j.answer, j.rest = w.exchange(), a.rest
	}
	j.pid = w.proc.pid
	j.finish(failure)
	return next, nil
}

// settle is advance for a worker that did not just end a job. back is jobs of the worker that go elsewhere.
func (w *worker) settle(back []*job) fate {
	var out written
	w.pool.mu.Lock()
	w.pool.giveAll(back, w.pool.now(), &out)
	next := w.advance(&out)
	w.pool.mu.Unlock()
	out.put()
	return next
}

// advance finds out what the worker does next, after a job ended: the next of its flight, one of the queue or of another worker,
// or nothing. p.mu is held.
func (w *worker) advance(out *written) fate {
	p, a := w.pool, w.ahead
	now := p.now()
	if w.busy.Load() == overdue {
		return dead // the supervisor kills it for a request that was just answered
	}
	if a.turn > 0 {
		a.service += (now - a.turn - a.service) / 8
	}
	a.turn = now
	if a.active() {
		w.busy.Store(now)
		if !a.streaming {
			p.stats.waited(now - a.flight[0].queuedAt)
		}
	} else {
		a.large = false
	}
	for out.n < maxAhead && !w.retire && !a.closed && !w.spent() && (!a.active() || w.room(now)) {
		j := p.queue.pop()
		if j == nil && !a.active() {
			j = p.steal(now)
		}
		if j == nil {
			break
		}
		if a.active() && !j.packet(w.speaks) {
			p.queue.pushFront(j)
			break
		}
		if !a.active() {
			p.stats.waited(now - j.queuedAt)
		}
		p.assign(w, j, now)
		out.add(w, j)
	}
	switch {
	case a.active():
		return keep
	case w.retire || a.closed:
		return stop
	}
	w.busy.Store(0)
	a.turn = 0
	p.endAt(w, StateIdle, now)
	p.rest(w)
	return keep
}

// refused hands on a request that the worker answered with its wish to end, and all that lies behind it.
func (w *worker) refused(number byte) (fate, error) {
	p := w.pool
	var out written
	p.mu.Lock()
	j := p.land(w, number)
	w.ahead.closed = true
	p.retire(w)
	p.takeBackAll(w, 0, p.now(), &out)
	next := w.advance(&out)
	p.mu.Unlock()
	out.put()
	if j == nil {
		return dead, fmt.Errorf("%w: an answer to request %d, which it does not have", ErrBadAnswer, number)
	}
	p.requeue(j)
	return next, nil
}

// streamAnswer passes on an answer in parts. What lies behind it goes elsewhere.
func (w *worker) streamAnswer(h frame.Header) (fate, error) {
	p, a := w.pool, w.ahead
	var out written
	p.mu.Lock()
	j := p.land(w, h.Number)
	a.large = true // nothing more goes ahead
	p.mu.Unlock()
	for try := 0; a.writers.Load() > 0 && try < 1000; try++ { // what is on its way into the pipe
		if try < 100 {
			runtime.Gosched()
		} else {
			time.Sleep(50 * time.Microsecond)
		}
	}
	p.mu.Lock()
	a.large = false
	p.takeBackAll(w, 0, p.now(), &out)
	a.streaming = true
	p.mu.Unlock()
	out.put()
	if j == nil {
		return dead, fmt.Errorf("%w: a stream for request %d, which it does not have", ErrBadAnswer, h.Number)
	}
	j.pid = w.proc.pid
	if w.passOn(j, h) == dead {
		return dead, nil
	}
	p.mu.Lock()
	a.streaming, a.turn = false, 0
	p.mu.Unlock()
	w.count()
	return w.settle(nil), nil
}

// untaken hands on a request that PHP read while it streamed an answer, and gave back.
func (w *worker) untaken(number byte) error {
	p := w.pool
	var out written
	p.mu.Lock()
	if !w.ahead.streaming {
		p.mu.Unlock()
		return fmt.Errorf("%w: request %d came back although nothing is streamed", ErrBadAnswer, number)
	}
	if j := p.land(w, number); j != nil {
		if to := p.give(j, p.now()); to != nil {
			out.add(to, j)
		}
	}
	p.mu.Unlock()
	out.put()
	p.poke()
	return nil
}

// wreck ends the process of a worker that cannot go on and sees to its jobs: what PHP never read goes to other workers, what it had
// fails. cause is why, or nil when that was told already.
func (w *worker) wreck(cause error) fate {
	p, a := w.pool, w.ahead
	p.mu.Lock()
	a.closed, w.retire = true, true
	p.unrest(w)
	p.mu.Unlock()

	err := ErrCrashed
	if cause != nil {
		if errors.Is(cause, ErrBadAnswer) {
			p.logFor(w).Error("php worker broke the protocol", "error", cause)
			err = cause
		} else {
			err = w.explain(cause)
		}
	}
	w.proc.kill()
	<-w.proc.exited
	for a.writers.Load() > 0 {
		time.Sleep(time.Millisecond) // a handler that writes notices the end by itself, within drainGrace
	}

	var out written
	p.mu.Lock()
	whole := a.large && len(a.flight) == 1 && int64(w.relay.unread()) == a.sent.Load()
	p.takeBackAll(w, 0, p.now(), &out)
	lost := slices.Clone(a.flight)
	if n := len(lost); n > 1 {
		p.extra -= n - 1
	}
	a.flight = a.flight[:0]
	p.mu.Unlock()
	out.put()
	p.poke()

	if cause != nil && errors.Is(err, ErrCrashed) {
		w.logEnd(cause, len(lost) > 0 && !whole)
	}
	for _, j := range lost {
		if whole {
			p.requeue(j)
		} else {
			j.finish(err)
		}
	}
	if len(lost) == 0 || whole {
		return w.lastFate()
	}
	return dead
}

var errRetired = errors.New("retired")

// retired reports whether a worker that waits for an answer has none to wait for, and is to end. What PHP does after its last
// answer has stop_timeout, as for workers that were never asked whether they are back.
func (w *worker) retired() bool {
	if w.ahead == nil {
		return false
	}
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return w.retire && (!w.ahead.active() || w.ahead.away)
}
