package wasmhost_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// besideRounds of besideRequests each are so short that a noisy moment of the machine spoils few of them.
const (
	besideRounds   = 600
	besideRequests = 200
)

// BenchmarkBeside is what the bars are about, for `go run ./internal/bench -wasm`: each pair in short turns, one after the other, so
// that the noise of the machine falls on both alike. Noise only ever adds, so a figure is that of the turn which a tenth of them
// were faster than, in nanoseconds for a request.
func BenchmarkBeside(b *testing.B) {
	for _, g := range headerGuests {
		b.Run("middleware/"+g.name, func(b *testing.B) {
			p := plugin(b, g.module(b), moduleConfig(), wasmhost.Options{})
			h, stop := referenceHandler(b, g.module(b))
			defer stop()
			beside(b, []string{"edge", "reference"}, p.Middleware(nothing), h)
		})
	}
	b.Run("middleware/js", func(b *testing.B) {
		beside(b, []string{"edge"}, scriptPlugin(b, headerScript, moduleConfig(), wasmhost.Options{}).Middleware(nothing))
	})
	b.Run("chain/c", func(b *testing.B) {
		plugins := alike(b, guest(b, "header.c"), 11)
		ten := http.Handler(nothing)
		for _, p := range plugins[1:] {
			ten = p.Middleware(ten)
		}
		beside(b, []string{"one", "ten"}, plugins[0].Middleware(nothing), ten)
	})
	for name, module := range isolationGuests(b) {
		b.Run("isolation/"+name, func(b *testing.B) {
			var kinds []http.Handler
			for _, isolation := range []string{wasmhost.IsolateInstance, wasmhost.IsolateRequest} {
				cfg := moduleConfig()
				cfg.Isolation = isolation
				kinds = append(kinds, plugin(b, module, cfg, wasmhost.Options{}).Middleware(nothing))
			}
			beside(b, []string{"instance", "request"}, kinds...)
		})
	}
}

// alike are n plugins of one server, all with the same module, as ten entries of its configuration would be.
func alike(t testing.TB, module []byte, n int) []*wasmhost.Plugin {
	t.Helper()
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, module)
	modules := map[string]wasmhost.ModuleConfig{}
	for i := range n {
		cfg := moduleConfig()
		cfg.File = file
		modules[strconv.Itoa(i)] = cfg
	}
	h := host(t, wasmhost.Config{Modules: modules}, wasmhost.Options{})
	var all []*wasmhost.Plugin
	for i := range n {
		p, ok := h.Plugin(strconv.Itoa(i))
		if !ok {
			t.Fatalf("there is no plugin %d", i)
		}
		all = append(all, p)
	}
	return all
}

// beside reports the cost of a request through each handler under its name.
func beside(b *testing.B, names []string, handlers ...http.Handler) {
	b.Helper()
	turns := make([][]float64, len(handlers))
	w, r := nullWriter{http.Header{}}, benchRequest()
	for b.Loop() {
		for range besideRounds {
			for i, h := range handlers {
				began := time.Now()
				for range besideRequests {
					h.ServeHTTP(w, r)
				}
				turns[i] = append(turns[i], float64(time.Since(began))/besideRequests)
			}
		}
	}
	for i, name := range names {
		slices.Sort(turns[i])
		b.ReportMetric(turns[i][len(turns[i])/10], name+"-ns")
	}
}
