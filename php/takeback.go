package php

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

// This file moves requests that lie in the pipe of a worker and that PHP has not read: see ahead.go for when and why.

// give hands a job that no worker has to an idle worker, or puts it before all that wait. It returns the worker when it is the
// caller's to write the job. p.mu is held.
func (p *Pool) give(j *job, now int64) *worker {
	switch {
	case p.isForced():
		j.finish(ErrStopped)
		return nil
	case j.gone:
		j.finish(context.Canceled)
		return nil
	}
	n := len(p.idle)
	if n == 0 {
		p.queue.pushFront(j)
		return nil
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
	if w.ahead != nil {
		p.assign(w, j, now)
		return w
	}
	p.beginAt(w, now)
	w.jobs <- j
	return nil
}

// takeBack reads back the oldest request that PHP has not taken. Nil means that there is none. p.mu is held.
func (p *Pool) takeBack(w *worker) *job {
	a := w.ahead
	for !a.large && !a.streaming && !a.away { // what the server says about a stream must reach PHP
		n := a.pipe.takeBack(p.scratch[:])
		if n <= 0 {
			return nil
		}
		// What PHP left of a stream that is over stands before it, and is not worth keeping.
		for b := p.scratch[:n]; len(b) >= frame.HeaderLen; {
			h, rest, ok := frame.Cut(b)
			if !ok {
				break
			}
			b = rest
			if h.Number == 0 {
				continue
			}
			if j := p.land(w, h.Number); j != nil {
				return j
			}
		}
	}
	return nil
}

// land takes a job out of the flight by its number. p.mu is held.
func (p *Pool) land(w *worker, number byte) *job {
	a := w.ahead
	for i, j := range a.flight {
		if j.number == number && j.sealed.Load() { // otherwise its frame is not written yet, and somebody is about to
			if len(a.flight) > 1 {
				p.extra--
			}
			a.flight = slices.Delete(a.flight, i, i+1)
			return j
		}
	}
	return nil
}

// written is jobs whose frames are to be written once Pool.mu is free. Nothing of it is allocated.
type written struct {
	n    int
	jobs [2 * maxAhead]*job
	to   [2 * maxAhead]*worker
}

func (t *written) add(w *worker, j *job) {
	t.jobs[t.n], t.to[t.n] = j, w
	t.n++
}

func (t *written) put() {
	for i := range t.n {
		t.to[i].put(t.jobs[i])
	}
}

// takeBackAll hands on what PHP has not taken of a worker, but leaves it that many jobs. PHP may not even have begun with the
// first. p.mu is held.
func (p *Pool) takeBackAll(w *worker, leave int, now int64, out *written) {
	var back [maxAhead]*job
	n := 0
	for len(w.ahead.flight) > leave {
		j := p.takeBack(w)
		if j == nil {
			break
		}
		back[n] = j
		n++
	}
	p.giveAll(back[:n], now, out)
}

// giveAll is give for several jobs, the oldest first.
func (p *Pool) giveAll(back []*job, now int64, out *written) {
	for i, j := range back {
		if len(p.idle) == 0 {
			for _, j := range slices.Backward(back[i:]) { // each goes before the one after it
				p.give(j, now)
			}
			return
		}
		if w := p.give(j, now); w != nil {
			out.add(w, j)
		}
	}
}

// rescue takes requests back that lie behind one that takes long, or that PHP does not come back for. It ends with the pool's life,
// and sleeps while no worker has anything.
func (p *Pool) rescue() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-p.rescueWake:
		case <-p.life.Done():
			return
		}
		for quiet := 0; quiet < quietTicks; {
			timer.Reset(p.pace.patience)
			select {
			case <-timer.C:
			case <-p.life.Done():
				return
			}
			if quiet++; p.rescueOnce() {
				quiet = 0
			}
		}
		p.mu.Lock()
		p.rescuing = p.watched()
		again := p.rescuing
		p.mu.Unlock()
		if again {
			p.rescueWake <- struct{}{}
		}
	}
}

// watched reports whether there is anything to rescue. p.mu is held.
func (p *Pool) watched() bool {
	return p.extra > 0 || slices.ContainsFunc(p.workers, func(w *worker) bool { return w.ahead != nil && w.ahead.unread() })
}

// unread reports whether PHP may not have read the oldest request. Pool.mu is held.
func (a *ahead) unread() bool {
	return len(a.flight) > 0 && a.taken != a.turn && !a.large && !a.streaming && !a.closed
}

// rescueOnce reports whether there was anything to look at.
func (p *Pool) rescueOnce() bool {
	p.mu.Lock()
	if !p.watched() {
		p.mu.Unlock()
		return false
	}
	now := p.now()
	for i := 0; i < len(p.workers); i++ {
		w := p.workers[i]
		if w.ahead == nil {
			continue
		}
		var out written
		switch {
		case p.overdueUnread(w, now):
			p.sendAway(w, now, &out)
		case len(w.ahead.flight) > 1 && now-w.ahead.turn >= int64(p.pace.patience):
			p.takeBackAll(w, 1, now, &out)
		}
		if out.n > 0 {
			p.mu.Unlock()
			out.put()
			p.mu.Lock()
		}
	}
	grow := p.queue.len > 0
	p.mu.Unlock()
	if grow {
		p.poke()
	}
	return true
}

// overdueUnread reports whether it is time to look whether PHP has read the oldest request of a worker. p.mu is held.
func (p *Pool) overdueUnread(w *worker, now int64) bool {
	a := w.ahead
	if !a.unread() {
		return false
	}
	wait := int64(p.pace.patience) << (2 * min(a.flight[0].moves, maxMoves))
	if len(p.idle) == 0 {
		wait *= unmoved
	}
	return now-a.turn >= wait
}

// sendAway takes back everything that PHP has not read. When that is all it was given, PHP is busy with something after its last
// answer, or slow to wake: the worker gets nothing more until it is back, which a greeting in its pipe finds out. p.mu is held.
func (p *Pool) sendAway(w *worker, now int64, out *written) {
	a := w.ahead
	first := a.flight[0]
	written := a.writers.Load() == 0 // then what is not in the pipe was read
	var back [maxAhead]*job
	n := 0
	for len(a.flight) > 0 {
		j := p.takeBack(w)
		if j == nil {
			break
		}
		j.moves++
		back[n] = j
		n++
	}
	switch {
	case len(a.flight) == 0:
		a.away = true
		p.away++
		if err := a.pipe.write(fenceFrame); err != nil {
			w.proc.kill() // its goroutine notices
		}
		if w.retire {
			interrupt(w.relay)
		}
	case a.flight[0] != first:
		a.turn = now // it is only just being written
		w.resume()
	case written:
		a.taken = a.turn
	}
	p.giveAll(back[:n], now, out)
	p.checkSettled()
}

// isBack notes that a worker that was away asks for work. p.mu is held.
func (p *Pool) isBack(w *worker) {
	if w.ahead != nil && w.ahead.away {
		w.ahead.away = false
		p.away--
	}
}

// returned gives work to a worker that was away.
func (w *worker) returned() (fate, error) {
	if err := w.skipFrame(); err != nil {
		return dead, err
	}
	p := w.pool
	var out written
	p.mu.Lock()
	if !w.ahead.away {
		p.mu.Unlock()
		return dead, fmt.Errorf("%w: a command that nobody asked for", ErrBadAnswer)
	}
	p.isBack(w)
	next := w.advance(&out)
	p.mu.Unlock()
	out.put()
	return next, nil
}

// steal takes back a request for a worker that has nothing to do, from one that has worked on another for a while. p.mu is held.
func (p *Pool) steal(now int64) *job {
	const look = 8
	if p.extra == 0 {
		return nil
	}
	n := len(p.workers)
	for range min(n, look) {
		p.next++
		w := p.workers[p.next%uint(n)]
		if a := w.ahead; a != nil && a.worthStealing(now) {
			if j := p.takeBack(w); j != nil {
				return j
			}
		}
	}
	return nil
}

// worthStealing reports whether what lies behind a worker's request may go to another. Pool.mu is held.
func (a *ahead) worthStealing(now int64) bool {
	return len(a.flight) > 1 && now-a.turn > 4*a.service+stealAfter
}
