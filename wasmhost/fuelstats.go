package wasmhost

import (
	"math/bits"
	"sync/atomic"
)

// FuelStats is what calls into a guest took, in instructions as limits.fuel counts them. An instance reports after its first
// call and then after every fifteenth, so that the last few may be missing.
type FuelStats struct {
	Total uint64
	Last  uint64 // of a call
	Max   uint64

	// P50 and P99 of the calls that were reported, rounded up to a power of two.
	P50, P99 uint64
}

// fuelCounters are shared by the instances of a plugin.
type fuelCounters struct {
	total, last, max atomic.Uint64
	sizes            [65]atomic.Uint64 // calls by the number of bits of what they took
}

// flushEvery is after how many calls an instance reports. It is odd, because handle_request and handle_response take turns.
const flushEvery = 15

// ended notes that a call took fuel.
func (b *budget) ended(fuel uint64) {
	b.used += fuel
	b.last = fuel
	b.most = max(b.most, fuel)
	b.unreported++
}

// flush adds what an instance has noted to the counters of its plugin.
func (i *instance) flush() {
	b, p := &i.budget, i.gen.ext.plugin
	if b.unreported == 0 || p == nil {
		return
	}
	c := &p.counters.fuel
	c.total.Add(b.used)
	c.last.Store(b.last)
	raise(&c.max, b.most)
	c.sizes[bits.Len64(b.last)].Add(b.unreported)
	b.used, b.most, b.unreported = 0, 0, 0
	if mem := i.mod.Memory(); mem != nil {
		raise(&i.gen.largest, uint64(mem.Size()))
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
