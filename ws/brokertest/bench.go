package brokertest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/ws"
)

// Bench measures the way from Publish on one node to Deliver on another: one publication at a time, then by 64 publishers at once.
func Bench(b *testing.B, fleet func(testing.TB) Fleet) {
	for _, kind := range []struct {
		name string
		keep ws.Keep
	}{{"plain", ws.Keep{}}, {"kept", ws.Keep{Size: 100, TTL: time.Minute}}} {
		b.Run(kind.name+"/latency", func(b *testing.B) {
			from, to := pair(b, fleet(b))
			text := ws.Publication{Message: ws.PrepareText(fmt.Sprintf("%0128d", 1))}
			for b.Loop() {
				if _, err := from.Publish(b.Context(), news, text, kind.keep); err != nil {
					b.Fatal(err)
				}
				<-to
			}
		})
		b.Run(kind.name+"/throughput", func(b *testing.B) {
			from, to := pair(b, fleet(b))
			text := ws.Publication{Message: ws.PrepareText(fmt.Sprintf("%0128d", 1))}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range 64 {
				wg.Go(func() {
					channel := ws.Address{Space: news.Space, Channel: fmt.Sprint(news.Channel, i%8)}
					for left.Add(-1) >= 0 {
						if _, err := from.Publish(b.Context(), channel, text, kind.keep); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			for range b.N {
				<-to
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// pair starts two nodes; what the second gets is counted in the channel.
func pair(b *testing.B, f Fleet) (*Node, <-chan struct{}) {
	from, to := Start(b, f.New(b), "from"), &counting{got: make(chan struct{}, 1<<20)}
	to.Node = &Node{Broker: f.New(b), t: b, id: "to", got: map[ws.Address][]ws.Publication{}, occupied: map[ws.Address]int{}}
	if err := to.Start(b.Context(), to); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(to.End)
	to.Subscribe(news)
	for i := range 8 {
		to.Subscribe(ws.Address{Space: news.Space, Channel: fmt.Sprint(news.Channel, i)})
	}
	return from, to.got
}

// counting is a node that keeps nothing.
type counting struct {
	*Node
	got chan struct{}
}

func (c *counting) Deliver(ws.Address, ws.Publication) { c.got <- struct{}{} }
