package zig_test

import (
	"os/exec"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	guest := testenv.ZigGuest(t, "sdk/zig/conformance/conformance.zig")
	conformance.RunAll(t, guest)
}

func TestDriver(t *testing.T) {
	t.Parallel()
	conformance.RunDriver(t, testenv.ZigGuest(t, "sdk/zig/conformance/driver.zig"))
}

// TestNative runs the tests that the examples have for edge.testing.
func TestNative(t *testing.T) {
	t.Parallel()
	for _, example := range []string{"hello", "api_key", "numbers"} {
		cmd := exec.Command(testenv.Zig(t), "test", "--dep", "edge", "-Mroot=sdk/zig/examples/"+example+".zig", "-Medge=sdk/zig/edge.zig")
		cmd.Dir = testenv.Root(t)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("zig test %s: %v\n%s", example, err, msg)
		}
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	conformance.RunExamples(t, conformance.Examples{
		Language: "Zig",
		Hello:    testenv.ZigGuest(t, "sdk/zig/examples/hello.zig"),
		APIKey:   testenv.ZigGuest(t, "sdk/zig/examples/api_key.zig"),
		Rewrite:  testenv.ZigGuest(t, "sdk/zig/examples/rewrite.zig"),
		Counter:  testenv.ZigGuest(t, "sdk/zig/examples/counter.zig"),
		Numbers:  testenv.ZigGuest(t, "sdk/zig/examples/numbers.zig"),
		Backend:  testenv.ZigGuest(t, "sdk/zig/conformance/conformance.zig"),
	})
}
