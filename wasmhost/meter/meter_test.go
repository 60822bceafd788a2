package meter_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost/meter"
)

// assemble makes a module of text.
func assemble(t testing.TB, wat string) []byte {
	t.Helper()
	tool := testenv.Tool(t, "wat2wasm", "apt-get install wabt")
	dir := testenv.Dir(t)
	source, out := filepath.Join(dir, "m.wat"), filepath.Join(dir, "m.wasm")
	if err := os.WriteFile(source, []byte(wat), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(tool, source, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm: %v\n%s\n%s", err, msg, wat)
	}
	return read(t, out)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// validate asks another implementation whether the module is one.
func validate(t testing.TB, module []byte) {
	t.Helper()
	tool := testenv.Tool(t, "wasm-validate", "apt-get install wabt")
	file := filepath.Join(testenv.Dir(t), "m.wasm")
	if err := os.WriteFile(file, module, 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(tool, file).CombinedOutput(); err != nil {
		t.Fatalf("wasm-validate: %v\n%s", err, msg)
	}
}

func rewrite(t testing.TB, module []byte) ([]byte, meter.Info) {
	t.Helper()
	out, info, err := meter.Rewrite(module, meter.Options{Globals: true})
	if err != nil {
		t.Fatal(err)
	}
	return out, info
}

// run is an instance of a module, metered or not.
type run struct {
	t       testing.TB
	mod     api.Module
	runtime wazero.Runtime
}

const plenty = 1 << 40

// instantiate runs a module with WASI and, if it is metered, fuel and stack.
func instantiate(t testing.TB, module []byte) run {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(1024))
	t.Cleanup(func() { rt.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	mod, err := rt.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	r := run{t, mod, rt}
	if r.metered() {
		r.set(meter.Fuel, plenty)
		r.set(meter.Stack, 1<<20)
	}
	return r
}

func (r run) metered() bool { return r.mod.ExportedGlobal(meter.Fuel) != nil }

func (r run) set(name string, v uint64) { r.mod.ExportedGlobal(name).(api.MutableGlobal).Set(v) }

func (r run) get(name string) int64 {
	g := r.mod.ExportedGlobal(name)
	if g.Type() == api.ValueTypeI32 {
		return int64(int32(g.Get()))
	}
	return int64(g.Get())
}

// call calls an export and returns its results, or the trap.
func (r run) call(name string, args ...uint64) ([]uint64, error) {
	r.t.Helper()
	f := r.mod.ExportedFunction(name)
	if f == nil {
		r.t.Fatalf("there is no export %q", name)
	}
	return f.Call(context.Background(), args...)
}

// cost is the fuel that a call takes.
func (r run) cost(name string, args ...uint64) int64 {
	r.t.Helper()
	r.set(meter.Fuel, plenty)
	if _, err := r.call(name, args...); err != nil {
		r.t.Fatal(err)
	}
	return plenty - r.get(meter.Fuel)
}

func TestRewrittenModuleCountsAndStops(t *testing.T) {
	t.Parallel()
	module := assemble(t, `(module
		(memory (export "memory") 1 10)
		(table 1 10 funcref)
		(global $started (mut i32) (i32.const 0))
		(global $pi (mut f64) (f64.const 3.14))
		(global $fixed i32 (i32.const 7))
		(start $begin)
		(func $begin (global.set $started (i32.const 1)))
		(func (export "started") (result i32) (global.get $started))
		(func (export "spin") (loop $l (br $l)))
		(func (export "count") (param $n i32) (result i32) (local $i i32)
			(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
				(br_if $l (i32.lt_u (local.get $i) (local.get $n))))
			(local.get $i))
		(func $fib (export "fib") (param $n i32) (result i32)
			(if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
				(then (return (local.get $n)))
				(else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1))) (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
		(func $down (export "down") (param $n i32) (result i32)
			(if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
			(i32.add (i32.const 1) (call $down (i32.sub (local.get $n) (i32.const 1)))))
		(func (export "fill") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
		(func (export "copy") (param i32) (memory.copy (i32.const 0) (i32.const 8) (local.get 0)))
		(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
		(func (export "tgrow") (param i32) (result i32) (table.grow 0 (ref.null func) (local.get 0)))
		(func (export "two") (param i32) (result i32 i64)
			(if (local.get 0) (then (return (i32.const 1) (i64.const 2))))
			(call $pair (local.get 0)))
		(func $pair (param i32) (result i32 i64)
			(if (local.get 0) (then (br 1 (i32.const 8) (i64.const 8)) (return (call $pair (i32.const 0)))))
			(i32.const 3) (i64.const 4))
	)`)
	out, info := rewrite(t, module)
	validate(t, out)
	if !info.Start || len(info.Globals) != 2 || info.Globals[1].Export != "edge.global.1" || info.Globals[1].Type != 0x7c || !info.ChangesTables {
		t.Errorf("info = %+v", info)
	}
	r := instantiate(t, out)
	if got, _ := r.call("started"); got[0] != 0 {
		t.Error("the start function ran before it was called")
	}
	if _, err := r.call(meter.Start); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.call("started"); got[0] != 1 {
		t.Error("the start function did not run")
	}

	if got, _ := r.call("fib", 20); got[0] != 6765 {
		t.Errorf("fib(20) = %d", got[0])
	}
	if got, _ := r.call("two", 0); got[0] != 3 || got[1] != 4 {
		t.Errorf("two(0) = %v", got)
	}
	if got, _ := r.call("two", 1); got[0] != 1 || got[1] != 2 {
		t.Errorf("two(1) = %v", got)
	}
	if left := r.get(meter.Stack); left != 1<<20 {
		t.Errorf("%d bytes of the stack are left, want all", left)
	}
	if a, b := r.cost("count", 1000), r.cost("count", 2000); a < 4000 || a > 12_000 || b < 2*a-100 || b > 2*a+100 {
		t.Errorf("1000 rounds cost %d, 2000 cost %d", a, b)
	}
	if a, b := r.cost("fill", 8), r.cost("fill", 65536); b-a != 8191 {
		t.Errorf("filling 8 bytes costs %d, 64 KiB %d", a, b)
	}
	if a, b := r.cost("copy", 8), r.cost("copy", 32768); b-a != 4095 {
		t.Errorf("copying 8 bytes costs %d, 32 KiB %d", a, b)
	}
	if a, b := r.cost("grow", 0), r.cost("grow", 2); b-a != 16384 {
		t.Errorf("growing by nothing costs %d, by two pages %d", a, b)
	}
	if a, b := r.cost("tgrow", 0), r.cost("tgrow", 5); b-a != 5 {
		t.Errorf("growing a table by nothing costs %d, by five %d", a, b)
	}
	if r.get(meter.Denied) != 0 {
		t.Error("memory counts as denied that was not")
	}
	if got, err := r.call("grow", 1000); err != nil || int32(got[0]) != -1 || r.get(meter.Denied) != 1 {
		t.Errorf("growing past the limit = %v, %v, denied %d", got, err, r.get(meter.Denied))
	}

	r.set(meter.Fuel, 1_000_000)
	if _, err := r.call("spin"); err == nil || !strings.Contains(err.Error(), "unreachable") || r.get(meter.Fuel) >= 0 {
		t.Errorf("a loop without end: %v, %d fuel left", err, r.get(meter.Fuel))
	}
	r.set(meter.Fuel, plenty)
	if got, err := r.call("down", 1000); err != nil || got[0] != 1000 {
		t.Errorf("down(1000) = %v, %v", got, err)
	}
	if _, err := r.call("down", 100_000_000); err == nil || r.get(meter.Stack) >= 0 || r.get(meter.Fuel) < 0 {
		t.Errorf("a recursion without end: %v, %d of the stack left", err, r.get(meter.Stack))
	}
}
