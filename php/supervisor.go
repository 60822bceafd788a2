package php

import (
	"runtime"
	"slices"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

const (
	// freeFailures is how many failures in a row are retried at once: workers get killed, and machines are slow at times.
	freeFailures = 3
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// supervise keeps the pool in shape: it kills workers beyond exec_timeout, expires the queue, boots, replaces and retires
// workers. It ends with the pool's life.
func (p *Pool) supervise() {
	timer := time.NewTimer(p.pace.tick)
	defer timer.Stop()
	shrunk, weighed := p.now(), p.now()
	for {
		select {
		case <-p.life.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		now := p.now()
		p.killOverdue(now)
		p.expireQueue(now)
		p.wearByAge(now)
		if p.cfg.MaxMemory > 0 && now-weighed >= int64(p.pace.weigh) {
			p.wearByMemory()
			weighed = now
		}
		if now-shrunk >= int64(p.pace.shrinkStep) && p.shrink(now) {
			shrunk = now
		}
		timer.Reset(p.scale(now))
		p.workOn(now)
	}
}

// killOverdue kills the workers whose PHP has had the word for longer than exec_timeout. Changing busy decides against an
// answer that comes at the same moment: either the worker sees the change before it takes another job, or nothing is killed.
func (p *Pool) killOverdue(now int64) {
	if p.cfg.ExecTimeout == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		since := w.busy.Load()
		if since <= 0 || now-since < int64(p.cfg.ExecTimeout) || !w.busy.CompareAndSwap(since, overdue) {
			continue
		}
		w.doomed.Store(true)
		p.stats.timeouts.Add(1)
		w.proc.kill()
	}
}

// expireQueue fails what waited for longer than queue.timeout.
func (p *Pool) expireQueue(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.logRefused(now)
	for j := p.queue.oldest(); j != nil && now-j.queuedAt >= int64(p.cfg.Queue.Timeout); j = p.queue.oldest() {
		p.stats.queueTimeouts.Add(1)
		p.drop(j, ErrQueueTimeout)
	}
	p.checkSettled()
}

// refusedEvery is how often it is logged that requests found no worker. There can be thousands, and metrics count them.
const refusedEvery = int64(time.Second)

// logRefused says that requests found no free worker, at most once a second. p.mu is held.
func (p *Pool) logRefused(now int64) {
	late, full := p.stats.queueTimeouts.Load(), p.stats.queueFull.Load()
	if late+full == p.refused.told || p.refused.told > 0 && now-p.refused.at < refusedEvery {
		return
	}
	p.log.Error("no php worker was free for requests", "pool", p.name, "requests", late+full-p.refused.told,
		"queue.timeout", p.cfg.Queue.Timeout, "queue.max", p.cfg.Queue.Max, "workers", len(p.workers))
	p.refused.told, p.refused.at = late+full, now
}

// makeRoom ends the wait of a request of the longest flow for one that finds the queue full, and reports whether it did. p.mu
// is held.
func (p *Pool) makeRoom(newcomer *job) bool {
	j := p.queue.giveWay(newcomer.flow)
	if j == nil {
		return false
	}
	p.stats.queueFull.Add(1)
	p.drop(j, ErrQueueFull)
	return true
}

// wearByAge finds the workers that are older than ttl, or idle for longer than idle_ttl. An idle one that the pool does not need
// ends; all others stay until there is another in their place.
func (p *Pool) wearByAge(now int64) {
	if p.cfg.TTL == 0 && p.cfg.IdleTTL == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	surplus := p.live() - p.cfg.Workers.Min
	for _, w := range p.workers {
		idle := p.cfg.IdleTTL > 0 && w.state == StateIdle && w.served.Load() > 0 && now-w.since >= int64(p.cfg.IdleTTL)
		switch {
		case w.retire:
		case idle && surplus > 0:
			surplus--
			w.why = byIdle
			p.logWear(w, byIdle)
			p.retire(w)
		case idle:
			w.wear(byIdle)
		case w.expires > 0 && now >= w.expires:
			w.wear(byTTL)
		}
	}
}

// wearByMemory finds the workers whose resident memory is beyond max_memory.
func (p *Pool) wearByMemory() {
	p.mu.Lock()
	all := slices.Clone(p.workers)
	p.mu.Unlock()
	for _, w := range all {
		if osproc.ResidentBytes(w.proc.pid) <= int64(p.cfg.MaxMemory) {
			continue
		}
		p.mu.Lock()
		w.wear(byMemory)
		p.mu.Unlock()
	}
}

// wear notes why a worker is to be replaced. Pool.mu is held.
func (w *worker) wear(why reason) {
	if w.worn || w.retire {
		return
	}
	w.worn, w.why = true, why
	w.pool.logWear(w, why)
}

// logWear says why a worker is to be replaced, or why an idle one ends. Pool.mu is held.
func (p *Pool) logWear(w *worker, why reason) {
	log := p.logFor(w)
	switch why {
	case byMaxJobs:
		log.Debug("php worker served max_jobs and is to be replaced", "max_jobs", w.limit)
	case byTTL:
		log.Debug("php worker reached its ttl and is to be replaced", "ttl", p.cfg.TTL)
	case byIdle:
		log.Debug("php worker was idle for long", "idle_ttl", p.cfg.IdleTTL)
	case byMemory:
		log.Warn("php worker is beyond max_memory and is to be replaced", "max_memory", p.cfg.MaxMemory)
	}
}

// notReplaced notes that the successor of a worker did not come up. Pool.mu is held.
func (w *worker) notReplaced() {
	if w.replacing = false; !w.worn {
		w.why = byRequest
	}
}

// shrink retires the worker that was idle longest when that was long, and reports whether it did.
func (p *Pool) shrink(now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) <= p.cfg.Workers.Spare || p.live() <= p.cfg.Workers.Min {
		return false
	}
	longest := p.idle[0] // workers are taken from the other end
	if now-longest.since < int64(p.pace.shrinkIdle) {
		return false
	}
	longest.why = byIdle
	p.logWear(longest, byIdle)
	p.retire(longest)
	return true
}

// scale boots the workers that are wanted, and returns when to look again.
func (p *Pool) scale(now int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.pace.tick
	if p.isSettled() || p.alone() {
		return next
	}
	if p.failures > 0 && p.booting == 0 && p.live() >= p.cfg.Workers.Min && now-p.retryAt > int64(maxBackoff) {
		p.failures, p.lastErr = 0, nil // what stands for so long does work
	}
	if p.failures > 0 {
		// One attempt at a time, and after a few failures not at once.
		if p.booting > 0 {
			return next
		}
		if p.failures > freeFailures && now < p.retryAt {
			return min(next, time.Duration(p.retryAt-now))
		}
	}
	want, live := 0, p.live()+p.booting
	if p.queue.len == 0 {
		p.growing = false
	}
	switch {
	case live < p.cfg.Workers.Min:
		want = p.cfg.Workers.Min - live
	case p.queue.len > p.booting && live < p.cfg.Workers.Max:
		next = min(next, p.pace.growAfter)
		if now-p.queue.oldest().queuedAt >= int64(p.pace.growAfter) {
			want = min(p.queue.len-p.booting, p.cfg.Workers.Max-live)
		}
	}
	if p.failures > 0 {
		want = min(want, 1)
	}
	for range want {
		p.bootOne(nil)
	}
	if p.failures == 0 || want == 0 {
		p.replaceWorn()
	}
	return next
}

// replaceWorn boots successors of worn workers, a few at a time; while boots fail, one. p.mu is held.
func (p *Pool) replaceWorn() {
	room := runtime.GOMAXPROCS(0)
	if p.failures > 0 {
		room = 1
	}
	for _, w := range p.workers {
		if w.replacing && !w.retire {
			room--
		}
	}
	for _, w := range p.workers {
		if room <= 0 {
			return
		}
		if w.worn && !w.replacing && !w.retire {
			w.replacing = true
			p.bootOne(w)
			room--
		}
	}
}

// bootOne boots a worker of the current generation, in the place of old when that is not nil. p.mu is held.
func (p *Pool) bootOne(old *worker) {
	s := p.spec
	p.booting++
	p.stats.booted.Add(1)
	p.running.Go(func() { // ends within boot_timeout
		if err := p.launch(p.life, s, old); err != nil && p.life.Err() == nil {
			p.log.Error("php worker did not start", "pool", p.name, "error", err)
		}
	})
}

// live counts the workers that take jobs. p.mu is held.
func (p *Pool) live() int {
	n := 0
	for _, w := range p.workers {
		if !w.retire {
			n++
		}
	}
	return n
}

// failed notes a worker that did not come up, or died before it did anything: the next attempt waits ever longer. p.mu is held.
func (p *Pool) failed(err error) {
	p.failures++
	p.lastErr = err
	backoff := maxBackoff
	if n := p.failures - freeFailures; n < 10 {
		backoff = min(maxBackoff, firstBackoff<<max(n, 0))
	}
	p.retryAt = p.now() + int64(backoff)
}
