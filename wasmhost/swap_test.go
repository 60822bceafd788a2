package wasmhost_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestSwapUnderLoad: requests run while the plugin is replaced again and again; none fails, each is served by one content
// from start to end, and replaced generations do not stay in memory.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	version := func(n string) []byte {
		return wat{
			start:    bufferResponse,
			request:  `(call $set_header_value (i32.const 0) (str "x-version") (str "` + n + `"))` + pass,
			response: `(call $set_header_value (i32.const 1) (str "x-version") (str "` + n + `"))`,
		}.compile(t)
	}
	modules := [][]byte{version("1"), version("2")}
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, modules[0])
	cfg := moduleConfig()
	cfg.File = file
	var log testenv.Log
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: logger(&log, slog.LevelDebug)})
	p, _ := h.Plugin("p")
	s := serve(t, p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Version"))
	})))
	s.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 16

	var wg sync.WaitGroup
	var requests atomic.Int64
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := do(t, s, "GET", "/", nil)
				if got.StatusCode != 200 || got.body != got.Header.Get("X-Version") || got.body == "" {
					t.Errorf("answer = %d %q with version %q", got.StatusCode, got.body, got.Header.Get("X-Version"))
					return
				}
				requests.Add(1)
			}
		})
	}

	swaps := testenv.Count(40, 500)
	var early, late runtime.MemStats
	for i := range swaps {
		write(t, file, modules[(i+1)%2])
		if err := h.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		switch i {
		case swaps / 4:
			runtime.GC()
			runtime.ReadMemStats(&early)
		case swaps - 1:
			runtime.GC()
			runtime.ReadMemStats(&late)
		}
	}
	close(stop)
	wg.Wait()
	if st := p.Stats(); st.Generation != uint64(swaps)+1 || st.Errors != 0 || st.Refused != 0 {
		t.Errorf("stats = %+v, want generation %d and no error", st, swaps+1)
	}
	testenv.Eventually(t, "every replaced generation is closed", func() bool {
		return strings.Count(log.String(), "old generation of the plugin closed") == swaps
	})
	if requests.Load() == 0 {
		t.Error("no request was served")
	}
	// Other tests run at the same time, so this only finds generations that stay: each has megabytes of its own.
	if grown := int64(late.HeapAlloc) - int64(early.HeapAlloc); grown > 200<<20 {
		t.Errorf("the heap grew by %d MiB from swap %d to swap %d", grown>>20, swaps/4, swaps)
	}
	t.Logf("%d requests during %d swaps", requests.Load(), swaps)
}

// TestOldRequestsFinishOnTheOldContent: a request that is with the rest of the chain during a swap meets its own
// handle_response afterwards.
func TestOldRequestsFinishOnTheOldContent(t *testing.T) {
	t.Parallel()
	module := func(n string) []byte {
		return wat{start: bufferResponse, response: `(call $set_header_value (i32.const 1) (str "x-version") (str "` + n + `"))`}.compile(t)
	}
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, module("1"))
	cfg := moduleConfig()
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
	p, _ := h.Plugin("p")
	next := newBlocked()
	s := serve(t, p.Middleware(next))
	old := make(chan string)
	go func() { old <- do(t, s, "GET", "/", nil).Header.Get("X-Version") }()
	<-next.entered

	write(t, file, module("2"))
	if err := h.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	fresh := make(chan string)
	go func() { fresh <- do(t, s, "GET", "/", nil).Header.Get("X-Version") }()
	<-next.entered
	close(next.release)
	if got := <-old + " " + <-fresh; got != "1 2" {
		t.Errorf("versions = %q, want 1 2", got)
	}
}

// TestForcedCloseTakesParkedInstances: a request that outlives Stop's context loses its plugin, and a held answer is not let
// out without it.
func TestForcedCloseTakesParkedInstances(t *testing.T) {
	t.Parallel()
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, wat{start: bufferResponse}.compile(t))
	cfg := moduleConfig()
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
	p, _ := h.Plugin("p")
	entered, release := make(chan struct{}), make(chan struct{})
	s := serve(t, p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "secret")
	})))
	result := make(chan answer)
	go func() { result <- do(t, s, "GET", "/", nil) }()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Stop(ctx); err != nil {
		t.Errorf("Stop = %v, want it to take the parked instance and return", err)
	}
	close(release)
	if got := <-result; got.StatusCode != 503 || strings.Contains(got.body, "secret") {
		t.Errorf("answer = %d %q, want 503 without the held answer", got.StatusCode, got.body)
	}
}
