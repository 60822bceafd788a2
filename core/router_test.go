package core

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestFirstRouteThatMatchesWins(t *testing.T) {
	t.Parallel()
	answer := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(name)) })
	}
	table := &routeTable{routes: []compiledRoute{
		compileRoute(Match{Host: Strings{"Admin.example.com"}}, answer("admin")),
		compileRoute(Match{Host: Strings{"*.example.com"}, Path: Strings{"/api/*"}}, answer("tenant")),
		compileRoute(Match{Path: Strings{"/api/*", "/api"}, Method: Strings{"GET"}}, answer("api-read")),
		compileRoute(Match{Path: Strings{"/api/*"}}, answer("api")),
		compileRoute(Match{Path: Strings{"/"}}, answer("home")),
	}}
	for _, tt := range []struct{ method, host, path, want string }{
		{"GET", "admin.example.com", "/api/x", "admin"},
		{"GET", "ADMIN.example.com:8443", "/", "admin"},
		{"GET", "admin.example.com.", "/", "admin"},
		{"GET", "a.example.com", "/api/x", "tenant"},
		{"GET", "a.b.example.com", "/api/x", "api-read"},
		{"GET", "example.com", "/api/x", "api-read"},
		{"HEAD", "localhost", "/api", "api-read"},
		{"POST", "localhost", "/api/x", "api"},
		{"POST", "localhost", "/x/../api/x", "api"},
		{"POST", "localhost", "//api/x", "api"},
		{"POST", "localhost", "/api", "404 page not found\n"},
		{"GET", "[::1]:8080", "/", "home"},
		{"GET", "localhost", "/apix", "404 page not found\n"},
		{"GET", "localhost", "/../api/x", "400 bad request: the path leaves the root\n"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, "http://localhost/", nil)
		r.Host, r.URL.Path = tt.host, tt.path
		table.serveRoute(w, r)
		if w.Body.String() != tt.want {
			t.Errorf("%s %s%s went to %q, want %q", tt.method, tt.host, tt.path, w.Body, tt.want)
		}
	}
}

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
