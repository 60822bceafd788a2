package php

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

// Nothing in the protocol says which request an answer belongs to. A worker that answers one request twice, as many written for
// RoadRunner do after an exception (a page for the client, then error() for the log), would give every later client the answer
// of the client before. So a request goes out behind a fence: the greeting of the handshake once more, which PHP returns when it
// comes back for work. What comes before the return belongs to requests that are over.
//
// Workers that announce featureOneAnswer never answer twice, and are spared it. So are workers written by hand that take a second
// greeting for something else: the first worker of a generation is asked twice at its boot, and when that disturbs it, it is
// booted again and from then on none is asked twice. For those, an answer that comes unasked is noticed only if it is there before
// the next request.

// featureOneAnswer is announced by workers that send exactly one answer for a request.
const featureOneAnswer = "one-answer"

// maxStrays is how many frames after an answer are dropped before the worker is given up.
const maxStrays = 100

// Values of spec.fence.
const (
	fenceUnknown int32 = iota
	fenceAnswered
	fenceUnanswered
)

// fenceProof is how long the return of the first fence may take: the script has just asked for work, and is at it.
const fenceProof = time.Second

var (
	fenceFrame = frame.AppendFrame(nil, frame.FlagControl|frame.FlagJSON, 0, []byte(`{"pid":1}`))
	fenceLen   = len(fenceFrame)

	errNoFence = errors.New("it does not answer a second greeting")

	errStray  = errors.New("it sent a frame that nobody asked for")
	errStrays = fmt.Errorf("more than %d frames after an answer", maxStrays)
)

// fenced reports whether the next request needs a fence: the first one stands behind the handshake.
func (w *worker) fenced() bool { return w.fences && w.served.Load() > 0 }

// proveFence finds out whether the script answers a second greeting. errNoFence means that the worker is of no use any more.
func (w *worker) proveFence() error {
	switch w.spec.fence.Load() {
	case fenceAnswered:
		w.fences = true
		return nil
	case fenceUnanswered:
		return nil
	}
	if _, err := w.relay.Write(fenceFrame); err != nil {
		return errNoFence
	}
	_ = w.relay.SetReadDeadline(time.Now().Add(fenceProof))
	h, err := w.reader.Head()
	if err == nil && h.Is(frame.FlagControl) {
		_, err = w.reader.Take(chunkSize)
	} else if err == nil {
		err = errNoFence
	}
	if err != nil {
		return errNoFence
	}
	_ = w.relay.SetReadDeadline(time.Time{})
	w.fences = true
	w.spec.fence.Store(fenceAnswered)
	return nil
}

// passFence reads up to the return of the fence. An error means that PHP never took the request behind it.
func (w *worker) passFence() error {
	for range maxStrays {
		h, err := w.head()
		if err != nil {
			return err
		}
		if h.Is(frame.FlagControl) {
			return w.skipFrame()
		}
		if err := w.dropStray(&h); err != nil {
			return err
		}
	}
	return errStrays
}

// dropStray reads a frame that came after an answer.
func (w *worker) dropStray(h *frame.Header) error {
	if h.Is(frame.FlagError) {
		return w.readError()
	}
	text, err := w.take(len(stopRequest))
	if err != nil {
		return err
	}
	if string(text) == stopRequest && w.reader.Left() == 0 && int(h.Option(0)) == len(stopRequest) {
		w.pool.retireBusy(w) // it wants to end, after the request behind the fence should it take that
		return nil
	}
	w.pool.logFor(w).Error("php worker answered a request twice; the second answer was dropped", "flags", h.Flags, "bytes", h.Len)
	if h.Has(frame.StreamPing) {
		if _, err := w.relay.Write(pongFrame); err != nil {
			return err
		}
	}
	return w.skipFrame()
}

// neverTaken hands on a request that PHP did not come back for, be it that it is stuck in what it does after an answer.
func (w *worker) neverTaken(j *job, cause error) fate {
	err := w.explain(cause)
	if errors.Is(err, ErrStopped) {
		j.finish(err)
		return dead
	}
	if errors.Is(err, ErrCrashed) {
		w.logEnd(cause, false)
	}
	w.pool.requeue(j)
	return w.lastFate()
}
