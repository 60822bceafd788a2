package memory

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/edge-server/edge/kv"
)

// chunkSize is how many members a chunk of a sorted set has before it is cut in two.
const chunkSize = 512

// memberOverhead is what a member costs beside its name: its places in the map and in a chunk.
const memberOverhead = 64

// sortedSet keeps members in order in chunks of bounded length, so that a change moves few of them and a place is found by adding
// up the lengths of chunks. Changes are made under the lock of the key; mu is for readers, which have none.
type sortedSet struct {
	bytes int64 // under the lock of the key

	mu     sync.RWMutex
	scores map[string]float64
	chunks [][]kv.Ranked // none is empty
}

func newSortedSet() *sortedSet { return &sortedSet{scores: map[string]float64{}} }

func order(a, b kv.Ranked) int {
	if c := cmp.Compare(a.Score, b.Score); c != 0 {
		return c
	}
	return strings.Compare(a.Member, b.Member)
}

func memberCost(member string) int64 { return int64(len(member)) + memberOverhead }

// put sets the score of a member and reports whether it is new. The set keeps the string.
func (z *sortedSet) put(m kv.Ranked) (added bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m.Score += 0 // -0 is 0
	old, there := z.scores[m.Member]
	if there {
		if old == m.Score {
			return false
		}
		z.take(kv.Ranked{Member: m.Member, Score: old})
	} else {
		m.Member = strings.Clone(m.Member)
		z.bytes += memberCost(m.Member)
	}
	z.scores[m.Member] = m.Score
	z.insert(m)
	return !there
}

// drop removes a member and reports whether it was there.
func (z *sortedSet) drop(member string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	score, there := z.scores[member]
	if !there {
		return false
	}
	z.take(kv.Ranked{Member: member, Score: score})
	delete(z.scores, member)
	z.bytes -= memberCost(member)
	return true
}

// chunkOf returns the place of the last chunk that begins at or before m.
func (z *sortedSet) chunkOf(m kv.Ranked) int {
	after := sort.Search(len(z.chunks), func(i int) bool { return order(z.chunks[i][0], m) > 0 })
	return max(after-1, 0)
}

func (z *sortedSet) insert(m kv.Ranked) {
	if len(z.chunks) == 0 {
		z.chunks = append(z.chunks, []kv.Ranked{m})
		return
	}
	c := z.chunkOf(m)
	at, _ := slices.BinarySearchFunc(z.chunks[c], m, order)
	z.chunks[c] = slices.Insert(z.chunks[c], at, m)
	if chunk := z.chunks[c]; len(chunk) > chunkSize {
		half := len(chunk) / 2
		z.chunks = slices.Insert(z.chunks, c+1, slices.Clone(chunk[half:]))
		clear(chunk[half:])
		z.chunks[c] = chunk[:half:half]
	}
}

func (z *sortedSet) take(m kv.Ranked) {
	c := z.chunkOf(m)
	at, _ := slices.BinarySearchFunc(z.chunks[c], m, order)
	if z.chunks[c] = slices.Delete(z.chunks[c], at, at+1); len(z.chunks[c]) == 0 {
		z.chunks = slices.Delete(z.chunks, c, c+1)
	}
}

func (z *sortedSet) score(member string) (float64, bool) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	score, there := z.scores[member]
	return score, there
}

func (z *sortedSet) len() int {
	z.mu.RLock()
	defer z.mu.RUnlock()
	return len(z.scores)
}

func (z *sortedSet) rank(member string, reverse bool) (int64, bool) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	score, there := z.scores[member]
	if !there {
		return 0, false
	}
	rank := z.before(func(r kv.Ranked) bool { return order(r, kv.Ranked{Member: member, Score: score}) < 0 })
	if reverse {
		rank = len(z.scores) - 1 - rank
	}
	return int64(rank), true
}

// before counts the members for which less is true; they are the first ones.
func (z *sortedSet) before(less func(kv.Ranked) bool) int {
	c := sort.Search(len(z.chunks), func(i int) bool { return !less(z.chunks[i][len(z.chunks[i])-1]) })
	n := 0
	for _, chunk := range z.chunks[:c] {
		n += len(chunk)
	}
	if c < len(z.chunks) {
		n += sort.Search(len(z.chunks[c]), func(i int) bool { return !less(z.chunks[c][i]) })
	}
	return n
}

// span returns copies of the members that a span describes.
func (z *sortedSet) span(span kv.Span) []kv.Ranked {
	z.mu.RLock()
	defer z.mu.RUnlock()
	from, to := z.places(span) // in the order of the span
	if from >= to {
		return nil
	}
	if span.Reverse {
		from, to = len(z.scores)-to, len(z.scores)-from
	}
	members := z.between(from, to)
	if span.Reverse {
		slices.Reverse(members)
	}
	return members
}

// places turns a span into the places from (included) and to (excluded), which count in its own direction.
func (z *sortedSet) places(span kv.Span) (from, to int) {
	n := int64(len(z.scores))
	if !span.ByScore {
		start, stop := span.Start, span.Stop
		if start < 0 {
			start = max(start+n, 0)
		}
		if stop < 0 {
			stop += n
		}
		return int(min(start, n)), int(max(min(stop, n-1)+1, 0))
	}
	low := z.before(func(r kv.Ranked) bool { return r.Score < span.Min })
	high := z.before(func(r kv.Ranked) bool { return r.Score <= span.Max })
	if span.Reverse {
		low, high = int(n)-high, int(n)-low
	}
	from = low + int(min(max(span.Start, 0), n))
	if span.Stop > 0 && span.Stop < int64(high-from) {
		high = from + int(span.Stop)
	}
	return from, high
}

func (z *sortedSet) between(from, to int) []kv.Ranked {
	members := make([]kv.Ranked, 0, to-from)
	for _, chunk := range z.chunks {
		if from < len(chunk) && to > 0 {
			members = append(members, chunk[max(from, 0):min(to, len(chunk))]...)
		}
		from, to = from-len(chunk), to-len(chunk)
		if to <= 0 {
			break
		}
	}
	return members
}
