package pusher_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/pusher"
)

// config is that of start, changed.
func config(change ...func(*pusher.Config)) pusher.Config {
	main := pusher.App{}.Defaults().(pusher.App)
	main.ID, main.Key, main.Secret = "1", key, secret
	cfg := pusher.Config{Apps: map[string]pusher.App{"main": main}}
	for _, c := range change {
		c(&cfg)
	}
	return cfg
}

func (w *world) change(change ...func(*pusher.Config)) {
	w.t.Helper()
	commit, err := w.Change(config(change...), ws.DefaultLimits())
	check(w.t, err)
	commit()
}

func another(c *pusher.Config) {
	a := c.Apps["main"]
	a.ID, a.Key, a.Webhooks = "2", "another-key", nil
	c.Apps["another"] = a
}

func TestChange(t *testing.T) {
	t.Parallel()
	before, after := newReceiver(t), newReceiver(t)
	w := start(t, app(func(a *pusher.App) { a.Webhooks = []pusher.Webhook{webhook(before.URL)} }))
	c := w.connect()
	c.subscribe("room", "")
	before.wait(t, "channel_occupied", "room")

	// An app more, rules and webhooks that are others: who is there stays.
	w.change(another, app(func(a *pusher.App) {
		a.Webhooks = []pusher.Webhook{webhook(after.URL)}
		a.Limits.ChannelName, a.SubscriptionCount = 5, true
	}))
	other := w.connectTo("another-key")
	other.send("pusher:subscribe", "", map[string]any{"channel": "room"})
	other.want("pusher_internal:subscription_succeeded", "room", nil)
	c.ask("a-room", "")
	c.wantDenied("a-room", 400, "longer than 5 characters")
	c.subscribe("lobby", "")
	c.want("pusher_internal:subscription_count", "lobby", nil)
	after.wait(t, "channel_occupied", "lobby")
	if n := before.count("channel_occupied"); n != 1 {
		t.Errorf("the webhook of before has heard of %d channels", n)
	}
	if status, answer := w.call("POST", "/apps/1/events", nil, `{"name":"e","channel":"room","data":"x"}`); status != 200 {
		t.Fatal(status, answer)
	}
	c.want("e", "room", nil)
	other.send("pusher:ping", "", map[string]any{})
	other.want("pusher:pong", "", nil)

	// The secret is another: the old one no longer signs anything.
	w.change(another, app(func(a *pusher.App) { a.Secret = "another-secret" }))
	if status, _ := w.call("POST", "/apps/1/events", nil, `{"name":"e","channel":"room","data":"x"}`); status != 401 {
		t.Errorf("a call signed with the secret of before: %d", status)
	}
	c.ask("private-x", "")
	c.wantDenied("private-x", 401, "signature is wrong")
	c.quiet()

	// Nothing of what is refused comes into force.
	if _, err := w.Change(config(app(func(a *pusher.App) { a.Secret = "" })), ws.DefaultLimits()); err == nil {
		t.Error("an app without a secret was taken")
	}
	c.quiet()

	// An app that is turned off sends its clients away, and they do not come back.
	w.change(another, app(func(a *pusher.App) { a.Enabled = false }))
	c.wantError(4003, "")
	c.wantClose(4003)
	late := w.dial("/app/"+key+"?protocol=7", nil)
	late.wantError(4003, "")
	late.wantClose(4003)
	other.quiet()
}

// TestChangeOfAWebhook: what waits for a URL is sent by the new rules, in its order.
func TestChangeOfAWebhook(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	var away atomic.Bool
	away.Store(true)
	hook.answer = func(int) int {
		if away.Load() {
			return 503
		}
		return 200
	}
	batches := func(n int) func(*pusher.Config) {
		return app(func(a *pusher.App) {
			h := webhook(hook.URL)
			h.Batch = n
			a.Webhooks = []pusher.Webhook{h}
		})
	}
	w := start(t, batches(1))
	c := w.connect()
	for _, name := range []string{"a", "b", "c", "d"} {
		c.subscribe(name, "")
	}
	testenv.Eventually(t, "a request has failed", func() bool { return w.Stats()[0].WebhooksFailed > 0 })
	w.change(batches(10))
	away.Store(false)
	hook.wait(t, "channel_occupied", "d")
	testenv.Eventually(t, "all are sent", func() bool { return w.Stats()[0].WebhooksSent == 4 })
	hook.mu.Lock()
	defer hook.mu.Unlock()
	var order []any
	for _, e := range hook.events {
		order = append(order, e["channel"])
	}
	if fmt.Sprint(order) != "[a b c d]" {
		t.Errorf("the events came as %v", order)
	}
}

// TestChangeWhileClientsTalk: whatever changes, those who are there notice nothing.
func TestChangeWhileClientsTalk(t *testing.T) {
	t.Parallel()
	w := start(t)
	var talking sync.WaitGroup
	for i := range 8 {
		c := w.connect()
		talking.Go(func() {
			for n := range 100 {
				channel := fmt.Sprint("room-", n%3)
				c.subscribe(channel, "")
				c.send("pusher:unsubscribe", "", map[string]any{"channel": channel})
				if i == 0 {
					w.call("GET", "/apps/1/channels", nil, "")
					w.Stats()
				}
				c.quiet()
			}
		})
	}
	for n := range 50 {
		w.change(another, app(func(a *pusher.App) {
			h := webhook("http://127.0.0.1:9/")
			h.Retry = 0
			h.Batch = 1 + n%5
			a.Webhooks = []pusher.Webhook{h}
			a.Limits.Events, a.Limits.ClientEvents = n, n
		}))
	}
	talking.Wait()
}

func TestWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	old := config(another)
	for name, tt := range map[string]struct {
		next pusher.Config
		want []string
	}{
		"nothing":            {config(another, app(func(a *pusher.App) { a.Secret, a.Key = "changed-secret", "changed" })), nil},
		"more":               {config(another, func(c *pusher.Config) { c.Apps["third"] = pusher.App{} }), nil},
		"one less":           {config(), []string{"apps.another"}},
		"its id":             {config(another, app(func(a *pusher.App) { a.ID = "" })), []string{"apps.main.id"}},
		"the id of its name": {config(another, app(func(a *pusher.App) { a.ID = "1" })), nil},
	} {
		if got := old.NeedsRestart(&tt.next); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
