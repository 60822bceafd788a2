// Package gcpace keeps the garbage collector of a busy process from taking too much of it.
//
// Go collects when the heap has doubled. Where little is alive, as in a server that keeps nothing but its connections, that is soon: three
// megabytes are three hundred answers over HTTP/3, and fifty collections per second, most of which goes into beginning and ending
// them. So while collections take more than their share of the processors, the heap may grow by more, up to a limit that is small beside the
// process. An idle server has what Go gives it.
package gcpace

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	usual = 100 // percent by which Go lets a heap grow

	// share is how much of the processors' time the collector may take.
	share = 0.05

	// mostGarbage is how much the heap may grow by beyond what Go allows.
	mostGarbage = 12 << 20

	// window is how many collections are looked at together. What allocates a lot for a moment, such as a reload, has fewer.
	window = 8

	// calm between two collections means that the load is over.
	calm = 500 * time.Millisecond
)

// Start begins to watch the collector, until stop is called. Who has set GOGC has decided for himself, and nothing is done.
func Start() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	p := &pacer{percent: usual, last: time.Now(), read: read}
	p.before = p.read()
	runtime.SetFinalizer(&beat{p}, (*beat).run)
	return p.stop
}

// pacer is the state between collections.
type pacer struct {
	read func() spent

	mu      sync.Mutex // guards what follows
	percent int
	before  spent     // when the window began
	count   int       // of collections in it
	last    time.Time // of the last collection
	stopped bool
}

// beat is garbage, which the collector tells of in the runtime's goroutine of finalizers.
type beat struct{ pacer *pacer }

func (b *beat) run() {
	if b.pacer.collected(time.Now()) {
		runtime.SetFinalizer(b, (*beat).run) // it is alive again until the next one
	}
}

// collected reports whether there is to be a next time.
func (p *pacer) collected(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	calmed := now.Sub(p.last) >= calm
	p.last = now
	p.count++
	if !calmed && p.count < window {
		return true
	}
	after := p.read()
	if calmed {
		p.set(usual)
	} else {
		p.set(next(p.percent, after.share(p.before), after.live))
	}
	p.before, p.count = after, 0
	return true
}

// next is the percentage after one with which the collector took so much of the time, where so many bytes are alive.
func next(percent int, took float64, live uint64) int {
	wanted := int(float64(percent)*min(max(took/share, 0.5), 2) + 0.5)
	if wanted > percent*4/5 && wanted < percent*5/4 {
		wanted = percent // a change stops the world for a moment
	}
	return max(min(wanted, int(mostGarbage*100/max(live, 1<<20))), usual)
}

func (p *pacer) set(percent int) {
	if percent != p.percent {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
}

func (p *pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.set(usual)
}

// spent is what the process has done with the processors, in seconds, and what the last collection has found in use.
type spent struct {
	collector, rest float64
	live            uint64
}

// share is that of the collector since then.
func (s spent) share(before spent) float64 {
	collector, rest := s.collector-before.collector, s.rest-before.rest
	if collector+rest <= 0 {
		return 0
	}
	return collector / (collector + rest)
}

// read asks the runtime. What the collector does on processors that have nothing else to do does not count.
func read() spent {
	samples := [...]metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}, {Name: "/cpu/classes/user:cpu-seconds"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples[:])
	return spent{samples[0].Value.Float64() - samples[1].Value.Float64(), samples[2].Value.Float64(), samples[3].Value.Uint64()}
}
