package core

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/wasmhost"
)

func TestRedirectKeepsTheHostWhole(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"Example.com:8080": "https://example.com/a?b=c",
		"127.0.0.1:80":     "https://127.0.0.1/a?b=c",
		"[::1]:8080":       "https://[::1]/a?b=c",
		"[::1]":            "https://[::1]/a?b=c",
	} {
		r := httptest.NewRequest(http.MethodGet, "/a?b=c", nil)
		r.Host = host
		w := httptest.NewRecorder()
		newRedirector(&Redirect{To: "https://{host}{uri}", Status: 308}).ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("Host %s: Location %q, want %q", host, got, want)
		}
	}
}

// TestKeptDecisionsEndWithWhatTheyChooseBetween: with routes, and with the names of pools.
func TestKeptDecisionsEndWithWhatTheyChooseBetween(t *testing.T) {
	t.Parallel()
	module := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	module.File = testenv.CGuest(t, "wasmhost/testdata/edge.c", "-DROUTE")
	h, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"router": module}}, wasmhost.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Stop(context.Background()) })
	router, _ := h.Plugin("router")
	table := &routeTable{routers: []*wasmhost.Plugin{router}}
	kept := func() bool {
		d, err := router.Decide(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/counted", nil))
		return err == nil && d.Kept()
	}
	with := func(route string, pools ...string) *world {
		cfg := &Config{HTTP: &HTTPConfig{Routes: []Route{{Name: route}}}, PHP: map[string]php.Config{}}
		for _, name := range pools {
			cfg.PHP[name] = php.Config{}
		}
		return &world{cfg: cfg}
	}
	kept()
	for _, tt := range []struct {
		next *world
		kept bool
	}{{with("a", "one"), true}, {with("b", "one"), false}, {with("a"), false}, {with("a", "one", "two"), false}, {with("a", "other"), false}} {
		if !kept() {
			t.Fatal("nothing is kept")
		}
		if forgetDecisions(with("a", "one"), tt.next, table); kept() != tt.kept {
			t.Errorf("routes and pools %v: kept is not %v", tt.next.cfg.PHP, tt.kept)
		}
	}
}
