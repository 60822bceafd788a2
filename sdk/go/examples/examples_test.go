// Package examples tests the plugins in the folders below.
package examples

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	build := func(name string) string { return testenv.GoGuest(t, "./sdk/go/examples/"+name) }
	conformance.RunExamples(t, conformance.Examples{
		Language: "Go", Hello: build("hello"), APIKey: build("api-key"),
		Rewrite: build("rewrite"), Counter: build("counter"), Numbers: build("numbers"),
		Backend: testenv.GoGuest(t, "./sdk/go/conformance"),
	})
}
