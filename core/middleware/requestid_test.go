package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/middleware"
)

func TestRequestIDIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	type keyType struct{}
	h := middleware.RequestID(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := middleware.RequestIDFrom(r.Context())
		if id == "" || r.Header.Get("X-Request-Id") != id || w.Header().Get("X-Request-Id") != id {
			t.Errorf("context %q, request %q, answer %q", id, r.Header.Get("X-Request-Id"), w.Header().Get("X-Request-Id"))
		}
		if r.Context().Value(keyType{}) != "kept" {
			t.Error("other values of the context are lost")
		}
		r.Header["X-Request-Id"][0] = "changed"
		r.Header.Add("X-Request-Id", "added")
		if got := w.Header()["X-Request-Id"]; len(got) != 1 || got[0] != id {
			t.Errorf("the answer's header follows the request's: %q", got)
		}
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), keyType{}, "kept")))
	if id := middleware.RequestIDFrom(context.Background()); id != "" {
		t.Errorf("a context without identifier has %q", id)
	}
}

func TestRequestIDKeepsOnlySaneOnes(t *testing.T) {
	t.Parallel()
	made := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for _, tt := range []struct {
		sent []string
		kept bool
	}{
		{[]string{"4bf92f35-77b3.4da6_a3:ce+92/9d=0e@0e"}, true},
		{[]string{strings.Repeat("a", 128)}, true},
		{[]string{strings.Repeat("a", 129)}, false},
		{[]string{""}, false},
		{nil, false},
		{[]string{"a", "b"}, false},
		{[]string{"a b"}, false},
		{[]string{"a\r\nSet-Cookie: x=1"}, false},
		{[]string{"<script>"}, false},
		{[]string{`a"b`}, false},
		{[]string{"ä"}, false},
		{[]string{"\x00"}, false},
	} {
		r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		if tt.sent != nil {
			r.Header["X-Request-Id"] = tt.sent
		}
		middleware.RequestID(http.NotFoundHandler()).ServeHTTP(w, r)
		got := w.Header().Get("X-Request-Id")
		if tt.kept && got != tt.sent[0] {
			t.Errorf("%q became %q", tt.sent, got)
		}
		if !tt.kept && (!made.MatchString(got) || seen[got]) {
			t.Errorf("%q became %q, want a new identifier", tt.sent, got)
		}
		seen[got] = true
	}
}

func BenchmarkRequestID(b *testing.B) {
	h := middleware.RequestID(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		r.Header.Del("X-Request-Id")
		h.ServeHTTP(w, r)
	}
}
