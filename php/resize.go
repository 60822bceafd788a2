package php

import (
	"fmt"
	"slices"
)

// AddWorker makes the pool larger by one worker, which boots now. The pool stays so until its configuration changes.
func (p *Pool) AddWorker() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready.Load() || p.closing {
		return fmt.Errorf("add a worker to php pool %q: %w", p.name, ErrStopped)
	}
	if p.alone() {
		return nil // every request has its own
	}
	if p.cfg.Workers.Max >= maxWorkers {
		return fmt.Errorf("add a worker to php pool %q: it may have %d already", p.name, p.cfg.Workers.Max)
	}
	p.cfg.Workers.Min++
	p.cfg.Workers.Max++
	p.poke()
	return nil
}

// RemoveWorker makes the pool smaller by one worker, which ends after the request it has. The last one stays.
func (p *Pool) RemoveWorker() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready.Load() || p.closing {
		return fmt.Errorf("remove a worker from php pool %q: %w", p.name, ErrStopped)
	}
	if p.alone() {
		return nil
	}
	if p.cfg.Workers.Min <= 1 {
		return fmt.Errorf("remove a worker from php pool %q: workers.min is 1, and without workers nothing is served", p.name)
	}
	p.cfg.Workers.Min--
	p.cfg.Workers.Max--
	if w := p.dispensable(); w != nil {
		w.why = byIdle
		p.retire(w)
	}
	p.poke()
	return nil
}

// dispensable is the worker that has least to do when there is one more than needed, or nil. p.mu is held.
func (p *Pool) dispensable() *worker {
	if p.live() <= p.cfg.Workers.Min {
		return nil
	}
	if len(p.idle) > 0 {
		return p.idle[0] // it was idle longest
	}
	i := slices.IndexFunc(p.workers, func(w *worker) bool { return !w.retire })
	return p.workers[i]
}
