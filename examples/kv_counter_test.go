package examples

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestKVCounter: requests at once, in whatever worker, are counted once each.
func TestKVCounter(t *testing.T) {
	t.Parallel()
	testenv.PHP(t)
	s := edgetest.StartDir(t, "kv-counter")
	total := 0
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		const visits = 20
		var wg sync.WaitGroup
		for range visits {
			wg.Go(func() { m.Get(t, "/shop") })
		}
		wg.Wait()
		total += visits + 1
		var page struct{ Visits, ThisMinute int }
		if _, body := m.Get(t, "/shop"); json.Unmarshal([]byte(body), &page) != nil || page.Visits != total {
			t.Errorf("after %d visits: %s", total, body)
		}
		var top map[string]float64
		if _, body := m.Get(t, "/top"); json.Unmarshal([]byte(body), &top) != nil || int(top["shop"]) != total {
			t.Errorf("the ranking after %d visits: %s", total, body)
		}
		for range 3 {
			if _, body := m.Get(t, "/report"); body != "{\"made\":1,\"pages\":1}\n" {
				t.Errorf("the report: %q", body)
			}
		}
	})
}
