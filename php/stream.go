package php

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

// passOn gives an answer to the handler part by part: one that PHP streams, or a single frame too large to hold. The
// handler gets the job back at once; from then on only the stream connects the two.
func (w *worker) passOn(j *job, h frame.Header) fate {
	s := &stream{
		chunks: make(chan chunk, streamDepth),
		gone:   make(chan struct{}),
		length: -1,
		relay:  w.relay,
		pid:    w.proc.pid,
	}
	if !h.Has(frame.StreamMore) {
		s.length = int64(h.Len) - int64(h.Option(0))
	}
	j.stream, w.live = s, s
	defer func() { w.live = nil }()
	w.pool.stats.streams.Add(1)
	j.finish(nil)

	err := w.passFrames(s, &h)
	switch {
	case err == nil:
	case errors.Is(err, ErrApplication):
		s.err = err
	case s.isGone():
		close(s.chunks)
		return w.drain(&h)
	case errors.Is(err, ErrBadAnswer):
		w.pool.logFor(w).Error("php worker broke the protocol", "error", err)
		s.err = err
	default:
		s.err = w.explain(err)
		if errors.Is(s.err, ErrCrashed) {
			w.logEnd(err, true)
		}
	}
	close(s.chunks)
	if err != nil && !errors.Is(err, ErrApplication) {
		return dead
	}
	return w.endTurn()
}

// passFrames passes on frames until the final one. h is the frame at hand.
func (w *worker) passFrames(s *stream, h *frame.Header) error {
	for {
		if err := w.passFrame(s, *h); err != nil {
			return err
		}
		if !h.Has(frame.StreamMore) {
			return nil
		}
		if h.Has(frame.StreamPing) {
			if _, err := w.relay.Write(pongFrame); err != nil {
				return err
			}
		}

		w.resume() // every part has exec_timeout anew
		next, err := w.head()
		if err != nil {
			return err
		}
		*h = next
		if h.Is(frame.FlagError) {
			if err := w.readError(); err != nil {
				return err
			}
			return ErrApplication
		}
		if h.Is(frame.FlagControl) || h.NumOpts != 1 || h.Option(0) > h.Len || h.Option(0) > maxHead {
			return fmt.Errorf("%w: a stream frame with flags %#x and %d options", ErrBadAnswer, h.Flags, h.NumOpts)
		}
	}
}

// passFrame passes on one frame in parts of at most chunkSize, the context with the first.
func (w *worker) passFrame(s *stream, h frame.Header) error {
	headLen := int(h.Option(0))
	for first := true; first || w.reader.Left() > 0; first = false {
		n := chunkSize
		if first {
			n += headLen
		}
		b, err := w.take(n)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		c := chunk{body: b}
		if first {
			c.head, c.body = b[:headLen], b[headLen:]
			if err := checkCodec(h, c.head); err != nil {
				return err
			}
		}
		c.buf = w.exchange()
		if !w.deliver(s, c) {
			return errClientGone
		}
	}
	return nil
}

// deliver gives a part to the handler. While a slow client makes it wait, PHP is not to blame.
func (w *worker) deliver(s *stream, c chunk) bool {
	select {
	case s.chunks <- c:
		return true
	default:
	}
	w.pause()
	defer w.resume()
	select {
	case s.chunks <- c:
		return true
	case <-s.gone:
	case <-w.pool.forced:
	}
	putBuffer(c.buf)
	return false
}

// resume starts PHP's turn, or starts its time anew.
func (w *worker) resume() {
	if since := w.busy.Load(); since != overdue {
		w.busy.CompareAndSwap(since, w.pool.now())
	}
}

// pause stops PHP's time.
func (w *worker) pause() {
	if since := w.busy.Load(); since != overdue {
		w.busy.CompareAndSwap(since, 0)
	}
}

// drain tells PHP to end a stream nobody takes, and reads the rest of it, within stop_timeout. A worker that behaves is kept.
func (w *worker) drain(h *frame.Header) fate {
	if w.endTurn() == dead {
		return dead
	}
	w.stopUntil = time.Now().Add(w.pool.cfg.StopTimeout)
	_ = w.relay.SetReadDeadline(w.stopUntil)
	_ = w.relay.SetWriteDeadline(w.stopUntil)
	if err := w.drainFrames(h); err != nil {
		w.pool.logFor(w).Warn("php worker did not end a stream that nobody took and was killed", "stop_timeout", w.pool.cfg.StopTimeout, "error", err)
		return dead
	}
	w.stopUntil = time.Time{}
	_ = w.relay.SetReadDeadline(w.stopUntil)
	_ = w.relay.SetWriteDeadline(w.stopUntil)
	if w.proc.gone.Load() {
		_ = w.readLast() // its end set deadlines, too, which must not be lost
		_ = w.relay.SetWriteDeadline(w.lastUntil)
	}
	return keep
}

func (w *worker) drainFrames(h *frame.Header) error {
	if h.Has(frame.StreamMore) {
		if _, err := w.relay.Write(streamStopFrame); err != nil {
			return err
		}
	}
	for {
		if err := w.skipFrame(); err != nil {
			return err
		}
		if !h.Has(frame.StreamMore) {
			return nil
		}
		next, err := w.head()
		if err != nil {
			return err
		}
		*h = next
		if h.Has(frame.StreamPing) {
			if _, err := w.relay.Write(pongFrame); err != nil {
				return err
			}
		}
	}
}

// isGone reports whether the handler cancelled.
func (s *stream) isGone() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}
