package ws_test

import (
	"cmp"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// BenchmarkFanOut publishes 128 bytes to 2000 subscribers of another process: hundreds of messages at once, which may leave in one write
// for each connection (coalesced) or must not (alone), or one that all have before the next (single). The other servers write the same
// bytes to the same clients, as a measure of the machine.
func BenchmarkFanOut(b *testing.B) {
	for _, mode := range []struct {
		name   string
		burst  int
		alone  bool
		floors bool
	}{{"coalesced", 500, false, false}, {"alone", 100, true, true}, {"single", 1, false, true}} {
		for _, kind := range []string{"", "gorilla", "loop"} {
			if kind != "" && !mode.floors {
				continue
			}
			fanOut(b, mode.name, kind, mode.burst, mode.alone)
		}
	}
}

func fanOut(b *testing.B, name, kind string, burst int, alone bool) {
	b.Run(name+"/"+cmp.Or(kind, "edge"), func(b *testing.B) {
		const subscribers, frame = 2000, 132
		server := startServer(b, kind)
		clients := drink(b, subscribers, server.plain)
		testenv.Eventually(b, "all are there", func() bool { return server.number("conns") == subscribers })
		if alone {
			server.ask("alone")
		}
		rounds := 100 / burst
		began := server.number("cpu")
		b.ResetTimer()
		for range b.N * max(1, rounds) {
			goal := clients.received.Load() + int64(burst*subscribers*frame)
			server.ask("publish %d 0", burst)
			clients.await(b, goal)
		}
		b.StopTimer()
		deliveries := float64(b.N * max(1, rounds) * burst * subscribers)
		b.ReportMetric(deliveries/b.Elapsed().Seconds(), "deliveries/s")
		b.ReportMetric(float64(server.number("cpu")-began)/deliveries, "server-ns/delivery")
		b.ReportMetric(0, "ns/op")
	})
}
