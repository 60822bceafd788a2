package meter_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/edge-server/edge/wasmhost/meter"
)

// TestStackStaysSmall: what endless recursion makes the engine allocate stays in proportion to edge.stack, whatever the
// frames look like. Without the counter the engine goes on to 100 MB and more.
func TestStackStaysSmall(t *testing.T) { // not parallel: it counts what is allocated
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(i+1)))
		}
		return b.String()
	}
	for name, function := range map[string]string{
		"narrow": `(func $f (export "run") (call $f) (call $f))`,
		"numbers": `(func $f (export "run") (result i64) (local i64 ` + repeat(300, "i64 ") + `)` +
			repeat(300, "(local.set # (i64.add (local.get 0) (i64.const #)))") + `(local.set 0 (call $f))` + `(local.get 0)` + repeat(299, "(i64.xor (local.get #))") + `)`,
		"operands": `(func $f (export "run") (result i64) ` + repeat(300, "(i64.load (i32.const #)) ") + `(call $f) ` + repeat(300, "i64.add ") + `)`,
		"vectors":  `(func $f (export "run") (result v128) ` + repeat(300, "(v128.load (i32.const #)) ") + `(call $f) ` + repeat(300, "i64x2.add ") + `)`,
		"arguments": `(func (export "run") (drop (call $f` + repeat(200, " (i64.const #)") + `)))
			(func $f (param ` + repeat(200, "i64 ") + `) (result i64) (i64.add (call $f` + repeat(200, " (local.get #)")[:len(repeat(199, " (local.get #)"))] + ` (i64.const 1)) (local.get 3)))`,
		"results": `(func (export "run") (call $f) ` + repeat(200, "drop ") + `)
			(func $f (result ` + repeat(200, "i64 ") + `) (call $f) (call $f) ` + repeat(200, "drop ") + `)`,
		"addresses": `(func $f (export "run") (param i32) (result i64) ` + repeat(200, "(i64.load offset=# (i32.and (i32.mul (local.get 0) (i32.const #)) (i32.const 0x7fff))) drop ") +
			`(call $f (i32.add (local.get 0) (i32.const 1)))` + repeat(200, "(i64.load offset=8 (i32.and (i32.mul (local.get 0) (i32.const #)) (i32.const 0x7fff))) i64.add ") + `)`,
	} {
		t.Run(name, func(t *testing.T) {
			out, _ := rewrite(t, assemble(t, "(module (memory (export \"memory\") 1) "+function+")"))
			r := instantiate(t, out)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var args []uint64
			if name == "addresses" {
				args = []uint64{0}
			}
			_, err := r.call("run", args...)
			runtime.ReadMemStats(&after)
			took := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d KiB for the stack", took>>10)
			if err == nil || r.get(meter.Stack) >= 0 {
				t.Errorf("the recursion ended with %v, %d of the stack left", err, r.get(meter.Stack))
			}
			if took > 12<<20 {
				t.Errorf("the stack took %d KiB, and edge.stack was 1 MiB", took>>10)
			}
		})
	}
}
