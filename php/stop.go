package php

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// killGrace is how long killed processes may take to be gone. Only one that hangs in the kernel takes longer.
const killGrace = 5 * time.Second

// Stop ends the pool: what waits or runs is finished, then the workers are asked to end. When ctx ends first, all of them are
// killed and Stop returns an error. A second call waits for the first.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	started, first := p.started, !p.closing
	p.closing = true
	p.checkSettled()
	p.mu.Unlock()
	if !started {
		return nil
	}
	if first {
		return p.end(ctx)
	}
	select {
	case <-p.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop php pool %q: %w", p.name, context.Cause(ctx))
	}
}

func (p *Pool) end(ctx context.Context) error {
	select {
	case <-p.settled:
	case <-ctx.Done():
		p.force()
	}
	p.endLife()
	p.changing.Lock() // a start or reload notices the end of life
	p.control.Wait()
	p.changing.Unlock()

	p.mu.Lock()
	for _, w := range p.workers {
		if !w.retire {
			w.why = byStop
			p.retire(w)
		}
	}
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() { // ends with the last worker
		p.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		p.force()
		select {
		case <-ended:
		case <-time.After(killGrace):
			return fmt.Errorf("stop php pool %q: killed workers are not gone after %s", p.name, killGrace)
		}
	}

	p.spec.retire()
	err := errors.Join(p.spawner.Stop(), p.temp.remove())
	p.rests.close()
	close(p.stopped)
	if p.isForced() {
		return fmt.Errorf("stop php pool %q: workers were killed: %w", p.name, context.Cause(ctx))
	}
	return err
}

// force fails everything that waits and kills all workers.
func (p *Pool) force() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isForced() {
		return
	}
	close(p.forced)
	for j := p.queue.oldest(); j != nil; j = p.queue.oldest() {
		p.stats.refused.Add(1)
		p.drop(j, ErrStopped)
	}
	for _, w := range p.workers {
		w.killed.Store(true)
		w.proc.kill()
	}
	if !p.isSettled() {
		close(p.settled)
	}
}

// drop fails a waiting job. p.mu is held.
func (p *Pool) drop(j *job, err error) {
	p.queue.remove(j)
	j.finish(err)
}

// checkSettled notes when a stopping pool has nothing left to do. p.mu is held.
func (p *Pool) checkSettled() {
	if p.closing && p.busy == p.away && p.queue.len == 0 && !p.isSettled() {
		close(p.settled)
	}
}

func (p *Pool) isSettled() bool { return isClosed(p.settled) }
func (p *Pool) isForced() bool  { return isClosed(p.forced) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
