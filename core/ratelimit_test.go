package core_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
)

// TestRateLimits: a route's limit refuses what is beyond, survives a reload of other things, and is shared through a store.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	const config = `
kv: {counts: {}}
http:
  rate_limits:
    few: {rate: 2, per: 1h}
    shared: {rate: 1, per: 1h, store: counts, by: all}
  routes:
    - {match: {path: /few}, use: [rate-limit/few], respond: %q}
    - {match: {path: /shared}, use: [rate-limit/shared], respond: "yes"}
`
	s := edgetest.Start(t, fmt.Sprintf(config, "first"))
	want := func(path string, status int) {
		t.Helper()
		res, err := http.Get(s.HTTP + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%s is answered with %s, want %d", path, res.Status, status)
		}
	}
	want("/few", 200)
	want("/few", 200)
	want("/few", 429)
	want("/shared", 200)
	want("/shared", 429)
	s.WriteConfig(t, fmt.Sprintf(config, "second"))
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("/few", 429)
	want("/shared", 429)
}
