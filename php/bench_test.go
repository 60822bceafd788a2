package php_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edge-server/edge/php"
)

// BenchmarkPool is a whole round trip through PHP, without a network.
func BenchmarkPool(b *testing.B) {
	for _, c := range []struct {
		name string
		body []byte
	}{{"hello", nil}, {"post=64KiB", make([]byte, 64<<10)}} {
		for _, n := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", c.name, n), func(b *testing.B) {
				pool := benchPool(b, n)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					w := &sink{header: http.Header{}}
					r := httptest.NewRequest("POST", "/", nil)
					for pb.Next() {
						clear(w.header)
						if r.Body = http.NoBody; c.body != nil {
							r.Body = io.NopCloser(bytes.NewReader(c.body))
						}
						pool.ServeHTTP(w, r)
						if w.status != 200 {
							b.Errorf("status %d", w.status)
							return
						}
					}
				})
			})
		}
	}
}

func benchPool(tb testing.TB, n int) *php.Pool {
	cfg := config(tb, "hello.php")
	cfg.Workers = php.Workers{Min: n, Max: n}
	pool, err := php.New("bench", cfg, php.Options{Logger: slog.New(slog.DiscardHandler), TempDir: tb.TempDir()})
	if err == nil {
		err = pool.Start(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
	ctx := tb.Context()
	tb.Cleanup(func() { _ = pool.Stop(ctx) })
	return pool
}

// TestAllocationsPerRequest keeps what the handler costs: the head's text, the values' array, and Content-Length.
func TestAllocationsPerRequest(t *testing.T) {
	pool := benchPool(t, 1)
	w := &sink{header: http.Header{}}
	r := httptest.NewRequest("GET", "/", nil)
	pool.ServeHTTP(w, r)
	got := testing.AllocsPerRun(1000, func() {
		clear(w.header)
		pool.ServeHTTP(w, r)
	})
	if limit := 5.0; got > limit {
		t.Errorf("%v allocations per request, want at most %v", got, limit)
	}
}

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
