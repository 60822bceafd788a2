package pusher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/pusher"
)

// TestWebhooksMove: the process that takes the place of another one tells the webhooks, what waits included, and those who come back have
// never been away.
func TestWebhooksMove(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	var hold bool // guarded by hook.mu
	hook.answer = func(int) int {
		if hold {
			return 503
		}
		return 200
	}
	hooked := app(func(a *pusher.App) { a.Webhooks = []pusher.Webhook{webhook(hook.URL)} })
	older, newer := start(t, hooked), start(t, hooked)
	stays, goes := older.connect(), older.connect()
	stays.subscribe("presence-x", `{"user_id":"stays"}`)
	hook.wait(t, "member_added", "presence-x")
	hook.mu.Lock()
	hold = true
	hook.mu.Unlock()
	goes.subscribe("presence-x", `{"user_id":"goes"}`)
	testenv.Eventually(t, "the webhook fails", func() bool { return older.Stats()[0].WebhooksFailed > 0 })

	older.Leave(newer.Accept)
	again := newer.connect()
	again.subscribe("presence-x", `{"user_id":"stays"}`)
	stays.Close()
	goes.Close()
	hook.mu.Lock()
	hold = false
	hook.mu.Unlock()
	testenv.Eventually(t, "who has gone is told", func() bool {
		hook.mu.Lock()
		defer hook.mu.Unlock()
		for _, e := range hook.events {
			if e["name"] == "member_removed" && e["user_id"] == "goes" {
				return true
			}
		}
		return false
	})
	time.Sleep(100 * time.Millisecond) // for what must not come
	hook.mu.Lock()
	defer hook.mu.Unlock()
	here := map[string]bool{}
	for _, e := range hook.events {
		who := fmt.Sprint(e["channel"], e["user_id"])
		switch e["name"] {
		case "member_added", "channel_occupied":
			here[who] = true
		default:
			delete(here, who)
		}
	}
	if len(here) != 2 || !here["presence-xstays"] || !here["presence-x<nil>"] {
		t.Errorf("the back end believes that there are %v: %v", here, hook.events)
	}
}
