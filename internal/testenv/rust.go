package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rustTarget is what guests are built for.
const rustTarget = "wasm32-unknown-unknown"

// RustGuest compiles a Rust source file (relative to the checkout) that uses the crate of sdk/rust, and returns the path of
// the module. flags are further ones of rustc.
func RustGuest(t testing.TB, source string, flags ...string) string {
	t.Helper()
	rustc := Rustc(t)
	dir := Dir(t)
	compile := func(args ...string) {
		t.Helper()
		args = append([]string{"--edition", "2021", "--target", rustTarget, "-C", "opt-level=3", "-C", "panic=abort"}, args...)
		cmd := exec.Command(rustc, args...)
		cmd.Dir = Root(t)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("compile guest %s: %v\n%s", source, err, msg)
		}
	}
	crate := filepath.Join(dir, "libedge_guest.rlib")
	compile("--crate-type", "rlib", "--crate-name", "edge_guest", "--cfg", `feature="std"`, "--cfg", `feature="alloc"`, "-o", crate, "sdk/rust/src/lib.rs")

	out := filepath.Join(dir, strings.TrimSuffix(filepath.Base(source), ".rs")+".wasm")
	// A stack of 64 KiB instead of 1 MiB: an instance has as much memory as its module asks for.
	compile(append([]string{"--crate-type", "cdylib", "-C", "lto", "-C", "strip=symbols", "-C", "link-arg=-zstack-size=65536",
		"--extern", "edge_guest=" + crate, "-o", out, source}, flags...)...)
	return out
}

// Rustc returns a Rust compiler that can build for wasm32-unknown-unknown. Debian's comes with that target as a package; one
// that rustup has put in front of it in PATH may lack it.
func Rustc(t testing.TB) string {
	t.Helper()
	for _, candidate := range []string{os.Getenv("EDGE_TEST_RUSTC"), "/usr/bin/rustc", "rustc"} {
		libdir, err := exec.Command(candidate, "--print", "target-libdir", "--target", rustTarget).Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(strings.TrimSpace(string(libdir))); err == nil {
			return candidate
		}
	}
	Missing(t, "rustc", "apt-get install rustc libstd-rust-dev-wasm32, or set EDGE_TEST_RUSTC")
	return ""
}
