package pusher_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	w := start(t, another)
	c, other := w.connect(), w.connectTo("another-key")
	idle := func(name string) {
		t.Helper()
		testenv.Eventually(t, name+" is idle", func() bool {
			i := slices.IndexFunc(w.Stats(), func(s pusher.AppStats) bool { return s.Name == name })
			return w.Stats()[i].Connections == 0 && w.hub.Space("pusher/"+map[string]string{"main": "1", "another": "2"}[name]).Len() == 0
		})
	}
	id := app(func(a *pusher.App) { a.ID = "" })
	wants := func(when string, want []string, change ...func(*pusher.Config)) {
		t.Helper()
		next := config(change...)
		if got := w.NeedsRestart(&next); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	wants("nothing", nil, another, app(func(a *pusher.App) { a.Secret, a.Key = "changed-secret", "changed" }))
	wants("more", nil, another, func(c *pusher.Config) { c.Apps["third"] = pusher.App{} })
	wants("one less", []string{"apps.another"})
	wants("its id", []string{"apps.main.id"}, another, id)
	wants("the id of its name", nil, another, app(func(a *pusher.App) { a.ID = "1" }))
	other.Close()
	idle("another")
	wants("one less that is idle", nil)
	w.change()
	late := w.dial("/app/another-key?protocol=7", nil)
	late.wantError(4001, "")
	late.wantClose(4001)
	c.quiet()
	c.Close()
	idle("main")
	wants("the id of an idle app", nil, id)
	w.change(id)
	c = w.connect()
	c.subscribe("room", "")
	if status, answer := w.call("POST", "/apps/main/events", nil, `{"name":"e","channel":"room","data":"x"}`); status != 200 {
		t.Fatal(status, answer)
	}
	c.want("e", "room", nil)
	if status, _ := w.call("POST", "/apps/1/events", nil, `{"name":"e","channel":"room","data":"x"}`); status != 404 {
		t.Errorf("the id of before: %d", status)
	}
	if _, err := w.Change(config(app(func(a *pusher.App) { a.ID, a.Secret = "3", "" })), ws.DefaultLimits()); err == nil {
		t.Error("an app without a secret was taken")
	}

	// Another app takes its id, and its space.
	c.Close()
	testenv.Eventually(t, "main is idle", func() bool { return w.hub.Space("pusher/main").Len() == 0 })
	w.change(func(c *pusher.Config) {
		c.Apps["renamed"] = c.Apps["main"]
		delete(c.Apps, "main")
	}, func(c *pusher.Config) {
		a := c.Apps["renamed"]
		a.ID = "main"
		c.Apps["renamed"] = a
	})
	c = w.connect()
	c.subscribe("room", "")
	if status, answer := w.call("POST", "/apps/main/events", nil, `{"name":"e","channel":"room","data":"x"}`); status != 200 {
		t.Fatal(status, answer)
	}
	c.want("e", "room", nil)
}

// TestWebhooksOfAnAppThatGoes: it may not go while something waits for them.
func TestWebhooksOfAnAppThatGoes(t *testing.T) {
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
	w := start(t, another, app(func(a *pusher.App) {
		h := webhook(hook.URL)
		h.Batch = 1
		a.Webhooks = []pusher.Webhook{h}
	}))
	c := w.connect()
	c.subscribe("a", "")
	c.subscribe("b", "")
	c.Close()
	testenv.Eventually(t, "the client has gone", func() bool { return w.hub.Space("pusher/1").Len() == 0 })
	without := func(c *pusher.Config) { delete(c.Apps, "main") }
	next := config(another, without)
	if got := w.NeedsRestart(&next); !slices.Equal(got, []string{"apps.main"}) {
		t.Errorf("while webhooks wait: %q", got)
	}
	away.Store(false)
	testenv.Eventually(t, "nothing waits", func() bool { return len(w.NeedsRestart(&next)) == 0 })
	w.change(another, without)
	hook.wait(t, "channel_vacated", "b")
}

// limits are some of the app's.
func limits(change func(*pusher.Limits)) func(*pusher.Config) {
	return app(func(a *pusher.App) { change(&a.Limits) })
}

// TestLimitsHoldForThoseWhoAreThere: whoever is connected may what the rules in force say, neither less nor more.
func TestLimitsHoldForThoseWhoAreThere(t *testing.T) {
	t.Parallel()
	small := limits(func(l *pusher.Limits) {
		l.Channels, l.Watchlist, l.ClientEvents, l.EventData, l.MemberData, l.UserID = 2, 1, 1, 1000, 100, 5
	})
	large := limits(func(l *pusher.Limits) {
		l.Channels, l.Watchlist, l.ClientEvents, l.EventData, l.MemberData, l.UserID = 50, 2000, 0, 1<<20, 1<<20, 100
	})
	watchlist := func(n int) string {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprintf(`"u%d"`, i))
		}
		return `{"id":"me","watchlist":[` + strings.Join(ids, ",") + `]}`
	}
	large1 := strings.Repeat("a", 1<<19)

	t.Run("raised", func(t *testing.T) {
		t.Parallel()
		w := start(t, small)
		c, other := w.connect(), w.connect()
		w.change(large)
		c.signin(watchlist(1500))
		c.want("pusher:signin_success", "", nil)
		var news struct {
			Events []struct {
				UserIDs []string `json:"user_ids"`
			}
		}
		c.want("pusher_internal:watchlist_events", "", &news)
		if n := len(news.Events[0].UserIDs); n != 1500 {
			t.Errorf("%d users are watched", n)
		}
		for i := range 50 {
			c.subscribe(fmt.Sprint("private-", i), "")
		}
		c.ask("room", "")
		c.wantDenied("room", 403, "50 channels")
		other.subscribe("private-1", "")
		for range 20 {
			c.send("client-x", "private-1", "small")
		}
		c.send("client-x", "private-1", large1)
		for range 20 {
			other.want("client-x", "private-1", nil)
		}
		if got := other.want("client-x", "private-1", nil); got.text() != large1 {
			t.Errorf("%d bytes came", len(got.text()))
		}
		other.subscribe("presence-x", `{"user_id":"a long name","user_info":"`+large1+`"}`)
	})

	t.Run("lowered", func(t *testing.T) {
		t.Parallel()
		w := start(t, large)
		c, other := w.connect(), w.connect()
		c.signin(watchlist(1500))
		c.want("pusher:signin_success", "", nil)
		c.want("pusher_internal:watchlist_events", "", nil)
		for i := range 5 {
			c.subscribe(fmt.Sprint("private-", i), "")
		}
		w.change(small)
		c.ask("room", "")
		c.wantDenied("room", 403, "2 channels")
		c.send("client-x", "private-1", large1)
		c.wantError(4301, "larger than 1000")
		c.send("client-x", "private-1", "x")
		c.wantError(4301, "1 events a second")
		for i := range 4 {
			c.send("pusher:unsubscribe", "", map[string]any{"channel": fmt.Sprint("private-", i)})
		}
		c.subscribe("room", "") // those whom it watches do not count
		other.signin(watchlist(2))
		other.want("pusher:signin_success", "", nil)
		other.wantError(4302, "more than 1 users")
		other.want("pusher_internal:watchlist_events", "", nil)
		other.ask("presence-x", `{"user_id":"a long name"}`)
		other.wantDenied("presence-x", 403, "longer than 5 characters")
		other.ask("presence-x", `{"user_id":"a","user_info":"`+large1+`"}`)
		other.wantDenied("presence-x", 403, "larger than 100")
		w.change(limits(func(l *pusher.Limits) { l.ClientEvents = 0 }))
		for range 20 {
			c.send("client-x", "private-4", "x")
		}
		c.quiet()
	})
}

// TestCacheKeepsItsTime: what was published is kept for as long as was said then.
func TestCacheKeepsItsTime(t *testing.T) {
	t.Parallel()
	ttl := func(d time.Duration) func(*pusher.Config) { return app(func(a *pusher.App) { a.CacheTTL = d }) }
	w := start(t, ttl(time.Minute))
	w.trigger("cache-x", "e", "{}")
	w.change(ttl(time.Hour))
	w.trigger("cache-y", "e", "{}")
	for channel, most := range map[string]int{"cache-x": 60, "cache-y": 3600} {
		var answer struct{ Cache struct{ TTL int } }
		check(t, json.Unmarshal([]byte(w.api("GET", "channels/"+channel, "", "info", "cache")), &answer))
		if got := answer.Cache.TTL; got > most || got < most-30 {
			t.Errorf("%s is kept for %d s more, want %d", channel, got, most)
		}
	}
}

func TestRefusedURLIsNotShown(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"ftp://u:hunter2@h/", "u:hunter2@h/", "http://u:hunter2@h:port/", "https:/u:hunter2@h"} {
		err := config(app(func(a *pusher.App) { a.Webhooks = []pusher.Webhook{webhook(bad)} })).Validate()
		if err == nil || !strings.Contains(err.Error(), "apps.main.webhooks[0].url: must be a URL such as") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
