package pusher_test

import (
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/pusher"
)

func webhook(url string) pusher.Webhook {
	h := pusher.Webhook{}.Defaults().(pusher.Webhook)
	h.URL = url
	return h
}

func TestWebhooksTellWhatHappens(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := start(t, app(func(a *pusher.App) { a.Webhooks = []pusher.Webhook{webhook(hook.URL)} }))
	a, b := w.connect(), w.connect()
	a.subscribe("presence-x", `{"user_id":"ada"}`)
	b.subscribe("presence-x", `{"user_id":"bob"}`)
	a.want("pusher_internal:member_added", "presence-x", nil)
	a.send("client-hi", "presence-x", map[string]any{"n": 1})
	b.want("client-hi", "presence-x", nil)
	hook.wait(t, "channel_occupied", "presence-x")
	e := hook.wait(t, "client_event", "presence-x")
	if e["event"] != "client-hi" || e["data"] != `{"n":1}` || e["user_id"] != "ada" || e["socket_id"] != a.id {
		t.Error(e)
	}
	a.Close()
	b.want("pusher_internal:member_removed", "presence-x", nil)
	if e := hook.wait(t, "member_removed", "presence-x"); e["user_id"] != "ada" {
		t.Error(e)
	}
	b.Close()
	hook.wait(t, "channel_vacated", "presence-x")
	if n := hook.count("channel_occupied"); n != 1 || hook.count("member_added") != 2 {
		t.Errorf("%d occupied, %d added", n, hook.count("member_added"))
	}
}

func TestAReloadedPageIsNoNews(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := start(t, app(func(a *pusher.App) { a.Webhooks = []pusher.Webhook{webhook(hook.URL)} }))
	a := w.connect()
	a.subscribe("presence-x", `{"user_id":"ada"}`)
	hook.wait(t, "member_added", "presence-x")
	a.Close()
	testenv.Eventually(t, "the end of the connection", func() bool { return w.Stats()[0].Connections == 0 })
	b := w.connect()
	b.subscribe("presence-x", `{"user_id":"ada"}`)
	b.subscribe("marker", "")
	hook.wait(t, "channel_occupied", "marker")
	b.send("pusher:unsubscribe", "", map[string]any{"channel": "marker"})
	hook.wait(t, "channel_vacated", "marker") // after 3 s, when the others would have come too
	if hook.count("member_removed") != 0 || hook.count("channel_vacated") != 1 || hook.count("member_added") != 1 {
		t.Errorf("%v", hook.events)
	}
}

func TestWebhooksAreTriedAgain(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	hook.answer = func(request int) int {
		if request <= 2 {
			return 503
		}
		return 200
	}
	w := start(t, app(func(a *pusher.App) {
		h := webhook(hook.URL)
		h.Channels = []string{"room."}
		a.Webhooks = []pusher.Webhook{h}
	}))
	c := w.connect()
	c.subscribe("other", "")
	for _, name := range []string{"room.1", "room.2", "room.3"} {
		c.subscribe(name, "")
	}
	hook.wait(t, "channel_occupied", "room.3")
	if n := hook.count("channel_occupied"); n != 3 {
		t.Errorf("%d events, want those of three rooms", n)
	}
	var order []string
	for _, e := range hook.events {
		order = append(order, e["channel"].(string))
	}
	if got := strings.Join(order, " "); got != "room.1 room.2 room.3" {
		t.Error(got)
	}
	testenv.Eventually(t, "the answers are counted", func() bool { return w.Stats()[0].WebhooksSent == 3 })
	if s := w.Stats()[0]; s.WebhooksFailed != 2 || s.WebhooksDropped != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWebhookQueueIsBounded(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	release := make(chan struct{})
	hook.answer = func(int) int { <-release; return 200 }
	w := start(t, app(func(a *pusher.App) {
		h := webhook(hook.URL)
		h.Queue, h.Batch, h.Timeout = 5, 1, patience
		a.Webhooks = []pusher.Webhook{h}
	}))
	c := w.connect()
	for i := range 20 {
		c.subscribe("room."+string(rune('a'+i)), "")
	}
	c.quiet() // the last subscription has been told, too
	s := w.Stats()[0]
	if s.WebhooksDropped < 14 || s.WebhooksWaiting > 5 {
		t.Errorf("%+v", s)
	}
	close(release)
	hook.wait(t, "channel_occupied", "room.a")
}

// TestOccupiedComesFirst: a back end hears that a cache channel is there before it hears what the channel lacks.
func TestOccupiedComesFirst(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := start(t, app(func(a *pusher.App) { a.Webhooks = []pusher.Webhook{webhook(hook.URL)} }))
	w.connect().subscribe("presence-cache-x", `{"user_id":"ada"}`)
	hook.wait(t, "cache_miss", "presence-cache-x")
	hook.mu.Lock()
	defer hook.mu.Unlock()
	var order []string
	for _, e := range hook.events {
		order = append(order, e["name"].(string))
	}
	if got := strings.Join(order, " "); got != "channel_occupied member_added cache_miss" {
		t.Error(got)
	}
}
