package core_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestLargeBodiesAreLogged: a request that is refused by its Content-Length is in the access log like any other.
func TestLargeBodiesAreLogged(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  limits: {body: 1KiB}
  middleware: [access-log]
  routes:
    - {respond: {status: 200, body: fine}}
`)
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, m.URL+"/large-body", strings.NewReader(strings.Repeat("x", 4<<10)))
		if res, body := m.Do(t, req); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s %q", res.Status, body)
		}
	})
	testenv.Eventually(t, "the refused request is logged", func() bool { return strings.Contains(s.Log.String(), `"status":413`) })
}
