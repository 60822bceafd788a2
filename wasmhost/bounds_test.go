package wasmhost_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestErrorsAreBounded: a module may give its functions names of any length, which the engine puts into the text of a trap, and a
// script may throw one.
func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 200_000)
	module := compileWAT(t, `(module (memory (export "memory") 1) (func $`+long+` unreachable)
		(func (export "handle_request") (result i64) (call $`+long+`) (i64.const 1)) (func (export "handle_response") (param i32 i32)))`, "--debug-names")
	for name, load := range map[string]func(opts wasmhost.Options) *wasmhost.Plugin{
		"module": func(opts wasmhost.Options) *wasmhost.Plugin { return plugin(t, module, moduleConfig(), opts) },
		"script": func(opts wasmhost.Options) *wasmhost.Plugin {
			return scriptPlugin(t, `export default { request() { throw new Error("n".repeat(200000)) } }`, moduleConfig(), opts)
		},
	} {
		var log testenv.Log
		p := load(wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
		do(t, serve(t, p.Middleware(nothing)), "GET", "/", nil)
		st := p.Stats()
		if st.Traps != 1 || !strings.Contains(log.String(), "nnn") {
			t.Errorf("%s: %d traps, last error %.200q, want one with the name in the log", name, st.Traps, st.LastError)
		}
		if len(log.String()) > 50_000 || len(st.LastError) > 10_000 {
			t.Errorf("%s: the log has %d bytes, and the last error %d", name, len(log.String()), len(st.LastError))
		}
	}
}

// TestClockOfCoreIsSeen: a start function that reads the clock may have seeded a generator with it, whoever told the time.
func TestClockOfCoreIsSeen(t *testing.T) {
	t.Parallel()
	module := compileWAT(t, `(module (import "edge_core_v1" "now_ms" (func $now (result i64))) (memory (export "memory") 1)
		(func (export "_initialize") (i64.store (i32.const 8) (call $now)))
		(func (export "handle_request") (result i64) (i64.const 1)) (func (export "handle_response") (param i32 i32)))`)
	if why := plugin(t, module, moduleConfig(), wasmhost.Options{}).Stats().NotCloned; !strings.Contains(why, "clock") {
		t.Errorf("not cloned because %q, want it to name the clock", why)
	}
}
