package rust

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
	"github.com/edge-server/edge/wasmhost"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	build := func(name string) string {
		path := testenv.RustGuest(t, "sdk/rust/examples/"+name+".rs")
		if info, err := os.Stat(path); err != nil || info.Size() > 100<<10 {
			t.Errorf("%s: %v bytes (%v), want at most 100 KiB", name, info.Size(), err)
		}
		return path
	}
	conformance.RunExamples(t, conformance.Examples{
		Language: "Rust", Hello: build("hello"), APIKey: build("api_key"),
		Rewrite: build("rewrite"), Counter: build("counter"), Numbers: build("numbers"),
		Backend: testenv.RustGuest(t, "sdk/rust/conformance/guest.rs"),
	})
}

// TestCrate runs the tests of the crate: those in its examples, and the examples in its documentation.
func TestCrate(t *testing.T) {
	t.Parallel()
	rustc := testenv.Rustc(t)
	cargo := filepath.Join(filepath.Dir(rustc), "cargo") // of the same installation, if it lies beside
	if _, err := os.Stat(cargo); err != nil {
		cargo = testenv.Tool(t, "cargo", "apt-get install cargo")
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(cargo, append([]string{"test", "--offline", "--quiet", "--target-dir", testenv.Dir(t)}, args...)...)
		cmd.Env = append(os.Environ(), "RUSTC="+rustc, "RUSTDOC="+filepath.Join(filepath.Dir(rustc), "rustdoc"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("cargo test %v: %v\n%s", args, err, out)
		}
	}
	run("--examples")
	run("--doc")
}

// TestWithoutStd: the crate builds without std, and without an allocator.
func TestWithoutStd(t *testing.T) {
	t.Parallel()
	rustc := testenv.Rustc(t)
	for _, features := range [][]string{nil, {"--cfg", `feature="alloc"`}} {
		args := append([]string{"--edition", "2021", "--target", "wasm32-unknown-unknown", "--crate-type", "rlib", "--crate-name", "edge_guest",
			"-D", "warnings", "-C", "panic=abort", "-o", filepath.Join(testenv.Dir(t), "libedge_guest.rlib"), "src/lib.rs"}, features...)
		if out, err := exec.Command(rustc, args...).CombinedOutput(); err != nil {
			t.Errorf("rustc %v: %v\n%s", features, err, out)
		}
	}
}

// TestImportsOnlyWhatItUses: what a plugin imports it must be granted.
func TestImportsOnlyWhatItUses(t *testing.T) {
	t.Parallel()
	m := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	m.File = testenv.RustGuest(t, "sdk/rust/testdata/http_only.rs")
	m.Allow.Net = []string{"https://example.com"}
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": m}}, wasmhost.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
