package brokertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// hooks is where servers send their webhooks.
type hooks struct {
	url string

	mu     sync.Mutex
	events []string // "name channel user"
}

func receive(t *testing.T) *hooks {
	h := &hooks{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var in struct {
			Events []struct {
				Name, Channel string
				UserID        string `json:"user_id"`
			}
		}
		err := json.NewDecoder(r.Body).Decode(&in)
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil {
			h.events = append(h.events, err.Error())
		}
		for _, e := range in.Events {
			h.events = append(h.events, fmt.Sprintf("%s %s %s", e.Name, e.Channel, e.UserID))
		}
	}))
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

func (h *hooks) count(event string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e == event {
			n++
		}
	}
	return n
}

func (h *hooks) await(t *testing.T, events ...string) {
	t.Helper()
	for _, e := range events {
		testenv.Eventually(t, "the webhook "+e, func() bool { return h.count(e) > 0 })
	}
}

// webhooksOfADeadServer: another server tells what the one that was killed cannot, once, and nothing of those who are still there.
func webhooksOfADeadServer(t *testing.T, binary string) {
	for driver, section := range map[string]func(testing.TB) string{
		"redis": func(t testing.TB) string {
			return fmt.Sprintf("{driver: redis, lease: 12s, timeout: 8s, redis: {addresses: [%q]}}", testenv.Redis(t).Addr)
		},
		"nats": func(t testing.TB) string {
			return fmt.Sprintf("{driver: nats, lease: 12s, timeout: 8s, nats: {servers: [%q]}}", "nats://"+testenv.NATS(t).Addr)
		},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			got := receive(t)
			config := section(t)
			var nodes []*process
			for range 3 {
				nodes = append(nodes, serve(t, binary, config, `, webhooks: [{url: "`+got.url+`"}]`))
			}
			a, c := nodes[0].dial(), nodes[2].dial()
			a.join("presence-room", "ada", 1)
			c.join("presence-room", "cleo", 2)
			nodes[2].dial().join("presence-room", "ada", 2) // who is at the first one, too
			c.join("presence-own", "cleo", 1)
			c.write(map[string]any{"event": "pusher:subscribe", "data": map[string]string{"channel": "public"}})
			c.want("pusher_internal:subscription_succeeded", "public")
			got.await(t, "channel_occupied presence-room ", "member_added presence-room cleo", "channel_occupied public ", "member_added presence-own cleo")

			nodes[2].kill()
			a.want("pusher_internal:member_removed", `"user_id":"cleo"`)
			gone := []string{"member_removed presence-room cleo", "member_removed presence-own cleo", "channel_vacated presence-own ", "channel_vacated public "}
			got.await(t, gone...)
			// What follows in the same queues has come: so has everything that could have come twice.
			for _, n := range nodes[:2] {
				one := n.dial()
				one.join("presence-"+n.addr[10:], "x", 1)
				one.Close()
				got.await(t, "channel_vacated presence-"+n.addr[10:]+" ")
			}
			for _, e := range gone {
				if n := got.count(e); n != 1 {
					t.Errorf("%q came %d times", e, n)
				}
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			for _, e := range []string{"member_removed presence-room ada", "channel_vacated presence-room "} {
				if slices.Contains(got.events, e) {
					t.Errorf("%q, and it is not so", e)
				}
			}
		})
	}
}
