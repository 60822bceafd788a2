package php

import "slices"

// A worker that has served max_jobs is spent: it does not end before its successor is there, but gets nothing more while there is a
// chance that the successor comes soon. Requests that find nobody else wait in the queue, where a new worker looks first. When it takes
// longer than pace.succession, or does not come up, the spent one works on: an old worker is better than none.

// early is how many jobs before the last one the successor is booted: it is there in time where many are served.
func (w *worker) early() uint64 { return w.limit / 10 }

// spent reports whether a worker that has nothing to do is to get nothing more. p.mu is held.
func (w *worker) spent() bool {
	p := w.pool
	return w.limit > 0 && w.served.Load() >= w.limit && !w.worksOn && !w.retire && !p.closing && p.failures == 0
}

// fits reports whether another request may lie behind those that a worker has. p.mu is held.
func (w *worker) fits() bool {
	return w.limit == 0 || w.worksOn || w.served.Load()+uint64(len(w.ahead.flight)) < w.limit
}

// rest puts a worker without work where it is found: among the idle ones, unless it is spent. p.mu is held.
func (p *Pool) rest(w *worker) {
	if w.spent() {
		p.spent = append(p.spent, w)
	} else {
		p.idle = append(p.idle, w)
	}
}

// unrest takes a worker out of those that rest, and reports whether it was one. p.mu is held.
func (p *Pool) unrest(w *worker) bool {
	for _, list := range []*[]*worker{&p.idle, &p.spent} {
		if i := slices.Index(*list, w); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
			return true
		}
	}
	return false
}

// workOn lets spent workers go on whose successors do not come, and gives them what waits.
func (p *Pool) workOn(now int64) {
	var out written
	p.mu.Lock()
	for i := 0; i < len(p.spent); {
		w := p.spent[i]
		if now-w.since < int64(p.pace.succession) && p.failures == 0 && !p.closing {
			i++
			continue
		}
		w.worksOn = true
		p.spent = slices.Delete(p.spent, i, i+1)
		p.idle = slices.Insert(p.idle, 0, w) // the last one to be taken
	}
	for p.queue.len > 0 && len(p.idle) > 0 && out.n < maxAhead {
		j := p.queue.pop()
		p.stats.waited(now - j.queuedAt)
		if w := p.give(j, now); w != nil {
			out.add(w, j)
		}
	}
	more := p.queue.len > 0 && len(p.idle) > 0
	p.mu.Unlock()
	out.put()
	if more {
		p.poke()
	}
}
