package wasmhost

import (
	"math/bits"
	"sync/atomic"
)

// FuelStats is what calls into a guest took, in instructions as limits.fuel counts them. Of an instance, the first calls are
// looked at, those that were stopped, and every 31st, which stands for those since the last one.
type FuelStats struct {
	Calls uint64 // into guests
	Total uint64
	Last  uint64 // of a call
	Max   uint64

	// P50 and P99 are rounded up to a power of two.
	P50, P99 uint64
}

// fuelCounters are shared by the instances of a plugin.
type fuelCounters struct {
	total, last, max atomic.Uint64
	sizes            [65]atomic.Uint64 // calls by the number of bits of what they took
}

// An instance reports what its first calls took, then what every reportEvery-th did: reading the counter costs as much as a
// twentieth of a small guest. It is odd, because handle_request and handle_response take turns.
const (
	reportClosely = 32
	reportEvery   = 31
)

// report notes that a call took fuel, for all since the last report. One that was stopped stands for itself alone.
func (i *instance) report(fuel uint64, stopped bool) {
	b, p := &i.budget, i.gen.ext.plugin
	if p == nil {
		return
	}
	calls := b.unreported
	if stopped {
		calls = 1
	}
	b.unreported -= calls
	c := &p.counters.fuel
	c.total.Add(fuel * calls)
	c.last.Store(fuel)
	raise(&c.max, fuel)
	c.sizes[bits.Len64(fuel)].Add(calls)
	if mem := i.mod.Memory(); mem != nil {
		raise(&i.gen.largest, uint64(mem.Size())+i.tableBytes())
	}
}

// raise makes v at least n.
func raise(v *atomic.Uint64, n uint64) {
	for {
		old := v.Load()
		if n <= old || v.CompareAndSwap(old, n) {
			return
		}
	}
}

func (c *fuelCounters) snapshot() FuelStats {
	s := FuelStats{Total: c.total.Load(), Last: c.last.Load(), Max: c.max.Load()}
	var counts [65]uint64
	all := uint64(0)
	for i := range counts {
		counts[i] = c.sizes[i].Load()
		all += counts[i]
	}
	s.Calls = all
	s.P50, s.P99 = quantile(counts[:], all, 50), quantile(counts[:], all, 99)
	return s
}

// quantile returns the upper end of the size that percent of the calls did not exceed.
func quantile(counts []uint64, all, percent uint64) uint64 {
	seen := uint64(0)
	for i, n := range counts {
		if seen += n; n > 0 && seen*100 >= all*percent {
			return 1<<i - 1
		}
	}
	return 0
}

// trapsByKind returns the traps that happened.
func (c *counters) trapsByKind() map[string]uint64 {
	var byKind map[string]uint64
	for kind := range trapKinds {
		if n := c.kinds[kind].Load(); n > 0 {
			if byKind == nil {
				byKind = map[string]uint64{}
			}
			byKind[kind.String()] = n
		}
	}
	return byKind
}
