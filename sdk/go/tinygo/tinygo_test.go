// Package tinygo proves that plugins of the Go SDK which TinyGo compiles do the same as those of Go's own compiler.
package tinygo

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

// TestGuests runs what the folders beside this one run with Go. The conformance guest is built once, since that takes longest.
func TestGuests(t *testing.T) {
	guest := testenv.TinyGoGuest(t, "./sdk/go/conformance")
	t.Run("conformance", func(t *testing.T) {
		t.Parallel()
		conformance.RunAll(t, guest)
	})
	t.Run("driver", func(t *testing.T) {
		t.Parallel()
		conformance.RunDriver(t, testenv.TinyGoGuest(t, "./sdk/go/conformance/driver"))
	})
	t.Run("examples", func(t *testing.T) { testExamples(t, guest) })
}

func testExamples(t *testing.T, backend string) {
	t.Parallel()
	build := func(name string) string { return testenv.TinyGoGuest(t, "./sdk/go/examples/"+name) }
	conformance.RunExamples(t, conformance.Examples{
		Language: "Go", Hello: build("hello"), APIKey: build("api-key"),
		Rewrite: build("rewrite"), Counter: build("counter"), Numbers: build("numbers"),
		Backend: backend,
	})
}
