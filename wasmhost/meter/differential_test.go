package meter_test

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost/meter"
)

// outcome is what can be seen of a call from outside.
type outcome struct {
	trapped bool
	result  uint64
	globals [2]int64
	memory  []byte
}

func (r run) outcome(args ...uint64) outcome {
	results, err := r.call("run", args...)
	o := outcome{trapped: err != nil, globals: [2]int64{r.get("g0"), r.get("g1")}}
	if err == nil {
		o.result = results[0]
	}
	o.memory, _ = r.mod.Memory().Read(0, r.mod.Memory().Size())
	return o
}

// compare runs a generated module and what Rewrite makes of it, and what it costs must be exactly enough. It returns that,
// 0 if the program traps.
func compare(t testing.TB, seed []byte) (cost int64) {
	module := generate(seed)
	original := instantiate(t, module)
	defer original.close()
	out, _, err := meter.Rewrite(module, meter.Options{Globals: true, Limit: 1 << 32, Entries: functions})
	if err != nil {
		t.Fatal(err)
	}
	metered := instantiate(t, out)
	defer metered.close()

	want, got := original.outcome(3, 5), metered.outcome(3, 5)
	if want.trapped != got.trapped || want.result != got.result || want.globals != got.globals || !bytes.Equal(want.memory, got.memory) {
		t.Fatalf("seed %x: the rewritten module behaves differently: trapped %v, %v; result %d, %d; globals %v, %v",
			seed, want.trapped, got.trapped, want.result, got.result, want.globals, got.globals)
	}
	if left := metered.get(meter.Stack); !got.trapped && left != 1<<20 {
		t.Fatalf("seed %x: %d of the stack are left, want all", seed, left)
	}
	cost = plenty - metered.get(meter.Fuel)
	if got.trapped || cost == 0 {
		return 0
	}
	for fuel, enough := range map[int64]bool{cost: true, cost - 1: false} {
		again := instantiate(t, out)
		again.set(meter.Fuel, uint64(fuel))
		_, err := again.call("run", 3, 5)
		if left := again.get(meter.Fuel); (err == nil) != enough || (left >= 0) != enough {
			t.Fatalf("seed %x: with %d of %d fuel: %v, %d left", seed, fuel, cost, err, left)
		}
		again.close()
	}
	return cost
}

func (r run) close() { r.runtime.Close(context.Background()) }

// TestDifferential compares random programs.
func TestDifferential(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	ended, costly := 0, 0
	rounds := testenv.Count(150, 5_000)
	for n := range rounds {
		seed := make([]byte, 100+random.IntN(700))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		cost := compare(t, seed)
		if cost > 0 {
			ended++
		}
		if cost > 100 {
			costly++
		}
		if n < 20 {
			out, _ := rewrite(t, generate(seed))
			validate(t, out)
		}
	}
	t.Logf("%d of %d programs ended without a trap, %d cost more than 100", ended, rounds, costly)
	if ended < rounds/3 || costly < rounds/10 {
		t.Error("the programs do too little to tell anything")
	}
}

func FuzzDifferential(f *testing.F) {
	f.Add([]byte("\x05\x08\x01\x02\x0b\x03\x0d\x01"))
	f.Add(bytes.Repeat([]byte{5, 11, 4, 13, 7, 200, 9}, 30))
	f.Fuzz(func(t *testing.T, seed []byte) {
		if len(seed) < 2000 {
			compare(t, seed)
		}
	})
}

// FuzzRewrite: whatever the bytes, Rewrite ends; and what the engine takes, it takes rewritten, unless Rewrite refuses it,
// and what it does not take, it does not take rewritten.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Add(generate(nil))
	f.Add(generate(bytes.Repeat([]byte{5, 11, 4, 13, 7, 200, 9}, 30)))
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, module []byte) {
		out, _, err := meter.Rewrite(module, meter.Options{Globals: true})
		if err != nil || len(module) > 4096 || !bytes.HasPrefix(module, []byte("\x00asm\x01\x00\x00\x00")) { // Rewrite asks for a header
			return
		}
		rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(1))
		defer rt.Close(ctx)
		if hugeCounts(module) {
			return
		}
		_, before := rt.CompileModule(ctx, module)
		_, after := rt.CompileModule(ctx, out)
		switch {
		case before == nil && after != nil:
			t.Errorf("the engine takes the module, and not what became of it: %v", after)
		case before != nil && after == nil && !strings.Contains(before.Error(), "section custom"): // something leads to what was added
			t.Errorf("the engine takes what became of the module, and not the module: %v", before)
		}
	})
}

// hugeCounts says that the engine might make room for more items than there are bytes: the host refuses such modules before.
func hugeCounts(module []byte) bool { return bytes.Count(module, []byte{0xff}) > 3 }

// TestGuestsOfOthers are rewritten to modules that another implementation takes: Go, C and what the TCK brings.
func TestGuestsOfOthers(t *testing.T) {
	t.Parallel()
	files := []string{
		testenv.GoGuest(t, "./wasmhost/testdata/goguest"),
		testenv.CGuest(t, "plugins-wasm/hardening/hardening.c"),
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/http-wasm/http-wasm-host-go").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	err = filepath.WalkDir(strings.TrimSpace(string(dir)), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".wasm" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 10 {
		t.Fatalf("%d modules, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			module := read(t, file)
			out, info := rewrite(t, module)
			validate(t, out)
			growth := float64(len(out)) / float64(len(module))
			t.Logf("%d bytes, %.2f times as many as before, %d functions keep the stack, %d globals", len(out), growth, info.Recursive, len(info.Globals))
			if growth > 2 {
				t.Errorf("the module became %.1f times as large", growth)
			}
		})
	}
}

// TestRefusals name the section, the place and the reason.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const header = "\x00asm\x01\x00\x00\x00"
	code := func(body string) string {
		return header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a" + string(rune(len(body)+3)) + "\x01" + string(rune(len(body)+1)) + "\x00" + body
	}
	for name, tt := range map[string]struct{ module, want string }{
		"threads":         {code("\xfe\x10\x02\x00\x0b"), "code section, offset 0x17: function 0: instruction 0xfe belongs to a proposal that Edge does not run: threads"},
		"tail call":       {code("\x12\x00\x0b"), "code section, offset 0x17: function 0: instruction 0x12 belongs to a proposal that Edge does not run: tail calls"},
		"exceptions":      {code("\x06\x40\x0b\x0b"), "exception handling"},
		"relaxed SIMD":    {code("\xfd\x80\x02\x0b"), "instruction 0xfd 0x100 belongs to a proposal that Edge does not run: relaxed SIMD"},
		"unknown":         {code("\x27\x0b"), "instruction 0x27 is unknown; Edge runs WebAssembly 2.0"},
		"unknown SIMD":    {code("\xfd\x9a\x01\x0b"), "instruction 0xfd 0x9a is unknown"},
		"no end":          {code("\x01\x01"), "offset 0x19: function 0: malformed: the function has no end"},
		"bytes after end": {code("\x0b\x01"), "1 bytes behind the end"},
		"branch too far":  {code("\x0c\x07\x0b"), "branch out of 7 blocks"},
		"no function":     {code("\x10\x07\x0b"), "function 7 of 1"},
		"else alone":      {code("\x05\x0b"), "else without if"},
		"reserved export": {header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0d\x01\x09edge.fuel\x00\x00\x0a\x04\x01\x02\x00\x0b",
			`export section, offset 0x15: item 0: export "edge.fuel": names that begin with "edge." are the host's; rename it`},
		"section twice": {header + "\x01\x01\x00\x01\x01\x00", "type section, offset 0xb: malformed: it is not where it belongs"},
		"cut off":       {header + "\x01\x09\x00", "type section, offset 0x8: malformed: it is cut off"},
		"memory64 type": {header + "\x01\x02\x01\x5f", "type section"},
		"tags":          {header + "\x0d\x01\x00", "13th section, offset 0x8: it belongs to a proposal"},
		"no code":       {header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00", "1 functions are declared and 0 have code"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := meter.Rewrite([]byte(tt.module), meter.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v\nwant %q in it", err, tt.want)
			}
		})
	}
}
