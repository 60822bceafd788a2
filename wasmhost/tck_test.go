package wasmhost_test

import (
	"net/http/httptest"
	"testing"

	"github.com/http-wasm/http-wasm-host-go/tck"

	"github.com/edge-server/edge/wasmhost"
)

// TestTCK is the conformance suite of http-wasm, with the suite's own guest and backend.
func TestTCK(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			p := plugin(t, tck.GuestWASM, moduleConfig(), wasmhost.Options{})
			s := httptest.NewUnstartedServer(p.Middleware(tck.BackendHandler()))
			if proto == "HTTP/2.0" {
				s.EnableHTTP2 = true
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			t.Run("suite", func(t *testing.T) { tck.Run(t, s.Client(), s.URL) })
			if traps := p.Stats().Traps; traps != 0 {
				t.Errorf("the suite's guest trapped %d times: %s", traps, p.Stats().LastError)
			}
		})
	}
}
