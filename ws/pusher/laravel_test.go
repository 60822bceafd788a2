package pusher_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/exampleapp"
	"github.com/edge-server/edge/internal/testenv"
)

// A whole Laravel application in one worker: the driver "edge", routes/channels.php, toOthers().
func TestLaravelApplication(t *testing.T) {
	t.Parallel()
	testenv.PHP(t)
	if exampleapp.Missing("laravel") {
		testenv.Missing(t, "laravel of Debian's packages", exampleapp.Packages["laravel"])
	}
	dir := testenv.Dir(t)
	check(t, exampleapp.Install(testenv.Root(t), "laravel", dir, "ws/pusher/testdata/laravel"))
	s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{php: app}]}
rpc: {}
php:
  app:
    dir: %q
    command: [php, vendor/bin/edge-laravel]
    env: {PUSHER_APP_KEY: %s, PUSHER_APP_SECRET: %s}
    workers: {min: 1, max: 1}
    boot_timeout: 30s
    %s
ws: {pusher: {apps: {main: {key: %s, secret: %s}}}}
`, dir, key, secret, asOwner(), key, secret))
	m := s.Modes(t)[0]
	ask := func(user, channel, socket string) (int, string) {
		t.Helper()
		form := url.Values{"channel_name": {channel}, "socket_id": {socket}}.Encode()
		req, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+"/broadcasting/auth", strings.NewReader(form))
		check(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if user != "" {
			req.Header.Set("X-User", user)
		}
		resp, body := m.Do(t, req)
		return resp.StatusCode, body
	}

	// More than one request: what the boot has made outlives each.
	var clients []*client
	for _, user := range []string{"ada", "bob"} {
		c := dialEdge(t, s)
		for _, channel := range []string{"private-room.7", "presence-room.7"} {
			status, body := ask(user, channel, c.id)
			if status != 200 {
				t.Fatalf("%s: %d %.500s", channel, status, body)
			}
			data := object{}
			check(t, json.Unmarshal([]byte(body), &data))
			data["channel"] = channel
			c.send("pusher:subscribe", "", data)
			c.want("pusher_internal:subscription_succeeded", channel, nil)
		}
		clients = append(clients, c)
	}
	ada, bob := clients[0], clients[1]
	if f := ada.want("pusher_internal:member_added", "presence-room.7", nil); f.text() != `{"user_id":"bob","user_info":{"name":"bob","room":"7"}}` {
		t.Errorf("%+v", f)
	}
	for _, denied := range [][2]string{{"", "private-room.7"}, {"ada", "private-other"}, {"ada", ""}} {
		if status, body := ask(denied[0], denied[1], ada.id); status != 403 {
			t.Errorf("%q: %d %.300s", denied, status, body)
		}
	}

	req, err := http.NewRequestWithContext(t.Context(), "GET", m.URL+"/move?x=3", nil)
	check(t, err)
	req.Header.Set("X-Socket-ID", ada.id)
	if resp, body := m.Do(t, req); resp.StatusCode != 200 {
		t.Fatalf("%d %.500s", resp.StatusCode, body)
	}
	if f := bob.want(`App\Events\Moved`, "presence-room.7", nil); f.text() != `{"x":3}` {
		t.Errorf("%+v", f)
	}
	ada.quiet()
}
