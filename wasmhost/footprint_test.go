package wasmhost_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestTablesCountTowardsMemory: what tables and segments begin with is part of limits.memory, and the error says all there is to
// know.
func TestTablesCountTowardsMemory(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wat  string
		want []string
	}{
		"many": {strings.Repeat("(table 1000000 funcref)", 40), []string{"limits.memory is 64MiB", "64KiB of linear memory", "312500KiB for 40000000 entries in 40 tables", "plugins.modules.bad.limits.memory"}},
		"grown": {`(table 1000000 funcref) (table 1000000 funcref) (table 1000000 funcref) (table 1000000 externref) (table 500000 funcref)
			(func (drop (table.grow 0 (ref.null func) (i32.const 1))))`, []string{"4500000 entries in 5 tables"}}, // half as many would do
		"segments": {"(func $f) (table 0 funcref)" + strings.Repeat("(table 1000000 funcref)", 8) + "(elem func" + strings.Repeat(" $f", 400_000) + ")", []string{"8400000 entries in 9 tables"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := moduleConfig()
			cfg.File = filepath.Join(testenv.Dir(t), "bad.wasm")
			write(t, cfg.File, compileWAT(t, "(module"+goodExports+tt.wat+")"))
			config := wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"bad": cfg}}
			_, err := wasmhost.New(context.Background(), config, wasmhost.Options{Logger: discard})
			if err == nil {
				t.Fatal("the module was accepted")
			}
			surveyed := wasmhost.Survey("bad", config, wasmhost.Options{Logger: discard}).Err
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) || surveyed == nil || !strings.Contains(surveyed.Error(), want) {
					t.Errorf("the error lacks %q:\n%v\n%v", want, err, surveyed)
				}
			}
		})
	}
}

// TestTablesAndMemoryGrowTogether: what one has taken, the other cannot have.
func TestTablesAndMemoryGrowTogether(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Limits.Memory = bytesize.MiB // 128 KiB are in use, and 16 for the table
	g := wat{more: "(table $t 1000 funcref) (table $u 0 externref)", request: `
		(if (i32.ne (table.grow $t (ref.null func) (i32.const 61000)) (i32.const -1)) (then unreachable))
		(if (i32.ne (table.grow $t (ref.null func) (i32.const 40000)) (i32.const 1000)) (then unreachable))
		(if (i32.ne (table.grow $u (ref.null extern) (i32.const 21000)) (i32.const -1)) (then unreachable))
		(if (i32.ne (memory.grow (i32.const 5)) (i32.const -1)) (then unreachable))
		(if (i32.ne (memory.grow (i32.const 4)) (i32.const 2)) (then unreachable))
		(if (i32.ne (table.grow $u (ref.null extern) (i32.const 1000)) (i32.const 0)) (then unreachable))
		(if (i32.ne (table.grow $u (ref.null extern) (i32.const 4000)) (i32.const -1)) (then unreachable))
		(if (i32.ne (table.grow $u (ref.null extern) (i32.const -1)) (i32.const -1)) (then unreachable))
		(if (i32.ne (table.size $t) (i32.const 41000)) (then unreachable))` + done}
	p := plugin(t, g.compile(t), cfg, wasmhost.Options{})
	if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 200 {
		t.Errorf("status = %d: %s", got.StatusCode, p.Stats().LastError)
	}
	if st := p.Stats(); st.Memory != 6*64<<10+42000*16 {
		t.Errorf("memory = %d", st.Memory)
	}
}

// TestTablesAreReported: what an instance takes is what edge plugin check says.
func TestTablesAreReported(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.File = filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, cfg.File, compileWAT(t, "(module"+goodExports+"(table 100000 funcref))"))
	r := wasmhost.Inspect("p", wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: discard})
	if r.Err != nil || r.Memory != 64<<10 || r.Tables != 800_000 {
		t.Errorf("%d of memory, %d of tables, %v", r.Memory, r.Tables, r.Err)
	}
}

// TestEmptyCustomSections: one that has nothing but a name is valid, wherever it stands.
func TestEmptyCustomSections(t *testing.T) {
	t.Parallel()
	module := compileWAT(t, "(module"+goodExports+")")
	for _, section := range []string{"\x00\x03\x02x0", "\x00\x01\x00", "\x00\x05\x04name", "\x00\x03\x02x0\x00\x03\x02x0"} {
		p := plugin(t, append(append([]byte{}, module...), section...), moduleConfig(), wasmhost.Options{})
		if p.Stats().Generation != 1 {
			t.Errorf("%q: not loaded", section)
		}
	}
}

// TestFourGiB: a memory of 65536 pages has a size that the engine takes for 0, so that a guest with as much would trap at its next step.
func TestFourGiB(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Limits.Memory = 4 << 30
	p := plugin(t, wat{request: `(call $set_status_code (select (i32.const 200) (i32.const 500) (i32.eq (memory.grow (i32.const 65534)) (i32.const -1))))
		(i32.store (i32.const 16) (i32.const 7))` + done}.compile(t), cfg, wasmhost.Options{})
	if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 200 || p.Stats().Traps != 0 {
		t.Errorf("status %d, %s", got.StatusCode, p.Stats().LastError)
	}
	cfg.File = filepath.Join(testenv.Dir(t), "bad.wasm")
	write(t, cfg.File, compileWAT(t, "(module"+strings.Replace(goodExports, `(memory (export "memory") 1)`, `(memory (export "memory") 65536)`, 1)+")"))
	_, err := wasmhost.New(context.Background(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"bad": cfg}}, wasmhost.Options{Logger: discard})
	if err == nil || !strings.Contains(err.Error(), `"bad"`) || !strings.Contains(err.Error(), "at most 65535 pages of 64KiB") {
		t.Errorf("a module that begins with 4 GiB: %v", err)
	}
}
