package middleware

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := Headers(HeadersConfig{
		Request:  map[string]string{"x-tenant": "one", "Host": "inner.example"},
		Response: map[string]string{"X-Powered-By": "Edge", "Cache-Control": "no-store"},
	})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public")
		fmt.Fprint(w, r.Header.Get("X-Tenant"), r.Host)
	}))
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Tenant", "forged")
	h.ServeHTTP(w, r)
	if w.Body.String() != "oneinner.example" || w.Header().Get("X-Powered-By") != "Edge" || w.Header().Get("Cache-Control") != "public" {
		t.Errorf("got %q, %v", w.Body, w.Header())
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	own := CORSConfig{
		Origins: []string{"https://app.example", "https://*.shop.example"}, OriginRegex: `https://pr-\d+\.test`, Methods: []string{"GET", "PUT"},
		Headers: []string{"X-A", "Content-Type"}, Exposed: []string{"X-Total"}, Credentials: true, MaxAge: time.Minute, Status: http.StatusNoContent,
	}
	all := CORSConfig{Origins: []string{"*"}, Methods: []string{"GET"}, Headers: []string{"*"}, Status: http.StatusOK}
	const php = 299 // the status that only the handler behind gives
	for _, tt := range []struct {
		name                    string
		cors                    CORSConfig
		method, origin          string
		wants, headers          string // Access-Control-Request-Method and -Headers
		status                  int
		allow, credentials, age string
	}{
		{"no origin", own, "GET", "", "", "", php, "", "", ""},
		{"a page of ours", own, "GET", "https://app.example", "", "", php, "https://app.example", "true", ""},
		{"a label", own, "GET", "https://a.shop.example", "", "", php, "https://a.shop.example", "true", ""},
		{"the regex", own, "GET", "https://pr-12.test", "", "", php, "https://pr-12.test", "true", ""},
		{"more than the regex", own, "GET", "https://pr-12.test.evil.example", "", "", php, "", "", ""},
		{"a suffix", own, "GET", "https://app.example.evil.example", "", "", php, "", "", ""},
		{"nothing for the star", own, "GET", "https://.shop.example", "", "", php, "", "", ""},
		{"asked first", own, "OPTIONS", "https://app.example", "PUT", "x-a, content-type", 204, "https://app.example", "true", "60"},
		{"another method", own, "OPTIONS", "https://app.example", "DELETE", "", 204, "", "", ""},
		{"another header", own, "OPTIONS", "https://app.example", "PUT", "x-b", 204, "", "", ""},
		{"another origin", own, "OPTIONS", "https://evil.example", "PUT", "", 204, "", "", ""},
		{"OPTIONS of the application", own, "OPTIONS", "https://app.example", "", "", php, "https://app.example", "true", ""},
		{"everyone", all, "GET", "https://any.example", "", "", php, "*", "", ""},
		{"everyone asks first", all, "OPTIONS", "https://any.example", "GET", "x-any", 200, "*", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := Headers(HeadersConfig{CORS: &tt.cors})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(php) }))
			w, r := httptest.NewRecorder(), httptest.NewRequest(tt.method, "/", nil)
			for name, value := range map[string]string{"Origin": tt.origin, "Access-Control-Request-Method": tt.wants, "Access-Control-Request-Headers": tt.headers} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			h.ServeHTTP(w, r)
			got := []any{w.Code, w.Header().Get("Access-Control-Allow-Origin"), w.Header().Get("Access-Control-Allow-Credentials"), w.Header().Get("Access-Control-Max-Age")}
			if want := []any{tt.status, tt.allow, tt.credentials, tt.age}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if tt.cors.Credentials && !strings.Contains(w.Header().Get("Vary"), "Origin") {
				t.Error("a cache would give this answer to other origins")
			}
		})
	}
}

func TestHeadersAreChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg  HeadersConfig
		want string
	}{
		{HeadersConfig{Request: map[string]string{"a b": "c"}}, `request: "a b"`},
		{HeadersConfig{Response: map[string]string{"A": "b\r\nC: d"}}, `response: "A"`},
		{HeadersConfig{CORS: &CORSConfig{Status: 200}}, "cors.origins: name at least one"},
		{HeadersConfig{CORS: &CORSConfig{Origins: []string{"*"}, Credentials: true, Status: 200}}, "cors.credentials: with origins"},
		{HeadersConfig{CORS: &CORSConfig{OriginRegex: "(", Status: 200}}, "cors.origin_regex: "},
		{HeadersConfig{CORS: &CORSConfig{Origins: []string{"*"}, Headers: []string{"a b"}, Status: 200}}, "cors.headers[0]"},
		{HeadersConfig{CORS: &CORSConfig{Origins: []string{"*"}, Status: 302}}, "cors.status: must be 200 or 204"},
	} {
		if err := tt.cfg.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
