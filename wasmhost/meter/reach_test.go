package meter_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost/meter"
)

// TestNothingReachesWhatIsAdded: each of these modules is malformed, and would not be any more with what the pass adds: it would
// set its own fuel, in the global or in the local variable that a loop keeps it in, or leave a function past the code that
// writes it back.
func TestNothingReachesWhatIsAdded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"sets the fuel": {`(module (global (mut i64) (i64.const 0))
			(func (export "f") (global.set 1 (i64.const 0x7fffffffffffff))))`, "function 0: malformed: global 1 of 1"},
		"sets the stack": {`(module (func (export "f") (global.set 1 (i32.const 0x7fffffff))))`, "global 1 of 0"},
		"reads the fuel": {`(module (func (export "f") (drop (global.get 0))))`, "global 0 of 0"},
		"unreachable":    {`(module (func (export "f") (unreachable) (global.set 0)))`, "global 0 of 0"},
		"sets the fuel of a loop": {`(module (func (export "f") (param i32) (local i32)
			(loop (local.set 2 (i64.const 0x7fffffffffffff)) (br 0))))`, "local variable 2 of 2"},
		"tees":  {`(module (func (export "f") (drop (local.tee 0 (i64.const 1)))))`, "local variable 0 of 0"},
		"reads": {`(module (func (export "f") (drop (local.get 0))))`, "local variable 0 of 0"},
		"leaves by a table": {`(module (func (export "f") (param i32)
			(loop (br_if 0 (local.get 0)) (br_table 0 2 (local.get 0)))))`, "branch out of 2 blocks"},
		"leaves by the last of a table": {`(module (func (export "f") (param i32)
			(loop (br_table 0 0 7 (local.get 0)))))`, "branch out of 7 blocks"},
		"exports the fuel": {`(module (export "mine" (global 0)))`, "global 0 of 0"},
		"begins with it":   {`(module (memory 1) (global i32 (i32.const 0)) (data (offset (i32.const 0)) "x") (global i64 (global.get 4)))`, "global 4 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := meter.Rewrite(assembleUnchecked(t, tt.text), meter.Options{Globals: true})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v\nwant %q in it", err, tt.want)
			}
		})
	}
}

// assembleUnchecked makes a module of text that need not be valid.
func assembleUnchecked(t testing.TB, wat string) []byte {
	t.Helper()
	tool := testenv.Tool(t, "wat2wasm", "apt-get install wabt")
	dir := testenv.Dir(t)
	source, out := filepath.Join(dir, "m.wat"), filepath.Join(dir, "m.wasm")
	if err := os.WriteFile(source, []byte(wat), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(tool, "--no-check", source, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm: %v\n%s\n%s", err, msg, wat)
	}
	return read(t, out)
}
