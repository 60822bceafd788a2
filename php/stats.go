package php

import (
	"sync/atomic"
	"time"
)

// Stats is a snapshot of a pool.
type Stats struct {
	Booting, Idle, Busy, Stopping int // workers

	Queued      int           // requests that wait now
	WaitTotal   time.Duration // of all requests that waited
	WaitMax     time.Duration
	WaitedCount uint64

	Requests      uint64 // given to the pool
	Rejected      uint64 // answered 503: queue full, queue timeout, stopped
	Timeouts      uint64 // workers killed for exec_timeout
	Crashes       uint64 // workers that died, by themselves or by somebody else, or were killed because of what they sent
	Errors        uint64 // errors the application reported
	Streams       uint64 // answers in parts
	Retries       uint64 // requests that moved to another worker before PHP saw them
	Started       uint64 // workers booted after the start, for whatever reason
	Ended         uint64 // workers that ended, for whatever reason
	Reloads       uint64
	ReloadsFailed uint64

	Failures  int    // boots that failed in a row; 0 is healthy
	LastError string // of the last of these

	ReloadError string // why the last reload failed and older code serves; "" when it did not
}

// WorkerInfo is a snapshot of a worker.
type WorkerInfo struct {
	PID   int
	State string
	Jobs  uint64        // served
	Since time.Duration // in this state
	Age   time.Duration
	RSS   int64 // bytes; 0 where it cannot be told
}

// counters are what Stats counts.
type counters struct {
	requests, rejected, timeouts, crashes, errors, streams, retries, booted, ended, reloads, reloadsFailed atomic.Uint64

	// Protected by Pool.mu.
	waitTotal, waitMax int64
	waits              uint64
}

// waited counts a wait in the queue. Pool.mu is held.
func (c *counters) waited(d int64) {
	c.waits++
	c.waitTotal += d
	c.waitMax = max(c.waitMax, d)
}

// Stats returns a snapshot.
func (p *Pool) Stats() Stats {
	c := &p.stats
	s := Stats{
		Requests:      c.requests.Load(),
		Rejected:      c.rejected.Load(),
		Timeouts:      c.timeouts.Load(),
		Crashes:       c.crashes.Load(),
		Errors:        c.errors.Load(),
		Streams:       c.streams.Load(),
		Retries:       c.retries.Load(),
		Started:       c.booted.Load(),
		Ended:         c.ended.Load(),
		Reloads:       c.reloads.Load(),
		ReloadsFailed: c.reloadsFailed.Load(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Booting = p.booting
	for _, w := range p.workers {
		switch w.state {
		case StateBooting:
			s.Booting++
		case StateIdle:
			s.Idle++
		case StateBusy:
			s.Busy++
		default:
			s.Stopping++
		}
	}
	s.Queued, s.WaitedCount = p.queue.len, c.waits
	s.WaitTotal, s.WaitMax = time.Duration(c.waitTotal), time.Duration(c.waitMax)
	s.Failures = p.failures
	if p.lastErr != nil {
		s.LastError = p.lastErr.Error()
	}
	if p.reloadErr != nil {
		s.ReloadError = p.reloadErr.Error()
	}
	return s
}

// Workers returns what each worker does, the oldest first.
func (p *Pool) Workers() []WorkerInfo {
	p.mu.Lock()
	now := p.now()
	infos := make([]WorkerInfo, 0, len(p.workers))
	for _, w := range p.workers {
		infos = append(infos, WorkerInfo{
			PID:   w.proc.pid,
			State: w.state.String(),
			Jobs:  w.served.Load(),
			Since: time.Duration(now - w.since),
			Age:   time.Since(w.started),
		})
	}
	p.mu.Unlock()
	for i := range infos {
		infos[i].RSS = residentBytes(infos[i].PID)
	}
	return infos
}
