package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRefusalsAreJSON, as all errors are, and they say what would be right.
func TestRefusalsAreJSON(t *testing.T) {
	t.Parallel()
	h := routes(Backend{Metrics: http.NotFoundHandler(), Status: func() Status { return Status{Ready: true} }})
	for _, tt := range []struct {
		method, path string
		status       int
		want         string
	}{{"GET", "/nope", 404, "/nope"}, {"POST", "/status", 405, "GET, HEAD"}, {"GET", "/reload", 405, "POST"}, {"GET", "/status", 200, ""}} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		var said struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != tt.status || !strings.Contains(said.Error, tt.want) ||
			w.Header().Get("Content-Type") != "application/json" || (tt.status == 405) != (w.Header().Get("Allow") != "") {
			t.Errorf("%s %s: %d %v %q (%v)", tt.method, tt.path, w.Code, w.Header(), w.Body, err)
		}
	}
}
