package php

import (
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// Stats is a snapshot of a pool.
type Stats struct {
	Booting, Idle, Busy, Stopping int // workers

	Queued      int           // requests that wait now
	WaitTotal   time.Duration // of all requests that waited
	WaitMax     time.Duration
	WaitedCount uint64

	Requests      uint64 // given to the pool
	QueueFull     uint64 // answered 503 because queue.max requests waited
	QueueTimeouts uint64 // answered 503 because they waited for queue.timeout
	Refused       uint64 // answered 503 because the pool was stopping
	Timeouts      uint64 // workers killed for exec_timeout
	Crashes       uint64 // workers that died, by themselves or by somebody else, or were killed because of what they sent
	Errors        uint64 // errors the application reported
	Streams       uint64 // answers in parts
	Retries       uint64 // requests that moved to another worker before PHP saw them
	Started       uint64 // workers booted after the start, for whatever reason
	Ended         Ended  // workers that ended, by reason
	Reloads       uint64
	ReloadsFailed uint64

	Memory int64 // resident memory of all workers in bytes; 0 where it cannot be told

	Failures  int    // boots that failed in a row; 0 is healthy
	LastError string // of the last of these

	ReloadError string // why the last reload failed and older code serves; "" when it did not
}

// Ended counts the workers that ended, by reason.
type Ended struct {
	MaxJobs, TTL, Idle, Memory uint64 // as configured; Idle are also those that a pool which grew no longer needs
	Timeout, Crash             uint64 // exec_timeout; died unasked
	OutOfMemory                uint64 // killed by the kernel for limits.memory
	Reload, Stop               uint64
	Requested                  uint64 // by the worker itself, which may just have ended in order
}

// Total is all that ended.
func (e Ended) Total() uint64 {
	return e.MaxJobs + e.TTL + e.Idle + e.Memory + e.Timeout + e.Crash + e.OutOfMemory + e.Reload + e.Stop + e.Requested
}

// count counts one more.
func (e *Ended) count(why reason) {
	counter := [...]*uint64{
		byRequest: &e.Requested, byMaxJobs: &e.MaxJobs, byTTL: &e.TTL, byIdle: &e.Idle, byMemory: &e.Memory, byTimeout: &e.Timeout,
		byCrash: &e.Crash, byOOM: &e.OutOfMemory, byReload: &e.Reload, byStop: &e.Stop,
	}[why]
	*counter++
}

// reason is why a worker ends.
type reason uint8

const (
	byRequest reason = iota // until there is another
	byMaxJobs
	byTTL
	byIdle
	byMemory
	byTimeout
	byCrash
	byOOM
	byReload
	byStop
)

func (r reason) String() string {
	return [...]string{
		byRequest: "by itself", byMaxJobs: "max_jobs", byTTL: "ttl", byIdle: "idle", byMemory: "max_memory", byTimeout: "exec_timeout", byCrash: "crash", byOOM: "out of memory",
		byReload: "reload", byStop: "stop",
	}[r]
}

// endedBy says why a worker ended. Pool.mu is held.
func (w *worker) endedBy(crashed bool) reason {
	switch {
	case w.killed.Load():
		return byStop
	case w.doomed.Load():
		return byTimeout
	case crashed && w.proc.oom:
		return byOOM
	case crashed:
		return byCrash
	}
	return w.why
}

// Rejected is all requests that were answered 503.
func (s Stats) Rejected() uint64 { return s.QueueFull + s.QueueTimeouts + s.Refused }

// WorkerInfo is a snapshot of a worker.
type WorkerInfo struct {
	PID   int
	State string
	Jobs  uint64        // served
	Since time.Duration // in this state
	Age   time.Duration
	RSS   int64 // bytes; 0 where it cannot be told

	Started   time.Time
	Processor time.Duration // used so far; 0 where it cannot be told
}

// counters are what Stats counts.
type counters struct {
	requests, queueFull, queueTimeouts, refused, timeouts, crashes, errors, streams, retries, booted, reloads, reloadsFailed atomic.Uint64

	// Protected by Pool.mu.
	waitTotal, waitMax int64
	waits              uint64
	ended              Ended
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
		QueueFull:     c.queueFull.Load(),
		QueueTimeouts: c.queueTimeouts.Load(),
		Refused:       c.refused.Load(),
		Timeouts:      c.timeouts.Load(),
		Crashes:       c.crashes.Load(),
		Errors:        c.errors.Load(),
		Streams:       c.streams.Load(),
		Retries:       c.retries.Load(),
		Started:       c.booted.Load(),
		Reloads:       c.reloads.Load(),
		ReloadsFailed: c.reloadsFailed.Load(),
	}
	for _, pid := range p.readCounts(&s) {
		s.Memory += osproc.ResidentBytes(pid)
	}
	return s
}

// readCounts fills in what p.mu protects, and returns the pids of the workers.
func (p *Pool) readCounts(s *Stats) (pids []int) {
	c := &p.stats
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Booting = p.booting
	for _, w := range p.workers {
		pids = append(pids, w.proc.pid)
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
	s.Queued, s.WaitedCount = p.queue.len+p.extra+int(p.seats.waiting.Load()), c.waits
	s.WaitTotal, s.WaitMax = time.Duration(c.waitTotal), time.Duration(c.waitMax)
	s.Ended = c.ended
	s.Failures = p.failures
	if p.lastErr != nil {
		s.LastError = p.lastErr.Error()
	}
	if p.reloadErr != nil {
		s.ReloadError = p.reloadErr.Error()
	}
	return pids
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

			Started: w.started,
		})
	}
	p.mu.Unlock()
	for i := range infos {
		infos[i].RSS = osproc.ResidentBytes(infos[i].PID)
		infos[i].Processor = osproc.ProcessorTime(infos[i].PID)
	}
	return infos
}
