package pusher_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/edge-server/edge/ws/pusher"
)

func TestServiceForWorkers(t *testing.T) {
	t.Parallel()
	w := start(t)
	service := pusher.NewService(w.Server)
	call := func(method, request string) (string, error) {
		t.Helper()
		req, ok := service.NewRequest(method)
		if !ok {
			t.Fatalf("there is no method %s", method)
		}
		check(t, json.Unmarshal([]byte(request), req))
		answer, err := service.Call(t.Context(), method, req)
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(answer)
		return string(text), err
	}
	a, b := w.connect(), w.connect()
	a.subscribe("presence-x", `{"user_id":"ada"}`)
	b.subscribe("news", "")
	a.signin(`{"id":"ada"}`)
	a.want("pusher:signin_success", "", nil)
	for _, c := range []struct{ method, request, want string }{
		{"Publish", `{"app":"main","name":"e","channels":["news","presence-x"],"data":"{\"n\":1}","socket_id":"` + b.id + `","info":"user_count"}`, `{"channels":{"news":{},"presence-x":{"user_count":1}}}`},
		{"Batch", `{"batch":[{"name":"x","channel":"news","data":"1"},{"name":"y","channel":"news","data":"2"}]}`, `{}`},
		{"Channels", `{"prefix":"presence-","info":"user_count"}`, `{"channels":{"presence-x":{"user_count":1}}}`},
		{"Channel", `{"channel":"news","info":"subscription_count"}`, `{"occupied":true,"subscription_count":1}`},
		{"Users", `{"channel":"presence-x"}`, `{"users":[{"id":"ada"}]}`},
		{"Terminate", `{"user":"ada"}`, `{}`},
	} {
		if got, err := call(c.method, c.request); err != nil || got != c.want {
			t.Errorf("%s: %s %v, want %s", c.method, got, err, c.want)
		}
	}
	if f := a.want("e", "presence-x", nil); f.text() != `{"n":1}` {
		t.Errorf("%+v", f)
	}
	a.wantError(4009, "disconnected")
	b.want("x", "news", nil)
	b.want("y", "news", nil)
	b.quiet()
	for request, says := range map[string]string{
		`{"app":"none","name":"e","channel":"a","data":"x"}`: `pusher.Publish: there is no app "none": ws.pusher.apps has main`,
		`{"name":"e","channel":"a b","data":"x"}`:            "a b",
		`{"channel":"a","data":"x"}`:                         "no name",
	} {
		if _, err := call("Publish", request); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", request, err, says)
		}
	}
	if _, ok := service.NewRequest("Nothing"); ok {
		t.Error("there is a method Nothing")
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := pusher.App{}.Defaults().(pusher.App)
	good.Key, good.Secret = "k", "12345678"
	if err := (pusher.Config{Path: "/rt", Apps: map[string]pusher.App{"a": good}}).Validate(); err != nil {
		t.Fatal(err)
	}
	bad := good
	bad.ID, bad.Key, bad.Secret, bad.AllowedOrigins, bad.ClientEvents = "x/y", "", "short", []string{"http://a/b"}, "some"
	bad.ActivityTimeout, bad.PongTimeout, bad.SigninTimeout, bad.CacheTTL = 0, 0, -1, 0
	bad.Limits = pusher.Limits{Connections: -1}
	bad.Webhooks = []pusher.Webhook{{URL: "ftp://x", Events: []string{"nothing"}, Retry: -1, Headers: map[string]string{"a b": ""}}, {URL: "http://x", Events: []string{}}}
	err := pusher.Config{Path: "rt/", Connections: -1, Apps: map[string]pusher.App{"bad": bad, "one": good, "two": good}}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{
		"path: ", "connections: ", "apps.bad.id: ", "apps.bad.key: ", "apps.bad.secret: ", "apps.bad.allowed_origins[0]: ", "apps.bad.client_events: ",
		"apps.bad.activity_timeout: ", "apps.bad.pong_timeout: ", "apps.bad.signin_timeout: ", "apps.bad.cache_ttl: ", "apps.bad.limits.connections: ",
		"apps.bad.limits.channels: ", "apps.bad.limits.event_data: ", "apps.bad.limits.request: ", "apps.bad.limits.batch: ", "apps.bad.limits.members: ",
		"apps.bad.webhooks[0].url: ", "apps.bad.webhooks[0].events[0]: ", "apps.bad.webhooks[0].batch: ", "apps.bad.webhooks[0].queue: ",
		"apps.bad.webhooks[0].timeout: ", "apps.bad.webhooks[0].retry: ", "apps.bad.webhooks[0].headers: ", "apps.bad.webhooks[1].events: ",
		`apps.two.key: "k" is the key of app one already`,
	} {
		if !strings.Contains(fmt.Sprintf("\n%v", err), "\n"+key) {
			t.Errorf("nothing about %s in\n%v", key, err)
		}
	}
	if strings.Contains(err.Error(), "short") {
		t.Error("the error has the secret")
	}
	if err := (pusher.Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "apps: there is no app") {
		t.Error(err)
	}
}
