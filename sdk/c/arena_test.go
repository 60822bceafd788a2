package c

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// arena is EDGE_ARENA of edge.h, as README.md says.
const arena = 60 << 10

// TestArenaAndBodies: edge_read_all takes what leaves room in the arena, with a byte to spare by which it knows that there is no more.
// What is larger ends that request with a line in the log, and the next one is as ever.
func TestArenaAndBodies(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	cfg := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	cfg.File = testenv.CGuest(t, "sdk/c/testdata/body.c", "-Wall", "-Wextra", "-Werror")
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{
		Logger: slog.New(slog.NewJSONHandler(&log, nil)), CacheDir: testenv.Dir(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Stop(context.Background()) })
	p, _ := host.Plugin("p")
	// The decimals of the answer are put into the arena, too.
	const digits = 16
	for _, tt := range []struct {
		size, status int
	}{{0, 200}, {arena / 2, 200}, {arena - digits, 200}, {arena, 500}, {arena + 1, 500}, {10 * arena, 500}, {1, 200}} {
		w := httptest.NewRecorder()
		p.Middleware(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", tt.size))))
		if w.Code != tt.status || tt.status == 200 && w.Body.String() != strconv.Itoa(tt.size) {
			t.Errorf("a body of %d: %d %.40q, want %d\n%s", tt.size, w.Code, w.Body, tt.status, log.String())
		}
	}
	if n := strings.Count(log.String(), "the body is larger than the arena: define EDGE_ARENA larger, or read in pieces"); n == 0 {
		t.Errorf("the log does not say why:\n%s", log.String())
	}
}

// TestArenaAndConfig: a configuration that does not fit in the arena is refused with the reason, not with a bare trap.
func TestArenaAndConfig(t *testing.T) {
	t.Parallel()
	cfg := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	cfg.File = testenv.CGuest(t, "sdk/c/examples/api_key.c", "-Wall", "-Wextra", "-Werror")
	cfg.Config = map[string]any{"key": strings.Repeat("x", arena)}
	_, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{
		Logger: slog.New(slog.DiscardHandler), CacheDir: testenv.Dir(t),
	})
	if err == nil || !strings.Contains(err.Error(), "the arena is full: define EDGE_ARENA larger") {
		t.Errorf("a configuration of more than EDGE_ARENA: %v", err)
	}
}
