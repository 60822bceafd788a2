package httprange_test

import (
	"net/http/httptest"
	"testing"

	"github.com/edge-server/edge/internal/httprange"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, said, want string }{
		{"GET", "", ""}, {"GET", "bytes=0-1", "bytes=0-1"}, {"GET", "Bytes=0-1", "bytes=0-1"}, {"GET", "bytes=x", "bytes=x"}, {"GET", "lines=1-2", ""},
		{"GET", "bytes", "bytes"}, {"GET", "nonsense", ""}, {"GET", "=", ""}, {"HEAD", "bytes=0-1", ""}, {"POST", "bytes=0-1", ""},
	} {
		r := httptest.NewRequest(tt.method, "/", nil)
		if tt.said != "" {
			r.Header.Set("Range", tt.said)
		}
		r.Header.Set("If-Range", "x")
		got := httprange.Request(r)
		if got.Header.Get("Range") != tt.want || got.Header.Get("If-Range") != "x" || r.Header.Get("Range") != tt.said {
			t.Errorf("%+v: %q", tt, got.Header)
		}
	}
}
