package wasmhost

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// latency counts times by size: four classes for each power of two of nanoseconds. Only requests that are timed anyway note
// theirs, one addition each.
type latency struct {
	classes [4 * 48]atomic.Uint64 // up to three days
}

// classOf: the two bits below the highest one tell the classes of a power of two apart.
func classOf(d time.Duration) int {
	n := uint64(max(d, 4))
	power := bits.Len64(n) - 1 // at least 2
	return min(4*(power-2)+int(n>>(power-2)&3), len(latency{}.classes)-1)
}

// ceiling is the longest time of a class.
func ceiling(class int) time.Duration {
	power := class/4 + 2
	return time.Duration(uint64(4+class%4+1)<<(power-2) - 1)
}

// note counts a request that stands for weight of them.
func (l *latency) note(d time.Duration, weight uint64) { l.classes[classOf(d)].Add(weight) }

// quantile is the time that the share q of the requests did not exceed; 0 without any.
func (l *latency) quantile(q float64) time.Duration {
	total := uint64(0)
	for i := range l.classes {
		total += l.classes[i].Load()
	}
	if total == 0 {
		return 0
	}
	rank, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i := range l.classes {
		if seen += l.classes[i].Load(); seen >= rank {
			return ceiling(i)
		}
	}
	return ceiling(len(l.classes) - 1)
}
