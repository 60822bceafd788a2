// Package examples proves that every example does what its README says.
package examples

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// The rate limiters of certmagic have no end.
func TestMain(m *testing.M) {
	testenv.Main(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

func TestHelloPHP(t *testing.T) {
	t.Parallel()
	testenv.PHP(t)
	s := edgetest.StartDir(t, "hello-php")
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if _, body := m.Get(t, "/?name=Edge"); body != "Hello, Edge\n" {
			t.Errorf("answer %q", body)
		}
	})
}

func TestNoPHP(t *testing.T) {
	t.Parallel()
	s := edgetest.StartDir(t, "no-php")
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if _, body := m.Get(t, "/health"); body != "ok\n" {
			t.Errorf("/health = %q", body)
		}
		if res, _ := m.Get(t, "/home"); res.StatusCode != 308 || res.Header.Get("Location") != "/" {
			t.Errorf("/home = %s to %q", res.Status, res.Header.Get("Location"))
		}
		if _, body := m.Get(t, "/"); !strings.Contains(body, "Edge without PHP") {
			t.Errorf("/ = %q", body)
		}
	})
}

// TestDemo serves the edge.yaml of the repository, as `make run` does, with both plugins in the chain.
func TestDemo(t *testing.T) {
	t.Parallel()
	testenv.PHP(t)
	s := edgetest.StartDir(t, "..",
		"EDGE_HTTP__MIDDLEWARE=[stamp, hardening]",
		"EDGE_PLUGINS__MODULES__STAMP__FILE="+testenv.GoGuest(t, "./plugins-wasm/stamp"),
		"EDGE_PLUGINS__MODULES__HARDENING__FILE="+testenv.CGuest(t, "plugins-wasm/hardening/hardening.c"),
		"EDGE_PLUGINS__AUTO=false",
	)
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		res, page := m.Get(t, "/")
		for _, want := range []string{"pid ", "its request no. ", "<b>stamp</b> written in Go", "<b>hardening</b> written in C", " visits", m.Proto} {
			if !strings.Contains(page, want) {
				t.Errorf("the page (%s) lacks %q:\n%s", res.Status, want, page)
			}
		}
	})
}
