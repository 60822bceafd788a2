package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestViews asks for everything there is, drains, and profiles; and none of it without the token.
func TestViews(t *testing.T) {
	t.Parallel()
	var drains []bool
	failing := errors.New("no configuration")
	views := Views{
		Overview:    func() Overview { return Overview{Routes: []Route{{Name: "app"}}} },
		Routes:      func() []Route { return []Route{{Name: "app", Classes: [5]uint64{1: 2}}} },
		Stores:      func() []Store { return []Store{{Name: "cache"}} },
		Connections: func() Connections { return Connections{RPC: 3} },
		Services:    func() []Service { return []Service{{Name: "queue"}} },
		Config:      func() ([]byte, error) { return []byte(`{"http":null}`), failing },
		Drain:       func(on bool) { drains = append(drains, on) },
	}
	server := New(Config{Listen: "127.0.0.1:0", Token: "a token of some length"}, "", Backend{Views: views, Metrics: http.NotFoundHandler()}, slog.New(slog.DiscardHandler))
	ask := func(method, path, token string) (int, string) {
		r := httptest.NewRequest(method, path, nil)
		r.Host = "127.0.0.1"
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		server.http.Handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for path, want := range map[string]string{
		"/overview": `"name":"app"`, "/routes": `"classes":[0,2,0,0,0]`, "/stores": `"cache"`, "/connections": `"rpc":3`, "/services": `"queue"`,
		"/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile",
	} {
		if code, body := ask(http.MethodGet, path, "a token of some length"); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, code, body)
		}
		if code, _ := ask(http.MethodGet, path, "another token"); code != http.StatusUnauthorized {
			t.Errorf("%s without the token: %d", path, code)
		}
	}
	if code, body := ask(http.MethodGet, "/config", "a token of some length"); code != http.StatusInternalServerError || !strings.Contains(body, failing.Error()) {
		t.Errorf("/config: %d %s", code, body)
	}
	failing = nil
	if _, body := ask(http.MethodGet, "/config", "a token of some length"); !json.Valid([]byte(body)) || !bytes.Contains([]byte(body), []byte(`"http"`)) {
		t.Errorf("/config: %s", body)
	}
	ask(http.MethodPost, "/drain", "a token of some length")
	ask(http.MethodDelete, "/drain", "a token of some length")
	if len(drains) != 2 || !drains[0] || drains[1] {
		t.Errorf("drain: %v", drains)
	}
}
