package plugintest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// Rust is Go for a plugin in Rust: plugins-wasm/NAME/NAME.rs.
func Rust(t testing.TB, name string) string {
	t.Helper()
	return withManifest(t, name, testenv.RustGuest(t, "plugins-wasm/"+name+"/"+name+".rs"))
}

// RustTests runs the tests in the source of a plugin, natively, with the crate's server in memory.
func RustTests(t testing.TB, name string) {
	t.Helper()
	rustc, dir := testenv.Rustc(t), testenv.Dir(t)
	crate, tests := filepath.Join(dir, "libedge_guest.rlib"), filepath.Join(dir, "tests")
	run(t, rustc, "--edition", "2021", "--crate-type", "rlib", "--crate-name", "edge_guest", "--cfg", `feature="std"`, "--cfg", `feature="alloc"`,
		"-o", crate, "sdk/rust/src/lib.rs")
	run(t, rustc, "--edition", "2021", "--test", "-D", "warnings", "--extern", "edge_guest="+crate, "-o", tests, "plugins-wasm/"+name+"/"+name+".rs")
	run(t, tests)
}

// Zig is Go for a plugin in Zig: plugins-wasm/NAME/NAME.zig. Before, it runs the tests in it, natively.
func Zig(t testing.TB, name string) string {
	t.Helper()
	out := filepath.Join(testenv.Dir(t), name+".wasm")
	modules := []string{"--dep", "edge", "--dep", "config", "-Mroot=plugins-wasm/" + name + "/" + name + ".zig",
		"--dep", "edge", "-Mconfig=plugins-wasm/shared/config.zig", "-Medge=sdk/zig/edge.zig"}
	run(t, testenv.Zig(t), append([]string{"test"}, modules...)...)
	build := []string{"build-exe", "-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fno-entry", "-rdynamic", "--stack", "65536", "-femit-bin=" + out}
	run(t, testenv.Zig(t), append(build, modules...)...)
	return withManifest(t, name, out)
}

// AssemblyScript is Go for a plugin in AssemblyScript: plugins-wasm/NAME/NAME.ts.
func AssemblyScript(t testing.TB, name string) string {
	t.Helper()
	return withManifest(t, name, testenv.ASGuest(t, "plugins-wasm/"+name+"/"+name+".ts"))
}

// JS copies a script, plugins-wasm/NAME/NAME.js. Scripts have no manifest; manifest.json beside them is for people and tools.
func JS(t testing.TB, name string) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(testenv.Root(t), "plugins-wasm", name, name+".js"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "plugins-wasm", name, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m wasmhost.Manifest
	if err := json.Unmarshal(text, &m); err != nil || m.Name != name || m.Version == "" || len(m.Kinds) == 0 || len(m.Config) == 0 {
		t.Fatalf("manifest of %s: %+v, %v", name, m, err)
	}
	out := filepath.Join(testenv.Dir(t), name+".js")
	if err := os.WriteFile(out, script, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// run runs a program in the top folder of the checkout.
func run(t testing.TB, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = testenv.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}
