package php

import (
	"errors"
	"fmt"

	"github.com/edge-server/edge/internal/frame"
)

// Nothing in the protocol says which request an answer belongs to. A worker that answers one request twice, as many written for
// RoadRunner do after an exception (a page for the client, then error() for the log), would give every later client the answer
// of the client before. So a request goes out behind a fence: the greeting of the handshake once more, which PHP returns when it
// comes back for work. What comes before the return belongs to requests that are over.
//
// Workers that announce featureOneAnswer never answer twice, and are spared it.

// featureOneAnswer is announced by workers that send exactly one answer for a request.
const featureOneAnswer = "one-answer"

// maxStrays is how many frames after an answer are dropped before the worker is given up.
const maxStrays = 100

var (
	fenceFrame = frame.AppendFrame(nil, frame.FlagControl|frame.FlagJSON, 0, []byte(`{"pid":1}`))
	fenceLen   = len(fenceFrame)

	errStray  = errors.New("it sent a frame that nobody asked for")
	errStrays = fmt.Errorf("more than %d frames after an answer", maxStrays)
)

// fenced reports whether the next request needs a fence: the first one stands behind the handshake.
func (w *worker) fenced() bool { return !w.oneAnswer && w.served.Load() > 0 }

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
