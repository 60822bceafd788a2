package pusher_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/pusher"
)

// TestManyChannels: what is asked about one channel costs the same when there are thousands, and a list of all of them is an answer
// like others.
func TestManyChannels(t *testing.T) {
	t.Parallel()
	const each = 500 // of one client: its rate is bounded, too
	n := testenv.Count(2000, 100000)
	r := newReceiver(t)
	w := start(t, app(func(a *pusher.App) {
		a.Limits.Channels = each
		hook := pusher.Webhook{}.Defaults().(pusher.Webhook)
		hook.URL, hook.Events, hook.Queue, hook.Batch = r.URL, []string{"channel_vacated"}, n, 1000
		a.Webhooks = []pusher.Webhook{hook}
	}))
	var clients []*client
	for i := range n {
		if i%each == 0 {
			clients = append(clients, w.connect())
		}
		c := clients[len(clients)-1]
		c.sendRaw(fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":"channel-%d"}}`, i))
		c.want("pusher_internal:subscription_succeeded", fmt.Sprint("channel-", i), nil)
	}
	var list struct{ Channels map[string]any }
	if err := json.Unmarshal([]byte(w.api("GET", "channels", "", "info", "subscription_count")), &list); err != nil || len(list.Channels) != n {
		t.Fatalf("%d channels are listed, want %d: %v", len(list.Channels), n, err)
	}
	for range 50 {
		answer := w.api("POST", "events", `{"name":"e","data":"x","info":"subscription_count","channels":["channel-1","none"]}`)
		if want := `{"channels":{"channel-1":{"subscription_count":1},"none":{"subscription_count":0}}}`; answer != want {
			t.Fatalf("got %s, want %s", answer, want)
		}
	}
	for _, c := range clients {
		c.Close()
	}
	deadline := time.Now().Add(time.Minute + time.Duration(n/1000)*time.Second)
	for r.count("channel_vacated") < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d channels were told to be vacated", r.count("channel_vacated"), n)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
