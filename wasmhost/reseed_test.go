package wasmhost

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// goState lays a generator out as Go's runtime does, after it handed out some numbers of a block.
func goState(seed [32]byte, block uint32, used uint32) []byte {
	state := make([]byte, goSize)
	generator := rand.NewChaCha8(seed)
	for range block / goBlockStep * goBlock {
		generator.Uint64()
	}
	n := uint32(goBlock)
	if block == goLastBlock {
		n = goLastLength
	}
	for i := range n {
		binary.LittleEndian.PutUint64(state[8*i:], generator.Uint64())
	}
	copy(state[goSeedAt:], seed[:])
	binary.LittleEndian.PutUint32(state[goIndexAt:], used)
	binary.LittleEndian.PutUint32(state[goIndexAt+4:], n)
	binary.LittleEndian.PutUint32(state[goIndexAt+8:], block)
	return state
}

func TestGoGeneratorsAreFound(t *testing.T) {
	t.Parallel()
	memory := make([]byte, 1<<20)
	noise := rand.NewChaCha8([32]byte{9})
	noise.Read(memory[1000:500_000])
	var want []uint32
	for i, block := range []uint32{0, 4, 8, 12} {
		at := uint32(600_000 + 8_000*i)
		copy(memory[at:], goState([32]byte{byte(i), 1}, block, uint32(i)))
		want = append(want, at)
	}
	broken := goState([32]byte{7}, 0, 3)
	broken[17] ^= 1 // not a block of that seed
	copy(memory[700_000:], broken)
	if got := findGoGenerators(memory); !slices.Equal(got, want) {
		t.Fatalf("found %v, want %v", got, want)
	}

	a, b := goState([32]byte{1}, 8, 5), goState([32]byte{1}, 8, 5)
	reseedGo(a)
	reseedGo(b)
	if slices.Equal(a[goSeedAt:goIndexAt], b[goSeedAt:goIndexAt]) {
		t.Error("two generators got the same seed")
	}
	if i, n := binary.LittleEndian.Uint32(a[goIndexAt:]), binary.LittleEndian.Uint32(a[goIndexAt+4:]); i < n {
		t.Errorf("%d old numbers would still be handed out", n-i)
	}
	if c := binary.LittleEndian.Uint32(a[goIndexAt+8:]); c+goBlockStep != 0 {
		t.Errorf("the next block would be %d, want the first of the seed", c+goBlockStep)
	}
	for short := range 8 { // a state cut off at the end of memory is none
		if got := findGoGenerators(memory[600_000 : 600_000+goSize-1-short]); got != nil {
			t.Errorf("found %v in a memory that ends inside of it", got)
		}
	}
}

// FuzzGoGenerators: whatever a guest puts into its memory, what is found lies inside of it and can be seeded anew.
func FuzzGoGenerators(f *testing.F) {
	f.Add(goState([32]byte{1}, 12, 28))
	f.Add(append(make([]byte, 24), goState([32]byte{2}, 4, 0)...))
	f.Fuzz(func(t *testing.T, memory []byte) {
		for _, at := range findGoGenerators(memory) {
			reseedGo(memory[at:][:goSize])
		}
	})
}
