package core_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/http-wasm/http-wasm-host-go/tck"

	"github.com/edge-server/edge/core/edgetest"
)

// TestTCK runs http-wasm's conformance kit against a whole server: its guest in front, a PHP worker as the handler behind it.
func TestTCK(t *testing.T) {
	s := edgetest.Start(t, `
http: {routes: [{use: [tck], php: app}]}
plugins: {}
`+phpApp(t, "tck-backend.php", ""), func(dir string) {
		os.Mkdir(filepath.Join(dir, "plugins-wasm"), 0o755)
		os.WriteFile(filepath.Join(dir, "plugins-wasm", "tck.wasm"), tck.GuestWASM, 0o644)
	})
	for _, m := range s.Modes(t) {
		// The kit marks the test it is given as parallel and runs on when this function has returned; the server is stopped by
		// the cleanup, after it.
		t.Run(m.Name, func(t *testing.T) { tck.Run(t, m.Client, m.URL) })
	}
}
