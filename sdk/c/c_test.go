// Package c tests the C SDK: its header natively, and guests built with it.
package c

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	guest := testenv.CGuest(t, "sdk/c/conformance/guest.c", "-Wall", "-Wextra", "-Werror")
	conformance.RunAll(t, guest)
}

func TestDriver(t *testing.T) {
	t.Parallel()
	conformance.RunDriver(t, testenv.CGuest(t, "sdk/c/conformance/driver.c", "-Wall", "-Wextra", "-Werror"))
}

func TestExamples(t *testing.T) {
	t.Parallel()
	build := func(name string) string {
		return testenv.CGuest(t, "sdk/c/examples/"+name+".c", "-Wall", "-Wextra", "-Werror")
	}
	conformance.RunExamples(t, conformance.Examples{
		Language: "C", Hello: build("hello"), APIKey: build("api_key"),
		Rewrite: build("rewrite"), Counter: build("counter"), Numbers: build("numbers"),
		Backend: testenv.CGuest(t, "sdk/c/conformance/guest.c"),
	})
}

// TestNatively runs the examples natively, as their authors would test them.
func TestNatively(t *testing.T) {
	t.Parallel()
	gcc := testenv.Tool(t, "gcc", "apt-get install gcc libc6-dev")
	tests, err := filepath.Glob("tests/*_test.c")
	if err != nil || len(tests) < 4 {
		t.Fatalf("found %v (%v)", tests, err)
	}
	for _, source := range tests {
		program := filepath.Join(testenv.Dir(t), "test")
		if out, err := exec.Command(gcc, "-Wall", "-Wextra", "-Werror", "-o", program, source).CombinedOutput(); err != nil {
			t.Errorf("compile %s: %v\n%s", source, err, out)
			continue
		}
		if out, err := exec.Command(program).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", source, err, out)
		}
	}
}
