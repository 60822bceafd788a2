package js_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
	"github.com/edge-server/edge/sdk/js"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.RunAll(t, filepath.Join(testenv.Root(t), "sdk/js/conformance/conformance.js"))
}

func TestDriver(t *testing.T) {
	t.Parallel()
	conformance.RunDriver(t, filepath.Join(testenv.Root(t), "sdk/js/conformance/driver.js"))
}

// TestEngineIsBuiltFromItsSource: the engine in the binary is what its sources make, byte for byte.
func TestEngineIsBuiltFromItsSource(t *testing.T) {
	t.Parallel()
	root := testenv.Root(t)
	testenv.Zig(t)
	if _, err := os.Stat(filepath.Join(root, ".tools/quickjs/quickjs.c")); err != nil {
		testenv.Missing(t, "quickjs", "make deps")
	}
	out := filepath.Join(testenv.Dir(t), "engine.wasm")
	build := exec.Command("make", "out="+out)
	build.Dir = filepath.Join(root, "sdk/js/engine")
	if msg, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the engine: %v\n%s", err, msg)
	}
	built, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, js.Engine()) {
		t.Error("sdk/js/engine.wasm is not what sdk/js/engine makes: run make engine and commit the result")
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testenv.Root(t), "sdk/js/examples")
	conformance.RunExamples(t, conformance.Examples{
		Language: "JavaScript",
		Hello:    filepath.Join(dir, "hello.js"),
		APIKey:   filepath.Join(dir, "api-key.js"),
		Rewrite:  filepath.Join(dir, "rewrite.js"),
		Counter:  filepath.Join(dir, "counter.js"),
		Numbers:  filepath.Join(dir, "numbers.js"),
		Backend:  filepath.Join(testenv.Root(t), "sdk/js/conformance/conformance.js"),
	})
}
