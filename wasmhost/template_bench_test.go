package wasmhost_test

import (
	"net/http"
	"testing"

	"github.com/edge-server/edge/wasmhost"
)

// isolationGuests are the guests that rows about instances are measured with.
func isolationGuests(t testing.TB) map[string][]byte {
	return map[string][]byte{"c": guest(t, "header.c"), "go": goGuest(t, "./wasmhost/testdata/goheader")}
}

// BenchmarkIsolation is BenchmarkMiddleware with a memory that is put back after each request, beside one that is not.
func BenchmarkIsolation(b *testing.B) {
	for name, module := range isolationGuests(b) {
		for _, isolation := range []string{wasmhost.IsolateInstance, wasmhost.IsolateRequest} {
			cfg := moduleConfig()
			cfg.Isolation = isolation
			b.Run(name+"/"+isolation, func(b *testing.B) {
				p := plugin(b, module, cfg, wasmhost.Options{})
				serveLoop(b, p.Middleware(nothing))
			})
			b.Run(name+"/"+isolation+"/parallel", func(b *testing.B) {
				h := plugin(b, module, cfg, wasmhost.Options{}).Middleware(nothing)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					w, r := nullWriter{http.Header{}}, benchRequest()
					for pb.Next() {
						h.ServeHTTP(w, r)
					}
				})
			})
		}
	}
}
