package wasmhost

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// A clone has the memory of its template, and with it the state of every pseudo-random generator in it: two instances
// would draw the same numbers. Three things are done about that:
//
//   - A guest that drew randomness or read the wall clock while it started may have seeded a generator with it. It is
//     cloned only if it exports edge_after_clone, where it seeds anew.
//   - A guest that did neither is not worse off: all its instances would have begun with the same state anyway.
//   - Go's runtime always draws 32 bytes at its start, and a Go program has no way to seed that generator again. Its state
//     can be recognised in memory beyond doubt, and the host gives each clone a new one.

// entropy notes what a guest took at its start that differs from one instance to the next.
type entropy struct {
	draws, drawn int  // of randomness: calls and bytes
	clock        bool // the wall clock was read
}

// Read is the guest's source of randomness.
func (e *entropy) Read(p []byte) (int, error) {
	e.draws++
	e.drawn += len(p)
	return cryptorand.Read(p)
}

func (e *entropy) walltime() (seconds int64, nanoseconds int32) {
	e.clock = true
	now := time.Now()
	return now.Unix(), int32(now.Nanosecond())
}

// goSeed is what Go's runtime draws when it starts, in one call.
const goSeed = 32

func (e *entropy) none() bool   { return e.draws == 0 && !e.clock }
func (e *entropy) onlyGo() bool { return e.draws == 1 && e.drawn == goSeed && !e.clock }

// A generator of Go's runtime, as it lies in memory (ChaCha8, Go 1.22 and later):
//
//	buf [32]uint64   the block of random numbers that is being handed out
//	seed [4]uint64   what it was computed from, with c
//	i, n, c uint32   next one to hand out, how many there are, number of the block (0, 4, 8, 12)
//
// Since buf follows from seed and c, nothing else in memory can be taken for one.
const (
	goBlock   = 32
	goSeedAt  = 8 * goBlock
	goIndexAt = goSeedAt + goSeed
	goSize    = goIndexAt + 3*4

	goBlockStep  = 4
	goLastBlock  = 12
	goLastLength = goBlock - 4 // the last block of a seed keeps four numbers back: they are the next seed
)

// findGoGenerators returns the offsets of generators of Go's runtime in a linear memory.
func findGoGenerators(memory []byte) []uint32 {
	var found []uint32
	for at := 0; at+goSize <= len(memory); at += 8 {
		index := memory[at+goIndexAt:]
		n := binary.LittleEndian.Uint32(index[4:])
		if n != goBlock && n != goLastLength {
			continue
		}
		i, c := binary.LittleEndian.Uint32(index), binary.LittleEndian.Uint32(index[8:])
		if i <= n && c <= goLastBlock && c%goBlockStep == 0 && isGoGenerator(memory[at:], n, c) {
			found = append(found, uint32(at))
		}
	}
	return found
}

// isGoGenerator computes block c from the seed and compares it with the one there.
func isGoGenerator(state []byte, n, c uint32) bool {
	generator := rand.NewChaCha8([goSeed]byte(state[goSeedAt:]))
	for range c / goBlockStep * goBlock {
		generator.Uint64()
	}
	for i := range n {
		if generator.Uint64() != binary.LittleEndian.Uint64(state[8*i:]) {
			return false
		}
	}
	return true
}

// reseedGo puts a new seed into a generator and marks its numbers as used up, so that the guest computes the next block
// from it. The host's own generator is good enough: it is the same one, seeded by the operating system.
func reseedGo(state []byte) {
	for word := goSeedAt; word < goIndexAt; word += 8 {
		binary.LittleEndian.PutUint64(state[word:], rand.Uint64())
	}
	var before uint32 // the block before the first
	before -= goBlockStep
	binary.LittleEndian.PutUint32(state[goIndexAt:], 0)
	binary.LittleEndian.PutUint32(state[goIndexAt+4:], 0)
	binary.LittleEndian.PutUint32(state[goIndexAt+8:], before)
}
