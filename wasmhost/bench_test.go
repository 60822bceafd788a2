package wasmhost_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	reference "github.com/http-wasm/http-wasm-host-go/handler"
	nethttp "github.com/http-wasm/http-wasm-host-go/handler/nethttp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/internal/testenv"
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

// headerGuests read one header and write one, in both phases, each in its language.
var headerGuests = []struct {
	name   string
	module func(testing.TB) []byte
}{
	{"c", func(t testing.TB) []byte { return guest(t, "header.c") }},
	{"rust", func(t testing.TB) []byte { return read(t, testenv.RustGuest(t, "wasmhost/testdata/header.rs")) }},
	{"zig", func(t testing.TB) []byte { return read(t, testenv.ZigGuest(t, "wasmhost/testdata/header.zig")) }},
	{"as", func(t testing.TB) []byte { return read(t, testenv.ASGuest(t, "wasmhost/testdata/header.ts")) }},
	{"go", func(t testing.TB) []byte { return goGuest(t, "./wasmhost/testdata/goheader") }},
	{"tinygo", func(t testing.TB) []byte { return read(t, testenv.TinyGoGuest(t, "./wasmhost/testdata/goheader")) }},
}

// BenchmarkMiddleware is one request through one plugin that reads one header and writes one, both phases: Edge beside the
// reference host, with the same guests. A script has no module that the reference could run.
func BenchmarkMiddleware(b *testing.B) {
	for _, g := range headerGuests {
		b.Run(g.name+"/edge", func(b *testing.B) {
			p := plugin(b, g.module(b), moduleConfig(), wasmhost.Options{})
			serveCounted(b, p)
		})
		b.Run(g.name+"/reference", func(b *testing.B) {
			h, stop := referenceHandler(b, g.module(b))
			defer stop()
			serveLoop(b, h)
		})
	}
	b.Run("js/edge", func(b *testing.B) {
		serveCounted(b, scriptPlugin(b, headerScript, moduleConfig(), wasmhost.Options{}))
	})
}

func serveCounted(b *testing.B, p *wasmhost.Plugin) {
	b.Helper()
	serveLoop(b, p.Middleware(nothing))
	st := p.Stats()
	if st.Traps != 0 || st.Requests < uint64(b.N) {
		b.Fatalf("stats = %+v", st)
	}
	b.ReportMetric(float64(st.Fuel.Total)/float64(st.Requests), "fuel/op")
}

// referenceHandler is the module in the reference host. It gets real clocks, which the reference's defaults lack and Go guests
// need, and functions that do nothing for what the SDKs import beside http_handler and do not call here.
func referenceHandler(t testing.TB, module []byte) (h http.Handler, stop func()) {
	t.Helper()
	ctx := context.Background()
	config := wazero.NewModuleConfig().WithSysWalltime().WithSysNanotime().WithSysNanosleep().WithStartFunctions("_start", "_initialize")
	withStubs := func(ctx context.Context) (wazero.Runtime, error) {
		rt := wazero.NewRuntime(ctx)
		return rt, stubs(ctx, rt, module)
	}
	m, err := nethttp.NewMiddleware(ctx, module, reference.ModuleConfig(config), reference.Runtime(withStubs))
	if err != nil {
		t.Fatal(err)
	}
	return m.NewHandler(ctx, nothing), func() { _ = m.Close(ctx) }
}

// stubs provides the functions of Edge's own namespaces that the module imports.
func stubs(ctx context.Context, rt wazero.Runtime, module []byte) error {
	compiled, err := rt.CompileModule(ctx, module)
	if err != nil {
		return err
	}
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range compiled.ImportedFunctions() {
		namespace, name, _ := f.Import()
		if !strings.HasPrefix(namespace, "edge_") {
			continue
		}
		if builders[namespace] == nil {
			builders[namespace] = rt.NewHostModuleBuilder(namespace)
		}
		nothing := api.GoModuleFunc(func(context.Context, api.Module, []uint64) {})
		builders[namespace].NewFunctionBuilder().WithGoModuleFunction(nothing, f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, builder := range builders {
		if _, err := builder.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
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

// TestAllocations: reading a header and writing one takes pieces for the value and its list now and then, nothing else.
func TestAllocations(t *testing.T) {
	for _, g := range headerGuests {
		t.Run(g.name, func(t *testing.T) {
			h := plugin(t, g.module(t), moduleConfig(), wasmhost.Options{}).Middleware(nothing)
			w, r := nullWriter{http.Header{}}, benchRequest()
			if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n > 2 {
				t.Errorf("%v allocations a request, want at most 2", n)
			}
			if got, want := r.Header.Get("X-Seen"), r.Header.Get("X-Request-Id"); got != want {
				t.Errorf("X-Seen = %q, want %q", got, want)
			}
		})
	}
}
