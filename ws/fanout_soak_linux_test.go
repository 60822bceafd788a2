package ws_test

import (
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// TestFanOutRate publishes to 2000 subscribers as fast as they take it. Messages that may leave together do; those that must each be written
// alone cost a system call each.
func TestFanOutRate(t *testing.T) {
	soak := testenv.Count(0, 1) == 1
	n := affordable(t, testenv.Count(200, 2000))
	for _, mode := range []struct {
		name  string
		burst int
		alone bool
		bar   float64
	}{{"coalesced", 500, false, 1_000_000}, {"each alone", 100, true, 150_000}} {
		server := startServer(t, "")
		clients := drink(t, n, server.plain)
		testenv.Eventually(t, "all are there", func() bool { return server.number("conns") == n })
		if mode.alone {
			server.ask("alone")
		}
		const frame = 132
		began, delivered := time.Now(), 0
		for range testenv.Count(2, 30) {
			goal := clients.received.Load() + int64(mode.burst*n*frame)
			server.ask("publish %d 0", mode.burst)
			clients.await(t, goal)
			delivered += mode.burst * n
		}
		rate := float64(delivered) / time.Since(began).Seconds()
		t.Logf("%s: %.0f deliveries/s of 128 bytes to %d subscribers", mode.name, rate, n)
		if soak && rate < mode.bar {
			t.Errorf("%s: %.0f deliveries/s, the bar is %.0f", mode.name, rate, mode.bar)
		}
		server.stop()
	}
}
