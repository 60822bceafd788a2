package pusher_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/pusher"
)

func TestPublicChannel(t *testing.T) {
	t.Parallel()
	w := start(t)
	a, b := w.connect(), w.connect()
	a.subscribe("news", "")
	b.subscribe("news", "")
	w.api("POST", "events", `{"name":"posted","channels":["news","other"],"data":"{\"id\":7,\"t\":\"é\"}","socket_id":"`+b.id+`"}`)
	if f := a.want("posted", "news", nil); f.text() != `{"id":7,"t":"é"}` || f.UserID != "" {
		t.Errorf("%+v", f)
	}
	b.quiet()
	a.send("pusher:unsubscribe", "", map[string]any{"channel": "news"})
	a.quiet()
	w.trigger("news", "again", "x")
	if f := b.want("again", "news", nil); f.text() != "x" {
		t.Errorf("%+v", f)
	}
	a.quiet()
}

func TestPrivateChannelWantsASignature(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect()
	for _, auth := range []any{nil, "", "x", key + ":", "other:" + mac(c.id+":private-a"), key + ":" + mac("1.2:private-a"), key + ":" + mac(c.id+":private-b")} {
		c.send("pusher:subscribe", "", map[string]any{"channel": "private-a", "auth": auth})
		c.wantDenied("private-a", 401, "private-a")
	}
	c.subscribe("private-a", "")
	w.trigger("private-a", "e", "{}")
	c.want("e", "private-a", nil)
	c.ask("private-a", "")
	c.wantError(0, "Existing subscription to channel private-a") // and no pusher:subscription_error: the first one holds
	w.trigger("private-a", "once", "{}")
	c.want("once", "private-a", nil)
	c.quiet()
}

func TestPresence(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.Limits.Members = 2 }))
	ada, bob, bob2 := w.connect(), w.connect(), w.connect()

	var block struct {
		Presence struct {
			Count int
			IDs   []string
			Hash  map[string]any
		}
	}
	f := ada.subscribe("presence-room", `{"user_id":"ada","user_info":{"name":"Ada \"L\""}}`)
	check(t, json.Unmarshal([]byte(f.text()), &block))
	if fmt.Sprint(block) != `{{1 [ada] map[ada:map[name:Ada "L"]]}}` {
		t.Error(block)
	}
	f = bob.subscribe("presence-room", `{"user_id":10}`)
	check(t, json.Unmarshal([]byte(f.text()), &block))
	if fmt.Sprint(block) != `{{2 [ada 10] map[10:map[] ada:map[name:Ada "L"]]}}` {
		t.Error(block)
	}
	if f := ada.want("pusher_internal:member_added", "presence-room", nil); f.text() != `{"user_id":"10","user_info":{}}` {
		t.Errorf("%+v", f)
	}
	bob2.subscribe("presence-room", `{"user_id":"10"}`)
	ada.quiet() // the user was there

	eve := w.connect()
	eve.ask("presence-room", `{"user_id":"eve"}`)
	eve.wantDenied("presence-room", 403, "2 members")
	for _, data := range []string{`{}`, `{"user_id":""}`, `{"user_id":{}}`, `x`, `{"user_id":"` + strings.Repeat("x", 129) + `"}`, `{"user_id":"x","user_info":"` + strings.Repeat("x", 2100) + `"}`} {
		eve.ask("presence-room", data)
		eve.wantError(0, "")
		eve.want("pusher:subscription_error", "presence-room", nil)
	}
	eve.ask("presence-room", "")
	eve.wantDenied("presence-room", 400, "channel_data")

	if got := w.api("GET", "channels/presence-room/users", ""); got != `{"users":[{"id":"ada"},{"id":"10"}]}` {
		t.Error(got)
	}
	bob.Close()
	ada.quiet()
	bob2.send("pusher:unsubscribe", "", map[string]any{"channel": "presence-room"})
	if f := ada.want("pusher_internal:member_removed", "presence-room", nil); f.text() != `{"user_id":"10"}` {
		t.Errorf("%+v", f)
	}
}

func TestClientEvents(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.Limits.ClientEvents = 4; a.Limits.EventData = 1000 }))
	a, b, c := w.connect(), w.connect(), w.connect()
	a.subscribe("presence-x", `{"user_id":"ada"}`)
	b.subscribe("presence-x", `{"user_id":"bob"}`)
	a.want("pusher_internal:member_added", "presence-x", nil)
	a.send("client-typing", "presence-x", map[string]any{"on": true})
	if f := b.want("client-typing", "presence-x", nil); f.text() != `{"on":true}` || f.UserID != "ada" {
		t.Errorf("%+v", f)
	}
	a.send("client-typing", "presence-x", "just text")
	if f := b.want("client-typing", "presence-x", nil); f.text() != "just text" {
		t.Errorf("%+v", f)
	}
	a.quiet()

	c.send("client-x", "presence-x", 1)
	c.wantError(4301, "not subscribed")
	c.subscribe("public", "")
	c.send("client-x", "public", 1)
	c.wantError(4301, "private and presence")
	c.send("client-x", "#server-to-user-1", 1)
	c.wantError(4301, "nobody but the back end")
	for _, channel := range []string{"private-encrypted-x", "private-encrypted-cache-x"} { // what a client sends there is not encrypted
		c.subscribe(channel, "")
		if strings.Contains(channel, "cache") {
			c.want("pusher:cache_miss", channel, nil)
		}
		c.send("client-x", channel, 1)
		c.wantError(4301, "encrypted")
	}
	c.send("not-client", "presence-x", 1)
	c.wantError(0, "Unknown event")
	a.send("client-x", "presence-x", strings.Repeat("x", 1001))
	a.wantError(4301, "larger than")
	a.send("client-"+strings.Repeat("x", 200), "presence-x", 1)
	a.wantError(4301, "longer than")
	a.send("client-x", "presence-x", 1) // the 4th that counts
	a.send("client-x", "presence-x", 2)
	a.wantError(4301, "rate limit")
	b.want("client-x", "presence-x", nil)
	b.quiet()
}

func TestWhoMaySendClientEvents(t *testing.T) {
	t.Parallel()
	off := start(t, app(func(a *pusher.App) { a.ClientEvents = "off" }))
	c := off.connect()
	c.subscribe("private-x", "")
	c.send("client-x", "private-x", 1)
	c.wantError(4301, "does not allow")
	members := start(t, app(func(a *pusher.App) { a.ClientEvents = "members" }))
	a, b := members.connect(), members.connect()
	a.subscribe("open", "")
	b.subscribe("open", "")
	a.send("client-x", "open", 1)
	b.want("client-x", "open", nil)
}

func TestCacheChannel(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := start(t, app(func(a *pusher.App) { a.Webhooks = []pusher.Webhook{webhook(hook.URL)} }))
	a := w.connect()
	a.subscribe("private-cache-c", "")
	a.want("pusher:cache_miss", "private-cache-c", nil)
	hook.wait(t, "cache_miss", "private-cache-c")
	w.trigger("private-cache-c", "old", "1")
	w.trigger("private-cache-c", "price", `{"eur":2}`)
	a.want("old", "private-cache-c", nil)
	a.want("price", "private-cache-c", nil)
	a.send("client-x", "private-cache-c", 1) // is not kept

	b := w.connect()
	b.subscribe("private-cache-c", "")
	if f := b.want("price", "private-cache-c", nil); f.text() != `{"eur":2}` {
		t.Errorf("%+v", f)
	}
	b.quiet()
	got := w.api("GET", "channels/private-cache-c", "", "info", "cache,subscription_count")
	if got != `{"cache":{"data":"{\"eur\":2}","ttl":1799},"occupied":true,"subscription_count":2}` &&
		got != `{"cache":{"data":"{\"eur\":2}","ttl":1800},"occupied":true,"subscription_count":2}` {
		t.Error(got)
	}
	if got := w.api("GET", "channels/cache-none", "", "info", "cache"); got != `{"cache":null,"occupied":false}` {
		t.Error(got)
	}
}

func TestSigninAndUserChannel(t *testing.T) {
	t.Parallel()
	w := start(t)
	c, other := w.connect(), w.connect()
	c.send("pusher:subscribe", "", map[string]any{"channel": "#server-to-user-7"})
	c.wantDenied("#server-to-user-7", 401, "has not signed in")
	c.send("pusher:signin", "", map[string]any{"auth": key + ":" + mac("x"), "user_data": `{"id":"7"}`})
	c.wantError(4009, "signature")
	c.signin(`{"name":"x"}`)
	c.wantError(4009, "no id")
	c.signin(`{"id":"7","user_info":{"n":1}}`)
	var success struct {
		UserData string `json:"user_data"`
	}
	c.want("pusher:signin_success", "", &success)
	if success.UserData != `{"id":"7","user_info":{"n":1}}` {
		t.Error(success)
	}
	c.signin(`{"id":"8"}`)
	c.wantError(4009, "another user")
	c.send("pusher:subscribe", "", map[string]any{"channel": "#server-to-user-8"})
	c.wantDenied("#server-to-user-8", 401, "has not signed in")
	c.subscribe("#server-to-user-7", "")
	w.trigger("#server-to-user-7", "hello", "you")
	c.want("hello", "#server-to-user-7", nil)
	c.subscribe("presence-p", "") // as the user
	if got := w.api("GET", "channels/presence-p/users", ""); got != `{"users":[{"id":"7"}]}` {
		t.Error(got)
	}
	if got := w.api("GET", "channels", ""); got != `{"channels":{"presence-p":{}}}` {
		t.Error(got) // channels of users are nobody's business
	}
	w.api("POST", "users/7/terminate_connections", "{}")
	c.wantError(4009, "disconnected")
	c.wantClose(4009)
	other.quiet()
}

func TestWatchlist(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.Limits.Watchlist = 3 }))
	ada, bob, bob2 := w.connect(), w.connect(), w.connect()
	ada.signin(`{"id":"ada","watchlist":["bob","eve","bob","ada"]}`)
	ada.want("pusher:signin_success", "", nil)
	if f := ada.want("pusher_internal:watchlist_events", "", nil); f.text() != `{"events":[{"name":"online","user_ids":["ada"]},{"name":"offline","user_ids":["bob","eve"]}]}` {
		t.Errorf("%+v", f)
	}
	bob.signin(`{"id":"bob","watchlist":["ada",1,2,3]}`)
	bob.want("pusher:signin_success", "", nil)
	bob.wantError(4302, "ada, 1, 2")
	if f := bob.want("pusher_internal:watchlist_events", "", nil); f.text() != `{"events":[{"name":"online","user_ids":["ada"]},{"name":"offline","user_ids":["1","2"]}]}` {
		t.Errorf("%+v", f)
	}
	if f := ada.want("pusher_internal:watchlist_events", "", nil); f.text() != `{"events":[{"name":"online","user_ids":["bob"]}]}` {
		t.Errorf("%+v", f)
	}
	bob2.signin(`{"id":"bob"}`)
	bob2.want("pusher:signin_success", "", nil)
	bob2.quiet() // what follows the answer is done
	ada.quiet()
	bob2.Close()
	bob.Close()
	if f := ada.want("pusher_internal:watchlist_events", "", nil); f.text() != `{"events":[{"name":"offline","user_ids":["bob"]}]}` {
		t.Errorf("%+v", f)
	}
	ada.send("pusher:subscribe", "", map[string]any{"channel": "#online-bob"})
	ada.wantDenied("#online-bob", 400, "Invalid channel")
	if got := w.api("GET", "channels", ""); got != `{"channels":{}}` {
		t.Error(got)
	}
}

func TestSubscriptionCount(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := start(t, app(func(a *pusher.App) {
		a.SubscriptionCount = true
		h := webhook(hook.URL)
		h.Events = []string{"subscription_count"}
		a.Webhooks = []pusher.Webhook{h}
	}))
	a := w.connect()
	a.subscribe("room", "")
	if f := a.want("pusher_internal:subscription_count", "room", nil); f.text() != `{"subscription_count":1}` {
		t.Errorf("%+v", f)
	}
	b := w.connect()
	b.subscribe("room", "")
	for _, c := range []*client{a, b} {
		if f := c.want("pusher_internal:subscription_count", "room", nil); f.text() != `{"subscription_count":2}` {
			t.Errorf("%+v", f)
		}
	}
	b.Close()
	if f := a.want("pusher_internal:subscription_count", "room", nil); f.text() != `{"subscription_count":1}` {
		t.Errorf("%+v", f)
	}
	hook.wait(t, "subscription_count", "room")
	a.subscribe("presence-p", `{"user_id":"1"}`)
	a.quiet()
}

func TestWhoMayConnect(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *pusher.Config) {
		add := func(name string, change func(*pusher.App)) {
			a := c.Apps["main"]
			a.ID, a.Key = name, name
			change(&a)
			c.Apps[name] = a
		}
		add("off", func(a *pusher.App) { a.Enabled = false })
		add("tls", func(a *pusher.App) { a.TLSOnly = true })
		add("one", func(a *pusher.App) { a.Limits.Connections = 1 })
		add("pages", func(a *pusher.App) { a.AllowedOrigins = []string{"*.good.example"} })
		c.Connections = 3
	})
	refused := func(path string, header http.Header, code int, says string) {
		t.Helper()
		c := w.dial(path, header)
		c.wantError(code, says)
		c.wantClose(code)
	}
	refused("/app/nobody?protocol=7", nil, 4001, `App key "nobody" not in this server`)
	refused("/app/nobody/x?protocol=7", nil, 4005, "Path not found")
	refused("/app/", nil, 4005, "Path not found")
	refused("/app/app-key?protocol=x", nil, 4006, "version")
	refused("/app/app-key?protocol=4", nil, 4007, "version 4")
	refused("/app/app-key?protocol=8", nil, 4007, "version 8")
	refused("/app/app-key", nil, 4008, "No protocol")
	refused("/app/off?protocol=7", nil, 4003, "disabled")
	refused("/app/tls?protocol=7", nil, 4000, "SSL")
	refused("/app/pages?protocol=7", http.Header{"Origin": {"https://evil.example"}}, 4009, "origin")

	w.connectTo("one")
	refused("/app/one?protocol=7", nil, 4004, "quota")
	page := w.dial("/app/pages?protocol=6", http.Header{"Origin": {"https://a.good.example"}})
	page.want("pusher:connection_established", "", nil)
	w.connect()
	refused("/app/app-key?protocol=7", nil, 4100, "Over capacity")
	page.Close()
	testenv.Eventually(t, "room for another connection", func() bool { // the end of a connection is seen a moment later
		c := w.dial("/app/app-key?protocol=7", nil)
		return c.next().Event == "pusher:connection_established"
	})
}

func TestNonsenseIsAnswered(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.Limits.Channels = 2; a.Limits.ChannelName = 20 }))
	c := w.connect()
	for _, text := range []string{
		``, `x`, `[]`, `{}`, `{"event":1}`, `{"event":"x"`, `{"event":"pusher:subscribe"}`, `{"event":"pusher:subscribe","data":7}`, `{"event":"pusher:subscribe","data":"x"}`,
		`{"event":"pusher:subscribe","data":{"channel":1}}`, `{"event":"pusher:unsubscribe","data":[]}`, `{"event":"pusher:signin","data":1}`,
		`{"event":"x","data":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		c.sendRaw(text)
		c.wantError(4200, "Invalid message format")
	}
	for _, channel := range []string{"", "a b", "a/b", "#x", "é", strings.Repeat("x", 21)} {
		c.ask(channel, "")
		c.wantDenied(channel, 400, "Invalid channel")
	}
	c.sendRaw(`{"event":"pusher:subscribe","data":"{\"channel\":\"a\"}"}`)
	c.want("pusher_internal:subscription_succeeded", "a", nil)
	c.subscribe("b", "")
	c.ask("c", "")
	c.wantDenied("c", 403, "2 channels")
	c.send("pusher:unsubscribe", "", map[string]any{"channel": "a"})
	c.send("pusher:unsubscribe", "", map[string]any{"channel": "a"})
	c.subscribe("c", "")
	c.sendRaw(`{"event":"pusher:pong"}`)
	c.quiet()
	check(t, c.WriteMessage(websocket.BinaryMessage, []byte(`{"event":"pusher:ping"}`)))
	c.wantClose(1003)

	big := w.connect()
	big.sendRaw(`{"event":"client-x","data":"` + strings.Repeat("x", 100<<10) + `"}`)
	big.wantClose(1009)
}

func TestSilentClientsAreClosed(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.ActivityTimeout = time.Second; a.PongTimeout = time.Second }))
	c := w.dial("/app/app-key?protocol=7", nil)
	c.SetPingHandler(func(string) error { return nil }) // it does not answer
	c.want("pusher:connection_established", "", nil)
	c.wantClose(4201)
}

func TestStrangersAreClosed(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.SigninTimeout = 500 * time.Millisecond }))
	stranger, user, member := w.connect(), w.connect(), w.connect()
	stranger.subscribe("public", "")
	user.signin(`{"id":"1"}`)
	user.want("pusher:signin_success", "", nil)
	member.subscribe("private-x", "")
	stranger.wantError(4009, "not authorized within timeout")
	stranger.wantClose(4009)
	user.quiet()
	member.quiet()
}

func TestAppsAreApart(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *pusher.Config) {
		a := c.Apps["main"]
		a.ID, a.Key = "2", "second"
		c.Apps["second"] = a
	})
	a, b := w.connect(), w.connectTo("second")
	a.subscribe("news", "")
	b.subscribe("news", "")
	w.trigger("news", "e", "1")
	a.want("e", "news", nil)
	b.quiet()
	if status, text := w.call("POST", "/apps/2/events", nil, `{"name":"e","channel":"news","data":"1"}`); status != 401 || !strings.Contains(text, "auth_key") {
		t.Errorf("the key of one app works for another: %d %s", status, text)
	}
	testenv.Eventually(t, "the refused call is counted", func() bool { return w.Stats()[1].CallsFailed == 1 })
	stats := w.Stats()
	if len(stats) != 2 || stats[0].Name != "main" || stats[0].Published != 1 || stats[1].Connections != 1 || stats[1].CallsFailed != 1 {
		t.Errorf("%+v", stats)
	}
}

func TestRestartTellsClientsToComeBack(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect()
	go func() { // ends with the test's cleanup, which stops again
		_ = w.hub.Stop(t.Context())
	}()
	c.wantClose(4200)
}
