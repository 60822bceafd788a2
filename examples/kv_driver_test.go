package examples

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestKVDriver: the driver of the example, built and used as its README says.
func TestKVDriver(t *testing.T) {
	t.Parallel()
	module := testenv.RustGuest(t, "examples/kv-driver-rust/src/lib.rs", "--crate-name", "notes")
	s := edgetest.StartDir(t, "kv-driver-rust", "EDGE_PLUGINS__MODULES__notes__FILE="+filepath.ToSlash(module))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		var before, after int
		for i, n := range []*int{&before, &after} {
			_, body := m.Get(t, "/visits")
			if _, err := fmt.Sscanf(body, "visit %d", n); err != nil {
				t.Fatalf("visit %d: %q, %v", i, body, err)
			}
		}
		if after <= before {
			t.Errorf("visits %d and %d", before, after)
		}
	})
}
