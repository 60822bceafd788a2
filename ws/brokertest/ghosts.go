package brokertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// Restless is a fleet that loses patience soon, and whose way to the server is disturbed.
type Restless struct {
	New     func(testing.TB) ws.Broker
	Disturb []func()
	Calm    func()
}

// start tries again: a busy machine may be too slow for such a node.
func (f Restless) start(t testing.TB, id string) *Node {
	t.Helper()
	var n *Node
	testenv.Eventually(t, id+" starts", func() bool {
		n = newNode(t, f.New(t), id)
		return n.Broker.Start(t.Context(), n) == nil
	})
	t.Cleanup(n.End)
	return n
}

// RunGhosts has subscribers and members come and go while that happens. When all have gone nothing of them is left.
func RunGhosts(t *testing.T, f Restless) {
	const channels = 6
	nodes := []*Node{f.start(t, "a"), f.start(t, "b")}
	of := func(i int) ws.Address { return ws.Address{Space: "s", Channel: fmt.Sprint(i)} }
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Duration(3*time.Second, time.Minute))
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range nodes {
		for i := range channels {
			wg.Go(func() {
				for ctx.Err() == nil {
					n.comeAndGo(ctx, of(i))
				}
			})
		}
	}
	for ctx.Err() == nil {
		f.Disturb[rand.IntN(len(f.Disturb))]()
		wait(ctx, 400*time.Millisecond)
		f.Calm()
		wait(ctx, 600*time.Millisecond)
	}
	wg.Wait()
	for _, n := range nodes {
		n.AwaitOnline()
	}
	late := f.start(t, "c")
	for i := range channels {
		testenv.Eventually(t, fmt.Sprintf("nobody is in channel %d", i), func() bool { return len(late.Users(of(i))) == 0 })
		testenv.Eventually(t, fmt.Sprintf("nobody listens to channel %d", i), func() bool {
			first := late.Subscribe(of(i))
			late.Unsubscribe(of(i))
			return first
		})
	}
}

// comeAndGo is what a hub does for the first and last subscribers of a channel. The errors are those of the way.
func (n *Node) comeAndGo(ctx context.Context, of ws.Address) {
	var in []ws.Member
	if _, err := n.Watch(context.Background(), of); err == nil {
		for i := range 3 {
			m := ws.Member{ID: fmt.Sprint(i), Conn: 1, Farewell: ws.PrepareText("-")}
			impatient, cancel := context.WithTimeout(context.Background(), rand.N(500*time.Millisecond))
			if _, err := n.Join(impatient, of, m, ws.PrepareText("+")); err == nil {
				in = append(in, m)
			}
			cancel()
		}
	}
	wait(ctx, rand.N(50*time.Millisecond))
	for _, m := range in {
		_, _ = n.Leave(context.Background(), of, m, ws.PrepareText("-"))
	}
	_, _ = n.Unwatch(context.Background(), of)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
