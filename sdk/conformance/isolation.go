package conformance

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// RunIsolation tests the guest at path with `isolation: request`: each request finds the variables as they were after the start, and
// where instances are copies, an ordinary request leaves one that can be used again. One whose memory had to grow cannot.
func RunIsolation(t *testing.T, path string) {
	t.Helper()
	all := modules(path, nil)
	plain := all["plain"]
	plain.Isolation = "request"
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"plain": plain}}, wasmhost.Options{
		Logger: slog.New(slog.DiscardHandler), CacheDir: testenv.Dir(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Stop(context.Background()) })
	p, _ := host.Plugin("plain")
	handler := p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for range 3 {
		r := httptest.NewRequest("GET", "/a?b=c", nil)
		r.Header.Set("X-Request", "count;get,request,x-name;put,response,x-saw")
		r.Header.Set("X-Name", "panda")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if got, want := w.Header().Get("X-Saw"), "1;panda"; got != want {
			t.Fatalf("answer = %d %q, want %q", w.Code, got, want)
		}
		if s := p.Stats(); s.NotCloned == "" && s.Idle == 0 {
			t.Fatalf("the instance was given up: its memory is %d bytes, and was less after its start. edge_warm_up can make room", s.Memory)
		}
	}
}
