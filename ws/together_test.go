package ws_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// TestPublishAll has several publish at once what leaves together, while clients come and go: everyone gets everything, in order.
func TestPublishAll(t *testing.T) {
	t.Parallel()
	const clients, publishers, batches, each = 40, 3, 20, 10
	w := start(t, &echo{open: func(c *ws.Conn) {
		for i := range publishers {
			if _, err := c.Space().Subscribe(t.Context(), c, fmt.Sprint("news", i), ws.SubscribeOptions{}); err != nil {
				t.Error(err)
			}
		}
	}})
	var wg sync.WaitGroup
	for range clients {
		c := w.dial()
		wg.Go(func() { // ends when all has come, or the client's patience is over
			var next [publishers]int
			for range publishers * batches * each {
				_, b, err := c.ReadMessage()
				if err != nil {
					t.Error(err)
					return
				}
				var from, n int
				if _, err := fmt.Sscanf(string(b), "%d %d", &from, &n); err != nil || n != next[from] {
					t.Errorf("got %q, message %d was next: %v", b, next[from], err)
					return
				}
				next[from]++
			}
		})
	}
	subscribed := func() bool {
		for i := range publishers {
			if info, err := w.space.Channel(t.Context(), fmt.Sprint("news", i)); err != nil || info.Subscribers != clients {
				return false
			}
		}
		return true
	}
	testenv.Eventually(t, "all listen", subscribed)
	passing := w.dial()
	for i := range publishers {
		wg.Go(func() { // ends with its batches
			for batch := range batches {
				var list []ws.Outgoing
				for k := range each {
					o := ws.Outgoing{Channel: fmt.Sprint("news", i), Message: ws.PrepareText(fmt.Sprint(i, batch*each+k))}
					o.Keep = ws.Keep{Size: k % 2} // with and without a history
					list = append(list, o)
				}
				if err := w.space.PublishAll(t.Context(), list); err != nil {
					t.Error(err)
				}
				if i == 0 && batch == batches/2 {
					passing.Close()
				}
			}
		})
	}
	wg.Wait()
	if got := w.space.Stats().Published; got != publishers*batches*each {
		t.Errorf("%d publications were counted", got)
	}
	past, err := w.space.History(t.Context(), "news0", ws.Position{}, 0)
	if err != nil || len(past.Publications) != 1 || !strings.HasPrefix(string(past.Publications[0].Message.Payload()), "0 ") {
		t.Errorf("history: %+v, %v", past, err)
	}
}
