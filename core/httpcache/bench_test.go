//go:build !race

package httpcache_test

import (
	"net/http"
	"strings"
	"testing"
)

// sink is the cheapest ResponseWriter there is.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// hits returns a function that is one hit of an answer of 10 KB with some headers.
func hits(t testing.TB, vary string) func() {
	header := []string{"Cache-Control", page, "Etag", `"abcdef"`, "Last-Modified", aged(1000), "Content-Type", "text/html; charset=utf-8", "X-Frame-Options", "DENY"}
	if vary != "" {
		header = append(header, "Vary", vary)
	}
	s := newSite(t, memoryStore(t), config(), answering(200, strings.Repeat("0123456789", 1000), header...))
	r := request("GET", "http://example.com/blog/2026/a-page?page=2", "Accept-Encoding", "gzip, deflate, br, zstd", "User-Agent", "Mozilla/5.0")
	s.do(r)
	w := &sink{header: http.Header{}}
	return func() {
		clear(w.header)
		s.handler.ServeHTTP(w, r)
	}
}

func BenchmarkHit(b *testing.B) {
	for name, vary := range map[string]string{"plain": "", "vary": "Accept-Encoding"} {
		b.Run(name, func(b *testing.B) {
			hit := hits(b, vary)
			b.ReportAllocs()
			for b.Loop() {
				hit()
			}
		})
	}
}

// TestHitAllocates a few times only: the key, the request to the store, one text and one list for all headers, and what is new in Age,
// Cache-Status and Content-Length.
func TestHitAllocates(t *testing.T) {
	hit := hits(t, "")
	if n := testing.AllocsPerRun(2000, hit); n > 8 {
		t.Errorf("a hit allocates %v times, want at most 8", n)
	}
}
