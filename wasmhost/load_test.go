package wasmhost_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

const goodExports = `
	(memory (export "memory") 1)
	(func (export "handle_request") (result i64) (i64.const 1))
	(func (export "handle_response") (param i32 i32))`

// TestRefused: one row per reason to refuse a module, with what the error must say.
func TestRefused(t *testing.T) {
	t.Parallel()
	tiny := moduleConfig()
	tiny.Limits.Memory = 64 * bytesize.KiB

	for name, tt := range map[string]struct {
		wat    string
		bytes  string
		config wasmhost.ModuleConfig
		want   []string
	}{
		"empty":      {bytes: " ", want: []string{"not a wasm module"}},
		"text":       {bytes: "(module)", want: []string{"not a wasm module", `"\0asm"`}},
		"compressed": {bytes: "\x1f\x8b\x08\x00\x00", want: []string{"not a wasm module", "gunzip"}},
		"git lfs":    {bytes: "version https://git-lfs.github.com/spec/v1\n", want: []string{"git lfs pull"}},
		"program":    {wat: `(module (memory (export "memory") 1) (func (export "_start")))`, want: []string{"this is a program", "c-shared", "reactor"}},
		"exceptions": {bytes: "\x00asm\x01\x00\x00\x00\x0d\x01\x00", want: []string{"exceptions; build without"}},
		"component":  {bytes: "\x00asm\x0d\x00\x01\x00", want: []string{"component", "rebuild for wasm32-wasip1", "c-shared"}},
		"version":    {bytes: "\x00asm\x02\x00\x00\x00", want: []string{"wasm version 02000000"}},
		"cut off":    {bytes: "\x00asm\x01\x00\x00\x00\x01\xff", want: []string{"the type section is cut off"}},
		"no exports": {wat: `(module)`, want: []string{`export "memory" is missing`, `export "handle_request" is missing`, `export "handle_response" is missing`}},
		"misspelt export": {
			wat: `(module (memory (export "memory") 1) (func (export "handle_requests") (result i64) (i64.const 1))
				(func (export "handle_response") (param i32 i32)))`,
			want: []string{`export "handle_request" is missing`, `did you mean "handle_requests"?`},
		},
		"mistyped export": {
			wat: `(module (memory (export "memory") 1) (func (export "handle_request") (result i32) (i32.const 1))
				(func (export "handle_response") (param i32)))`,
			want: []string{`export "handle_request" has the type () -> (i32) and must have () -> (i64)`,
				`export "handle_response" has the type (i32) -> () and must have (i32, i32) -> ()`},
		},
		"unknown imports": {
			wat:  `(module (import "http_handler" "get_header" (func)) (import "http_handler" "get_urI" (func)) ` + goodExports + `)`,
			want: []string{`import "http_handler"."get_header" does not exist`, `import "http_handler"."get_urI" does not exist; did you mean "get_uri"?`},
		},
		"mistyped import": {
			wat:  `(module (import "http_handler" "get_uri" (func (param i32) (result i32))) ` + goodExports + `)`,
			want: []string{`import "http_handler"."get_uri" has the type (i32) -> (i32) and must have (i32, i32) -> (i32)`},
		},
		"unknown module": {
			wat:  `(module (import "http_handlers" "get_uri" (func)) ` + goodExports + `)`,
			want: []string{`import "http_handlers"."get_uri" comes from a module that Edge does not provide`, `did you mean "http_handler"?`},
		},
		"unlinked C": {
			wat:  `(module (import "env" "memcpy" (func (param i32 i32 i32) (result i32))) ` + goodExports + `)`,
			want: []string{`"env"."memcpy"`, "not linked in"},
		},
		"unknown WASI function": {
			wat:  `(module (import "wasi_snapshot_preview1" "fd_wriet" (func)) ` + goodExports + `)`,
			want: []string{`did you mean "fd_write"?`},
		},
		"imported memory": {
			wat: `(module (import "env" "memory" (memory 1)) (export "memory" (memory 0))
				(func (export "handle_request") (result i64) (i64.const 1)) (func (export "handle_response") (param i32 i32)))`,
			want: []string{`import of memory "env"."memory"`},
		},
		"trap at start": {
			wat:  `(module ` + goodExports + ` (func (export "_initialize") unreachable))`,
			want: []string{"_initialize", "unreachable"},
		},
		"exit at start": {
			wat:  `(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) ` + goodExports + ` (func (export "_start") (call $exit (i32.const 3))))`,
			want: []string{"_start", "exit_code(3)"},
		},
		"host function at start": {
			wat:  `(module (import "http_handler" "get_method" (func $m (param i32 i32) (result i32))) ` + goodExports + ` (func (export "_initialize") (drop (call $m (i32.const 0) (i32.const 0)))))`,
			want: []string{"there is no request while the module starts"},
		},
		"more memory than allowed": {
			wat: `(module (memory (export "memory") 2) (func (export "handle_request") (result i64) (i64.const 1)) (func (export "handle_response") (param i32 i32)))`, config: tiny,
			want: []string{"limits.memory is 64KiB"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.config.Instances.Max == 0 {
				tt.config = moduleConfig()
			}
			module := []byte(tt.bytes)
			if tt.wat != "" {
				module = compileWAT(t, tt.wat)
			}
			file := filepath.Join(testenv.Dir(t), "bad.wasm")
			write(t, file, module)
			tt.config.File = file
			_, err := wasmhost.New(context.Background(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"bad": tt.config}}, wasmhost.Options{Logger: discard})
			if err == nil {
				t.Fatal("the module was accepted")
			}
			for _, want := range append(tt.want, `"bad"`, file) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestMemoryLimitHolds: growing past it is answered with -1, as the wasm specification wants it.
func TestMemoryLimitHolds(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Limits.Memory = 4 * 64 * bytesize.KiB
	g := wat{request: `
		(if (i32.ne (memory.grow (i32.const 2)) (i32.const 2)) (then unreachable))
		(if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))` + done}
	p := plugin(t, g.compile(t), cfg, wasmhost.Options{})
	if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 200 {
		t.Errorf("status = %d: %s", got.StatusCode, p.Stats().LastError)
	}
}

// TestCompileCache: the folder is closed to others, a second start finds the code, and other versions' folders go.
func TestCompileCache(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testenv.Dir(t), "cache")
	old := filepath.Join(dir, "edge-v0.0.1-wazero-v1.0.0-linux-amd64")
	foreign := filepath.Join(dir, "something-else")
	for _, d := range []string{old, foreign} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(dir, 0o755)
	module := wat{}.compile(t)
	files := func() (n int) {
		filepath.WalkDir(dir, func(_ string, d os.DirEntry, _ error) error {
			if d != nil && d.Type().IsRegular() {
				n++
			}
			return nil
		})
		return n
	}
	plugin(t, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
	if n := files(); n != 2 {
		t.Errorf("the cache has %d files after one plugin, want the code and its checksum", n)
	}
	plugin(t, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
	if n := files(); n != 2 {
		t.Errorf("the cache has %d files after the same plugin again, want the code and its checksum", n)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache folder has mode %v, want 0700", info.Mode())
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the folder of another version is still there: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a folder that is not the cache's was removed: %v", err)
	}
}

// TestDamagedCacheIsPassedBy: a file that is not what it was, or a folder that went away, costs time and nothing else.
func TestDamagedCacheIsPassedBy(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testenv.Dir(t), "cache")
	module := wat{}.compile(t)
	plugin(t, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
	filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d.Type().IsRegular() {
			b, _ := os.ReadFile(path)
			os.WriteFile(path, b[:len(b)/2], 0o600)
		}
		return nil
	})
	p := plugin(t, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
	if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 200 {
		t.Errorf("status = %d", got.StatusCode)
	}

	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, module)
	cfg := moduleConfig()
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{CacheDir: dir})
	os.RemoveAll(dir)
	write(t, file, wat{request: done}.compile(t))
	if err := h.Reload(context.Background()); err != nil {
		t.Errorf("reload without the cache's folder: %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	bad := wasmhost.ModuleConfig{
		Config:    func() {},
		Limits:    wasmhost.Limits{Memory: 1, Body: -1, Wait: -1},
		Instances: wasmhost.Instances{Min: 0, Max: -1},
	}
	cfg := wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"a/b": bad, "fine": moduleConfig()}}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"modules.a/b: a plugin's name", "modules.a/b.file: must be set", "modules.fine.file: must be set",
		"modules.a/b.limits.memory: must be between 64KiB and 4GiB", "modules.a/b.limits.body: must", "modules.a/b.limits.wait: must",
		"modules.a/b.instances.min: must be at least 1, got 0", "modules.a/b.instances.max: must be at least instances.min", "modules.a/b.config: cannot",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if err := wasmhost.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}
