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

// TestFoldersCount: the engine opens a folder when the guest needs it, and keeps it open for as long as there is the instance, unless the
// guest closes it.
func TestFoldersCount(t *testing.T) {
	t.Parallel()
	const stats = `(import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
		(import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
		(import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))`
	const open = `(local.set $n (call $open (i32.const 3) (i32.const 1) (str "f") (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))`
	const errno = `(call $set_status_code (i32.add (i32.const 200) (local.get $n)))` + done
	for name, tt := range map[string]struct {
		request string
		may     int64
		status  int
		open    int64 // afterwards
	}{
		"nothing":           {``, 2, 200, 0},
		"its name":          {`(local.set $n (call $prestat (i32.const 3) (i32.const 16)))`, 0, 200, 0},
		"itself":            {`(local.set $n (call $stat (i32.const 4) (i32.const 16)))`, 2, 200, 1},
		"one too many":      {`(local.set $n (call $stat (i32.const 4) (i32.const 16)))`, 0, 241, 0},
		"a file":            {open, 2, 200, 2},
		"a file, no room":   {open, 1, 241, 1},
		"a file and away":   {open + `(drop (call $close (i32.load (i32.const 16))))`, 2, 200, 1},
		"both":              {`(drop (call $rename (i32.const 3) (str "f") (i32.const 4) (str "g")))`, 2, 200, 2},
		"closed":            {`(drop (call $stat (i32.const 4) (i32.const 16))) (local.set $n (call $close (i32.const 4)))`, 2, 200, 0},
		"a file in a place": {open + `(drop (call $close (i32.const 3)))` + `(drop (call $renumber (i32.load (i32.const 16)) (i32.const 3)))`, 2, 200, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folders := []string{filepath.Join(testenv.Dir(t), "a"), filepath.Join(testenv.Dir(t), "b")}
			for _, folder := range folders {
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(folder, "f"), []byte("x"))
			}
			cfg := moduleConfig()
			cfg.Allow.Folders, cfg.Instances.Max = folders, 1
			file := filepath.Join(testenv.Dir(t), "p.wasm")
			write(t, file, wat{imports: openerImports + stats, request: tt.request + errno}.compile(t))
			cfg.File = file
			h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
			p, _ := h.Plugin("p")
			p.MayOpen(tt.may)
			if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != tt.status || p.OpenDescriptors() != tt.open {
				t.Errorf("status %d and %d open, want %d and %d: %s", got.StatusCode, p.OpenDescriptors(), tt.status, tt.open, p.Stats().LastError)
			}
			stop(t, h)
			if n := p.OpenDescriptors(); n != 0 {
				t.Errorf("%d are open without an instance", n)
			}
		})
	}
}

// TestWhatFilesCost: a path that no file system takes is not even copied, and what is read is paid for.
func TestWhatFilesCost(t *testing.T) {
	t.Parallel()
	const more = `(import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
		(import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
		(import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
		(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))`
	const fill = `(memory.fill (i32.const 100) (i32.const 97) (i32.const 30000))`
	const answer = `(call $set_status_code (i32.add (i32.const 200) (local.get $n)))` + done
	for name, tt := range map[string]struct {
		request string
		status  int
		fuel    uint64 // at least
	}{
		"as long as a path is": {`(local.set $n (call $stat (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4096) (i32.const 16)))`, 237, 0}, // by the system
		"longer":               {`(local.set $n (call $stat (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4097) (i32.const 16)))`, 237, 0},
		"no folder":            {`(local.set $n (call $stat (i32.const 9) (i32.const 0) (i32.const 100) (i32.const 4097) (i32.const 16)))`, 237, 0},
		"open":                 {`(local.set $n (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 30000) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))`, 237, 0},
		"symlink":              {`(local.set $n (call $symlink (i32.const 100) (i32.const 30000) (i32.const 9) (i32.const 100) (i32.const 1)))`, 237, 0},
		"rename":               {`(local.set $n (call $rename (i32.const 9) (i32.const 100) (i32.const 1) (i32.const 9) (i32.const 100) (i32.const 30000)))`, 237, 0},
		"read": {`(local.set $n (call $open (i32.const 3) (i32.const 1) (str "f") (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
			(i32.store (i32.const 20) (i32.const 100)) (i32.store (i32.const 24) (i32.const 30000))
			(local.set $n (call $read (i32.load (i32.const 16)) (i32.const 20) (i32.const 1) (i32.const 28)))
			(if (i32.ne (i32.load (i32.const 28)) (i32.const 30000)) (then unreachable))`, 200, 30000/8 + 30000/8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := testenv.Dir(t)
			write(t, filepath.Join(folder, "f"), make([]byte, 40_000))
			cfg := moduleConfig()
			cfg.Allow.Folders = []string{folder}
			p := plugin(t, wat{imports: openerImports + more, request: fill + tt.request + answer}.compile(t), cfg, wasmhost.Options{})
			got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil)
			if fuel := p.Stats().Fuel.Last; got.StatusCode != tt.status || fuel < tt.fuel {
				t.Errorf("status %d for %d of fuel, want %d for %d at least: %s", got.StatusCode, fuel, tt.status, tt.fuel, p.Stats().LastError)
			}
		})
	}
}
