package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
)

// dataModule is a module of two pages with these segments.
func dataModule(segments []segment) []byte {
	module := []byte("\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x02\x07\x0a\x01\x06memory\x02\x00")
	section := appendSegments(nil, segments)
	module = append(module, sectionData)
	module = binary.AppendUvarint(module, uint64(len(section)))
	return append(module, section...)
}

// memoryOf is what the engine makes of it; nil if it refuses.
func memoryOf(t *testing.T, module []byte) []byte {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(16))
	defer rt.Close(ctx)
	mod, err := rt.Instantiate(ctx, module)
	if err != nil {
		return nil
	}
	content, _ := mod.Memory().Read(0, mod.Memory().Size())
	return bytes.Clone(content)
}

// TestMergeData: many segments, over each other and apart, in any order, leave the same memory as a few do.
func TestMergeData(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		segments := make([]segment, 64+random.IntN(300))
		for i := range segments {
			content := make([]byte, random.IntN(40))
			for j := range content {
				content[j] = byte(random.IntN(3)) // zeros too: they overwrite
			}
			segments[i] = segment{uint32(random.IntN(1<<(8+random.IntN(9))) + 1000*random.IntN(2)), content}
		}
		module := dataModule(segments)
		merged := mergeData(module)
		if bytes.Equal(merged, module) {
			t.Fatal("nothing was merged")
		}
		want := memoryOf(t, module)
		if got := memoryOf(t, merged); want == nil || !bytes.Equal(got, want) {
			t.Fatal("the memory differs")
		}
	}
}

// TestDataIsLeftAlone where merging could change what the module does.
func TestDataIsLeftAlone(t *testing.T) {
	t.Parallel()
	many := make([]segment, 100)
	for i := range many {
		many[i] = segment{uint32(i), []byte("x")}
	}
	outside := append(many[:len(many):len(many)], segment{2 * uint32(pageSize), []byte("x")})
	counted := append([]byte("\x00asm\x01\x00\x00\x00\x0c\x01\x64"), dataModule(many)[8:]...)
	passive := bytes.Replace(dataModule(many), []byte("\x00\x41\x05\x0b\x01x"), []byte("\x01\x01x"), 1)
	for name, module := range map[string][]byte{
		"few": dataModule(many[:10]), "outside": dataModule(outside), "counted": counted, "passive": passive,
		"empty": []byte("\x00asm\x01\x00\x00\x00"), "cut off": dataModule(many)[:300],
	} {
		if got := mergeData(module); !bytes.Equal(got, module) {
			t.Errorf("%s: the module was changed", name)
		}
	}
	if merged := mergeData(dataModule(many)); bytes.Equal(merged, dataModule(many)) {
		t.Error("a plain one was not changed")
	}
}

func FuzzMergeData(f *testing.F) {
	many := make([]segment, 70)
	for i := range many {
		many[i] = segment{uint32(i * 50), []byte{1, 0, 2}}
	}
	f.Add(dataModule(many))
	f.Add(dataModule(many[:3]))
	f.Fuzz(func(t *testing.T, module []byte) {
		if checkHeader(module) != nil || len(module) > 1<<16 {
			return
		}
		merged := mergeData(module)
		if bytes.Equal(merged, module) {
			return
		}
		if bounded, _, err := boundModule(module); err != nil || !bytes.Equal(bounded, module) {
			return // it is refused or changed before it comes here
		}
		if want := memoryOf(t, module); want != nil && !bytes.Equal(memoryOf(t, merged), want) {
			t.Error("the memory differs")
		}
	})
}
