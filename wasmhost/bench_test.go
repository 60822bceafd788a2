package wasmhost_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	reference "github.com/http-wasm/http-wasm-host-go/handler"
	nethttp "github.com/http-wasm/http-wasm-host-go/handler/nethttp"
	"github.com/tetratelabs/wazero"

	"github.com/edge-server/edge/wasmhost"
)

// nullWriter is a ResponseWriter that costs nothing.
type nullWriter struct{ h http.Header }

func (w nullWriter) Header() http.Header         { return w.h }
func (w nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w nullWriter) WriteHeader(int)             {}

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

func benchRequest() *http.Request {
	r := httptest.NewRequest("GET", "/v1.0/hi?name=panda", nil)
	r.Header.Set("X-Request-Id", "0123456789abcdef")
	r.Header.Set("User-Agent", "bench")
	r.Header.Set("Accept", "*/*")
	return r
}

// BenchmarkMiddleware is one request through one plugin that reads one header and writes one, both phases: Edge beside the
// reference host, with the same guests. The reference gets real clocks, which its defaults lack and Go guests need.
func BenchmarkMiddleware(b *testing.B) {
	for name, module := range map[string]func(testing.TB) []byte{
		"c":  func(t testing.TB) []byte { return guest(t, "header.c") },
		"go": func(t testing.TB) []byte { return goGuest(t, "./wasmhost/testdata/goheader") },
	} {
		b.Run(name+"/edge", func(b *testing.B) {
			p := plugin(b, module(b), moduleConfig(), wasmhost.Options{})
			serveLoop(b, p.Middleware(nothing))
			if st := p.Stats(); st.Traps != 0 || st.Requests < uint64(b.N) {
				b.Fatalf("stats = %+v", st)
			}
		})
		b.Run(name+"/reference", func(b *testing.B) {
			ctx := context.Background()
			config := wazero.NewModuleConfig().WithSysWalltime().WithSysNanotime().WithSysNanosleep().WithStartFunctions("_start", "_initialize")
			m, err := nethttp.NewMiddleware(ctx, module(b), reference.ModuleConfig(config))
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close(ctx)
			serveLoop(b, m.NewHandler(ctx, nothing))
		})
	}
}

// BenchmarkParallel is the same from all processors at once: what the idle list and the counters cost under contention.
func BenchmarkParallel(b *testing.B) {
	p := plugin(b, guest(b, "header.c"), moduleConfig(), wasmhost.Options{})
	h := p.Middleware(nothing)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w, r := nullWriter{http.Header{}}, benchRequest()
		for pb.Next() {
			h.ServeHTTP(w, r)
		}
	})
}

// BenchmarkLoad is a plugin from bytes to ready, with a cold cache and with a warm one.
func BenchmarkLoad(b *testing.B) {
	for name, module := range map[string][]byte{
		"c": guest(b, "header.c"), "go": goGuest(b, "./wasmhost/testdata/goheader"),
	} {
		b.Run(name+"/warm", func(b *testing.B) {
			dir := b.TempDir()
			plugin(b, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
			for b.Loop() {
				b.StopTimer()
				b.StartTimer()
				plugin(b, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
			}
		})
	}
}

func serveLoop(b *testing.B, h http.Handler) {
	b.Helper()
	w, r := nullWriter{http.Header{}}, benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// TestAllocations: reading a header and writing one allocates the new value and its slice, nothing else.
func TestAllocations(t *testing.T) {
	p := plugin(t, guest(t, "header.c"), moduleConfig(), wasmhost.Options{})
	h := p.Middleware(nothing)
	w, r := nullWriter{http.Header{}}, benchRequest()
	if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n > 2 {
		t.Errorf("%v allocations a request, want at most 2", n)
	}
}
