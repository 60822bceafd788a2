package php

import (
	"fmt"
	"math/bits"
	"net/http"
	"time"
)

// Hurry makes the supervisor decide faster. It must be called before Start.
func (p *Pool) Hurry(shrinkIdle, shrinkStep time.Duration) {
	p.pace.tick = 5 * time.Millisecond
	p.pace.shrinkIdle, p.pace.shrinkStep = shrinkIdle, shrinkStep
	p.pace.weigh = 20 * time.Millisecond
}

// Succession sets how long requests wait for the successor of a spent worker.
func (p *Pool) Succession(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace.succession = d
}

// TempPath is where bodies and uploads lie.
func (p *Pool) TempPath() string { return p.temp.path }

// Ahead sets when requests go ahead and when they are taken back. It must be called before Start.
func (p *Pool) Ahead(short, patience time.Duration) { p.pace.short, p.pace.patience = short, patience }

// Behind is how many requests lie in workers' pipes behind others, and Flights how many workers can have some.
func (p *Pool) Behind() (behind, flights int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.ahead != nil {
			flights++
			behind += max(0, len(w.ahead.flight)-1)
		}
	}
	return behind, flights
}

// SharedSlots is how many answers of a worker lie in shared memory at most.
const SharedSlots = sharedSlots

// Shared is how many slots have an answer that is being written, and the memory of the first worker that has some.
func (p *Pool) Shared() (used int, first *SharedMemory) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.ahead == nil || w.ahead.shared == nil {
			continue
		}
		used += bits.OnesCount32(w.ahead.shared.held.Load())
		if first == nil {
			first = &SharedMemory{w.ahead.shared}
		}
	}
	return used, first
}

// SharedMemory is what a worker has in common with the server.
type SharedMemory struct{ shared *shared }

// Holders is for whom it is still mapped.
func (s *SharedMemory) Holders() int { return int(s.shared.holders.Load()) }

// RoundTrip gives a request without a body to a worker and drops the answer: what the pool does, without what the handler adds.
func (p *Pool) RoundTrip(r *http.Request) error {
	j := getJob(p.dialect())
	defer putJob(j)
	j.setContext(r, false, nil)
	if err := p.submit(r.Context(), j); err != nil {
		return err
	}
	return j.err
}

// Consistent checks what has to hold in a pool that has nothing to do.
func (p *Pool) Consistent() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.extra != 0 || p.busy != 0 || p.away != 0 || p.booting != 0 || p.queue.len != 0 || p.queue.first != nil || p.queue.urgent.first != nil {
		return fmt.Errorf("extra %d, busy %d, away %d, booting %d, queue %d", p.extra, p.busy, p.away, p.booting, p.queue.len)
	}
	if len(p.idle) != len(p.workers) {
		return fmt.Errorf("%d of %d workers are idle", len(p.idle), len(p.workers))
	}
	for _, w := range p.workers {
		if a := w.ahead; a != nil && (len(a.flight) != 0 || a.large || a.streaming || a.away || a.writers.Load() != 0 || w.busy.Load() != 0) {
			return fmt.Errorf("worker %d is idle with %d requests, %d writers, busy %d, state %+v", w.proc.pid, len(a.flight), a.writers.Load(), w.busy.Load(), a)
		}
	}
	return nil
}

// Stealable reports whether an idle worker would take whatever lies behind another request.
func (p *Pool) Stealable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, w := range p.workers {
		if a := w.ahead; a != nil && len(a.flight) > 1 && !a.worthStealing(now) {
			return false
		}
	}
	return true
}

// Closing reports whether Stop has begun.
func (p *Pool) Closing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing
}

// SpeakProtobuf makes the next requests ones that workers of another dialect have to be given a translation of, as during a reload
// that changes the dialect.
func (p *Pool) SpeakProtobuf() { p.speaks.Store(uint32(speaksProto)) }
