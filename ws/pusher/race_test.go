package pusher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/pusher"
)

// lookers is a broker in which all of a crowd look who is there before the first of them joins.
type lookers struct {
	*ws.Memory
	missing atomic.Int64
	all     chan struct{}
}

func (b *lookers) Members(ctx context.Context, of ws.Address) ([]ws.Member, error) {
	list, err := b.Memory.Members(ctx, of)
	if b.missing.Add(-1) == 0 {
		close(b.all)
	}
	<-b.all
	return list, err
}

// TestMemberLimitRaced: many users join one presence channel in the same moment, and no more of them than allowed are in at the end.
func TestMemberLimitRaced(t *testing.T) {
	t.Parallel()
	const limit, crowd = 5, 30
	broker := &lookers{Memory: ws.NewMemory(), all: make(chan struct{})}
	broker.missing.Store(crowd)
	w := startOn(t, broker, app(func(a *pusher.App) { a.Limits.Members = limit }))
	clients := make([]*client, crowd)
	for i := range clients {
		clients[i] = w.connect()
	}
	var in, out atomic.Int64
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i, c := range clients {
		member := fmt.Sprintf(`{"user_id":"user-%d"}`, i)
		request, _ := json.Marshal(map[string]any{"event": "pusher:subscribe", "data": map[string]string{
			"channel": "presence-room", "channel_data": member, "auth": key + ":" + mac(c.id+":presence-room:"+member),
		}})
		wg.Go(func() {
			<-gate
			c.sendRaw(string(request))
			for {
				switch f := c.next(); f.Event {
				case "pusher_internal:subscription_succeeded":
					in.Add(1)
					return
				case "pusher:subscription_error":
					out.Add(1)
					return
				}
			}
		})
	}
	close(gate)
	wg.Wait()
	if in.Load() > limit || in.Load() == 0 || in.Load()+out.Load() != crowd {
		t.Errorf("%d of %d are in and %d out; the limit is %d", in.Load(), crowd, out.Load(), limit)
	}
	var users struct{ Users []struct{ ID string } }
	testenv.Eventually(t, "as many members as were let in", func() bool {
		body := w.api("GET", "channels/presence-room/users", "")
		return json.Unmarshal([]byte(body), &users) == nil && len(users.Users) == int(in.Load())
	})
}
