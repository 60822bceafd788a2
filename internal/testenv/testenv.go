// Package testenv finds the real world for tests: PHP, tools and services of this machine.
//
// What is missing skips the test with the name of the thing and how to get it. EDGE_TEST_REQUIRE=all (CI sets it), or a
// comma-separated list such as EDGE_TEST_REQUIRE=php,clang, turns that skip into a failure, so nothing is skipped in silence.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// PHP returns the path of a PHP CLI of at least 8.1: $EDGE_TEST_PHP, else php in PATH.
func PHP(t testing.TB) string {
	t.Helper()
	path := os.Getenv("EDGE_TEST_PHP")
	if path == "" {
		path = "php"
	}
	found, err := exec.LookPath(path)
	if err != nil {
		Missing(t, "php", "apt-get install php-cli, or set EDGE_TEST_PHP")
	}
	out, err := exec.Command(found, "-r", `exit(PHP_VERSION_ID >= 80100 ? 0 : 1);`).CombinedOutput()
	if err != nil {
		Missing(t, "php", found+" is not PHP >= 8.1: "+string(out))
	}
	return found
}

// Tool returns the path of a program in PATH; install says how to get it.
func Tool(t testing.TB, name, install string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		// Tools that `make deps` builds live beside the checkout, not in PATH.
		local := filepath.Join(Root(t), ".tools", name)
		if _, statErr := os.Stat(local); statErr == nil {
			return local
		}
		Missing(t, name, install)
	}
	return found
}

// Missing skips the test, or fails it when EDGE_TEST_REQUIRE names the thing.
func Missing(t testing.TB, what, install string) {
	t.Helper()
	required := strings.Split(os.Getenv("EDGE_TEST_REQUIRE"), ",")
	if slices.Contains(required, "all") || slices.Contains(required, what) {
		t.Fatalf("%s is required by EDGE_TEST_REQUIRE and missing: %s", what, install)
	}
	tell(fmt.Sprintf("skipped %s for want of %s: %s", t.Name(), what, install))
	t.Skipf("for want of %s: %s", what, install)
}

// tell appends a line to the file EDGE_TEST_SKIPPED, which make test shows at its end: go test hides why a test was skipped.
func tell(line string) {
	path := os.Getenv("EDGE_TEST_SKIPPED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// Root returns the top folder of the checkout.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}

// Soak reports whether this is a `make soak` run, in which scenarios take their full counts.
func Soak() bool { return os.Getenv("EDGE_TEST_SOAK") != "" }

// Count returns small in `make test` and full in `make soak`.
func Count(small, full int) int {
	if Soak() {
		return full
	}
	return small
}

// Duration is Count for spans of time.
func Duration(small, full time.Duration) time.Duration {
	if Soak() {
		return full
	}
	return small
}

// Dir returns a short temporary folder: unix socket paths end at 107 bytes, and t.TempDir spells out the test's name.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Eventually polls until done reports true; what says what is awaited. It is for what gives no signal to wait on.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 90s in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// GoGuest builds the plugin in the folder pkg (relative to the checkout, such as ./plugins-wasm/stamp) for wasip1 and
// returns the path of the module.
func GoGuest(t testing.TB, pkg string) string {
	t.Helper()
	out := filepath.Join(Dir(t), filepath.Base(pkg)+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = Root(t)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build guest %s: %v\n%s", pkg, err, msg)
	}
	return out
}

// CGuest compiles a C source file (relative to the checkout) without libc and returns the path of the module. flags are
// further ones of clang.
func CGuest(t testing.TB, source string, flags ...string) string {
	t.Helper()
	clang := Tool(t, "clang", "apt-get install clang lld")
	out := filepath.Join(Dir(t), strings.TrimSuffix(filepath.Base(source), ".c")+".wasm")
	args := append([]string{"--target=wasm32-unknown-unknown", "-O2", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", "-o", out, source}, flags...)
	cmd := exec.Command(clang, args...)
	cmd.Dir = Root(t)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile guest %s: %v\n%s", source, err, msg)
	}
	return out
}
