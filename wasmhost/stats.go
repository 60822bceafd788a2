package wasmhost

import (
	"sync/atomic"
	"time"
)

// PluginStats is a plugin at one moment.
type PluginStats struct {
	Name  string
	File  string
	Named bool // by edge.yaml

	// Generation counts the contents of the file that were put into service; 0 when there is none.
	Generation uint64
	// Failures counts the distinct contents that could not be loaded.
	Failures uint64
	// Degraded says why what serves is not what the file says; "" when all is well.
	Degraded string
	// LastError is the last error of a request or of loading since the current generation serves, "" without one.
	LastError   string
	LastErrorAt time.Time

	Idle, Busy int // instances of the current generation
	Draining   int // instances of generations before it, which end with their last requests

	// NotCloned says why each instance has to be started instead of being a copy of one that was; "" if they are copies.
	NotCloned string

	Requests        uint64 // handed to the guest
	Errors          uint64 // ended by the plugin with 4xx or 5xx, traps included
	Traps           uint64 // guest code that was stopped
	Waits           uint64 // requests of the current generation that found all instances busy
	Refused         uint64 // requests that waited in vain, 503
	LogLinesDropped uint64 // because there were too many

	// TrapsByKind are the traps by the name of their kind, those that happened.
	TrapsByKind map[string]uint64

	// Fuel is what calls into the guest took of limits.fuel.
	Fuel FuelStats

	// Memory is the linear memory and the tables of the largest instance of the current generation, in bytes, as of its last calls.
	Memory uint64

	// Bypassed says why and until when requests pass the plugin by, "" if they do not; Bypasses counts how often it came to that.
	Bypassed string
	Bypasses uint64

	// Metrics are those that the plugin defines itself.
	Metrics []GuestMetric

	// InGuest is the total time in handle_request and handle_response, host functions included. Of the first 64 requests
	// of an instance every eighth is timed, then every 64th, and stands for those since the last one.
	InGuest time.Duration

	// P50 and P99 of the time of a request in the guest, of those that were timed, rounded up by at most a quarter; 0 without any.
	P50, P99 time.Duration
}

// counters are added to by requests.
type counters struct {
	requests, errors, traps, refused atomic.Uint64
	inGuest                          atomic.Int64
	kinds                            [trapKinds]atomic.Uint64 // of the traps
	fuel                             fuelCounters
	latency                          latency
}

// startClock and stopClock are around the calls into the guest of one request, and time those of few.
func (i *instance) startClock() {
	if i.weight != 0 {
		i.entered = time.Now()
	}
}

func (i *instance) stopClock(c *counters) {
	if i.weight != 0 {
		took := time.Since(i.entered)
		i.took += took
		c.inGuest.Add(int64(took) * int64(i.weight))
	}
}

// Stats returns a snapshot.
func (p *Plugin) Stats() PluginStats {
	p.mu.Lock()
	s := PluginStats{
		Name: p.name, File: p.file, Named: p.named,
		Failures: p.failures, Degraded: p.degraded, LastError: p.lastError, LastErrorAt: p.lastErrorAt,
	}
	for _, g := range p.draining {
		idle, busy, _ := g.pool.counts()
		s.Draining += idle + busy
	}
	p.mu.Unlock()

	if g := p.current.Load(); g != nil {
		s.Generation = g.number
		s.Idle, s.Busy, s.Waits = g.pool.counts()
		s.NotCloned = g.notCloned
		s.Memory = g.largest.Load()
	}
	s.Requests = p.counters.requests.Load()
	s.Errors = p.counters.errors.Load()
	s.Traps = p.counters.traps.Load()
	s.Refused = p.counters.refused.Load()
	s.InGuest = time.Duration(p.counters.inGuest.Load())
	s.P50, s.P99 = p.counters.latency.quantile(0.50), p.counters.latency.quantile(0.99)
	s.TrapsByKind = p.counters.trapsByKind()
	s.Fuel = p.counters.fuel.snapshot()
	s.Bypassed, s.Bypasses = p.bypassReason(), p.breaker.count()
	s.LogLinesDropped = p.guestLog.droppedLines()
	s.Metrics = p.metrics.snapshot()
	return s
}
