package core

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRedirectKeepsTheHostWhole(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"Example.com:8080": "https://example.com/a?b=c",
		"127.0.0.1:80":     "https://127.0.0.1/a?b=c",
		"[::1]:8080":       "https://[::1]/a?b=c",
		"[::1]":            "https://[::1]/a?b=c",
	} {
		r := httptest.NewRequest(http.MethodGet, "/a?b=c", nil)
		r.Host = host
		w := httptest.NewRecorder()
		newRedirector(&Redirect{To: "https://{host}{uri}", Status: 308}).ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("Host %s: Location %q, want %q", host, got, want)
		}
	}
}
