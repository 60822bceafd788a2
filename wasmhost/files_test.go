package wasmhost_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// opener opens the file named f (or the folder itself) until it may not, and answers 1XX with the errno and 2XX with how many it
// had. Of /close it closes the last again before.
const openerImports = `
	(import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
	(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
	(import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))`

func opener(name, oflags, before string) wat {
	return wat{imports: openerImports, request: before + fmt.Sprintf(`
		(local.set $n (i32.const 0))
		(loop $again
			(if (i32.eqz (call $open (i32.const 3) (i32.const 1) (str "%s") (i32.const %s) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
				(then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $again (i32.lt_u (local.get $n) (i32.const 300))))))
		(call $set_status_code (i32.add (i32.const 200) (local.get $n)))`, name, oflags) + done}
}

// descriptorsOf counts what the process has open in a folder.
func descriptorsOf(t *testing.T, folder string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, folder+"/") {
			n++
		}
	}
	return n
}

// TestOpenFilesAreBounded: an instance has a number of files, whatever it does with them; what it keeps open is closed with it.
func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "/proc", "run on Linux")
	}
	const closeOne, renumberOne = "(drop (call $close (i32.load (i32.const 16))))", "(drop (call $renumber (i32.load (i32.const 16)) (i32.const 5)))"
	const farAway = "(if (i32.ne (call $renumber (i32.load (i32.const 16)) (i32.const 100000000)) (i32.const 8)) (then unreachable))"
	for name, tt := range map[string]struct {
		guest     wat
		isolation string
		want      []int
	}{
		"file":       {opener("f", "0", ""), wasmhost.IsolateInstance, []int{264, 200, 200}},
		"folder":     {opener("sub", "2", ""), wasmhost.IsolateInstance, []int{264, 200}},
		"closed":     {opener("f", "0", closeOne), wasmhost.IsolateInstance, []int{264, 201, 201}},
		"renumbered": {opener("f", "0", renumberOne), wasmhost.IsolateInstance, []int{264, 201, 201}},
		"far away":   {opener("f", "0", farAway), wasmhost.IsolateInstance, []int{264, 200}},
		"isolated":   {opener("f", "0", ""), wasmhost.IsolateRequest, []int{264, 264, 264}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := testenv.Dir(t)
			write(t, filepath.Join(folder, "f"), []byte("x"))
			if err := os.Mkdir(filepath.Join(folder, "sub"), 0o700); err != nil {
				t.Fatal(err)
			}
			cfg := moduleConfig()
			cfg.Allow.Folders, cfg.Isolation, cfg.Instances.Max = []string{folder}, tt.isolation, 1
			p := plugin(t, tt.guest.compile(t), cfg, wasmhost.Options{})
			s := serve(t, p.Middleware(echo))
			for _, want := range tt.want {
				if got := do(t, s, "GET", "/", nil); got.StatusCode != want {
					t.Errorf("status = %d, want %d: %s", got.StatusCode, want, p.Stats().LastError)
				}
			}
			if n := descriptorsOf(t, folder); n > 64 {
				t.Errorf("%d descriptors are open", n)
			}
		})
	}
}
