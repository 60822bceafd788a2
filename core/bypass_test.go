package core

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// trapping is a module whose handle_request ends in unreachable.
const trapping = "\x00asm\x01\x00\x00\x00\x01\x0a\x02\x60\x00\x01\x7e\x60\x02\x7f\x7f\x00\x03\x03\x02\x00\x01\x05\x03\x01\x00\x01" +
	"\x07\x2d\x03\x06memory\x02\x00\x0ehandle_request\x00\x00\x0fhandle_response\x00\x01\x0a\x08\x02\x03\x00\x00\x0b\x02\x00\x0b"

// TestBypassIsToldWhereHealthIsAsked: edge status calls it degraded, /ready says it and stays 200.
func TestBypassIsToldWhereHealthIsAsked(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	writeFile(t, filepath.Join(dir, "p.wasm"), []byte(trapping))
	e, _ := edgeIn(t, dir, `http:
  listen: [{address: "127.0.0.1:0"}]
  routes: [{use: [p], respond: "through"}]
plugins: {dir: "", modules: {p: {file: p.wasm, on_error: bypass}}}
`)
	url, _, _ := strings.Cut(e.addressTexts()[0], " ")
	statuses := map[int]int{}
	for range 8 {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		statuses[res.StatusCode]++
	}
	if statuses[500] != 5 || statuses[200] != 3 {
		t.Fatalf("statuses = %v", statuses)
	}
	if why := strings.Join(e.degraded(), "\n"); !strings.Contains(why, "plugin p: ") {
		t.Errorf("degraded = %q", why)
	}
	answer := httptest.NewRecorder()
	h := &health{edge: e, cfg: HealthConfig{UnavailableStatus: 503}}
	h.ready(answer, httptest.NewRequest(http.MethodGet, "/ready", http.NoBody))
	var checks []check
	if err := json.Unmarshal(answer.Body.Bytes(), &checks); err != nil || answer.Code != 200 || len(checks) != 1 || checks[0].Plugin != "plugins.p" || checks[0].Error == "" {
		t.Errorf("/ready = %d %s", answer.Code, answer.Body)
	}
}
