package pusher_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/edge-server/edge/ws/pusher"
)

func TestAPIRefuses(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.Limits.Request = 20000; a.Limits.EventName = 50 }))
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"no JSON":          {"POST", "events", `x`, 400, "not what the API reads: it is not JSON"},
		"half JSON":        {"POST", "events", `{"name":`, 400, "it is not JSON"},
		"a list":           {"POST", "events", `[]`, 400, "reads: it must be an object, not a list"},
		"a list as batch":  {"POST", "batch_events", `[]`, 400, "it must be an object, not a list"},
		"name of a number": {"POST", "events", `{"name":5,"data":"x","channel":"a"}`, 400, "name must be a text, not a number"},
		"channels as text": {"POST", "events", `{"name":"e","data":"x","channels":"a"}`, 400, "channels must be a list, not a text"},
		"no name":          {"POST", "events", `{"channel":"a","data":"x"}`, 400, "no name"},
		"no data":          {"POST", "events", `{"channel":"a","name":"x"}`, 400, "no data"},
		"no channel":       {"POST", "events", `{"name":"a","data":"x"}`, 400, "no channel"},
		"bad channel":      {"POST", "events", `{"name":"a","data":"x","channel":"a b"}`, 400, "a b"},
		"long channel":     {"POST", "events", `{"name":"a","data":"x","channel":"` + strings.Repeat("x", 201) + `"}`, 400, "longer than 200"},
		"long name":        {"POST", "events", `{"name":"` + strings.Repeat("x", 51) + `","data":"x","channel":"a"}`, 400, "longer than 50"},
		"own name":         {"POST", "events", `{"name":"pusher:error","data":"x","channel":"a"}`, 400, "own"},
		"socket":           {"POST", "events", `{"name":"a","data":"x","channel":"a","socket_id":"1"}`, 400, "socket_id"},
		"large data":       {"POST", "events", `{"name":"a","data":"` + strings.Repeat("x", 10241) + `","channel":"a"}`, 413, "larger than"},
		"large body":       {"POST", "events", `{"name":"a","data":"` + strings.Repeat("x", 20001) + `","channel":"a"}`, 413, "limits.request"},
		"many channels":    {"POST", "events", `{"name":"a","data":"x","channels":["a"` + strings.Repeat(`,"a"`, 100) + `]}`, 400, "101 channels"},
		"two encrypted":    {"POST", "events", `{"name":"a","data":"x","channels":["private-encrypted-a","b"]}`, 400, "encrypted"},
		"info":             {"POST", "events", `{"name":"a","data":"x","channel":"a","info":"cache"}`, 400, "no attribute"},
		"large batch":      {"POST", "batch_events", `{"batch":[{"name":"a","data":"x","channel":"a"}` + strings.Repeat(`,{"name":"a","data":"x","channel":"a"}`, 10) + `]}`, 400, "11 events"},
		"empty batch":      {"POST", "batch_events", `{"batch":[]}`, 400, "0 events"},
		"bad in batch":     {"POST", "batch_events", `{"batch":[{"name":"a","data":"x","channel":"a"},{"name":"a","data":"x","channel":"?"}]}`, 400, "batch[1]"},
		"no call":          {"POST", "nothing", `{}`, 404, "no POST nothing"},
		"no user":          {"POST", "users//terminate_connections", `{}`, 404, "no POST"},
		"method":           {"PUT", "events", `{}`, 405, "it has POST"},
		"users of public":  {"GET", "channels/a/users", "", 400, "not a presence channel"},
		"read of a write":  {"GET", "events", "", 405, "no GET events: it has POST"},
		"write of a read":  {"POST", "channels", `{}`, 405, "it has GET"},
		"no read":          {"GET", "users/7", "", 404, "no GET users/7"},
		"bad name of read": {"GET", "channels/a%20b", "", 400, "a b"},
	} {
		status, text := w.call(c.method, "/apps/1/"+c.path, nil, c.body)
		if status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %s, want %d %q", name, status, text, c.status, c.says)
		}
	}
	if status, text := w.call("GET", "/apps/1/channels", url.Values{"info": {"user_count"}}, ""); status != 400 || !strings.Contains(text, "presence-") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := w.call("GET", "/apps/1/channels/a", url.Values{"info": {"user_count"}}, ""); status != 400 || !strings.Contains(text, "user_count") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := w.call("HEAD", "/apps/1/channels", nil, ""); status != 200 || text != "" {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := w.call("GET", "/apps/9/channels", nil, ""); status != 404 {
		t.Error(status)
	}
	if status, _ := w.callRaw("GET", "/apps/1/channels", ""); status != 401 {
		t.Error(status)
	}
	if status, _ := w.callRaw("POST", "/apps/1/events?auth_key=%zz", "{}"); status != 400 {
		t.Error(status)
	}
}

func TestChannelsAndTheirAttributes(t *testing.T) {
	t.Parallel()
	w := start(t)
	a, b := w.connect(), w.connect()
	a.subscribe("news", "")
	b.subscribe("news", "")
	a.subscribe("presence-a", `{"user_id":"1"}`)
	b.subscribe("presence-a", `{"user_id":"1"}`)
	for _, c := range []struct{ path, query, want string }{
		{"channels", "", `{"channels":{"news":{},"presence-a":{}}}`},
		{"channels", "info=subscription_count", `{"channels":{"news":{"subscription_count":2},"presence-a":{"subscription_count":2}}}`},
		{"channels", "filter_by_prefix=presence-&info=user_count", `{"channels":{"presence-a":{"user_count":1}}}`},
		{"channels", "filter_by_prefix=private-", `{"channels":{}}`},
		{"channels/news", "", `{"occupied":true}`},
		{"channels/none", "info=subscription_count", `{"occupied":false,"subscription_count":0}`},
		{"channels/presence-a", "info=user_count", `{"occupied":true,"user_count":1}`},
		{"channels/presence-a", "info=user_count,subscription_count", `{"occupied":true,"subscription_count":2,"user_count":1}`},
		{"connections", "", `{"connections":2}`},
	} {
		query, _ := url.ParseQuery(c.query)
		if status, got := w.call("GET", "/apps/1/"+c.path, query, ""); status != 200 || got != c.want {
			t.Errorf("%s?%s: %d %s, want %s", c.path, c.query, status, got, c.want)
		}
	}
	if got := w.api("POST", "events", `{"name":"e","channels":["news","presence-a","none"],"data":{"as":"object"},"info":"subscription_count, user_count"}`); got !=
		`{"channels":{"news":{"subscription_count":2},"none":{"subscription_count":0},"presence-a":{"subscription_count":2,"user_count":1}}}` {
		t.Error(got)
	}
	if f := a.want("e", "news", nil); f.text() != `{"as":"object"}` {
		t.Errorf("%+v", f)
	}
	a.want("e", "presence-a", nil)
	if got := w.api("POST", "batch_events", `{"batch":[{"name":"x","channel":"news","data":"1","info":"subscription_count"},{"name":"y","channel":"news","data":"2"}]}`); got !=
		`{"batch":[{"subscription_count":2},{}]}` {
		t.Error(got)
	}
	a.want("x", "news", nil)
	a.want("y", "news", nil)
	if got := w.api("POST", "batch_events", `{"batch":[{"name":"x","channel":"news","data":"1"}]}`); got != `{}` {
		t.Error(got)
	}
}

func TestBackEndsAreLimited(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.Limits.Events = 3; a.Limits.Reads = 2 }))
	if status, text := w.call("POST", "/apps/1/events", nil, `{"name":"e","channels":["a","b","c","d"],"data":"1"}`); status != 413 || !strings.Contains(text, "limits.events") { // it would never be let through
		t.Error(status, text)
	}
	w.api("POST", "events", `{"name":"e","channels":["a","b","c"],"data":"1"}`)
	if status, _ := w.call("POST", "/apps/1/events", nil, `{"name":"e","channels":["a","b","c"],"data":"1"}`); status != 429 {
		t.Error(status)
	}
	w.api("GET", "channels", "")
	w.api("GET", "channels", "")
	if status, _ := w.call("GET", "/apps/1/channels", nil, ""); status != 429 {
		t.Error(status)
	}
}

func TestBehindAPrefix(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *pusher.Config) { c.Path = "/rt" }, app(func(a *pusher.App) { a.Enabled = true }))
	c := w.dial("/rt/app/app-key?protocol=7", nil)
	c.want("pusher:connection_established", "", nil)
	if status, text := w.call("GET", "/rt/apps/1/channels", nil, ""); status != 200 {
		t.Error(status, text)
	}
	upgrade := http.Header{"Upgrade": {"websocket"}}
	for _, c := range []struct {
		path   string
		header http.Header
		want   bool
	}{
		{"/rt/app/x", upgrade, true}, {"/rt/app/x", nil, false}, {"/app/x", upgrade, false}, {"/rt/application", upgrade, false}, {"/rt", upgrade, false},
		{"/rt/apps/1/events", nil, true}, {"/rt/apps/1/users/7/terminate_connections", nil, true}, {"/rt/apps/2/events", nil, false},
		{"/rt/apps/1", nil, false}, {"/rt/apps/1/settings", nil, false}, {"/apps/1/events", nil, false},
		{"/rt/apps/2/events?auth_signature=x", nil, true}, {"/rt/apps/1/settings?auth_key=k&auth_signature=x", nil, true},
	} {
		r := httptest.NewRequest("GET", c.path, nil)
		r.Header = c.header
		if w.Handles(r) != c.want {
			t.Errorf("Handles(%q %v) is %v", c.path, c.header, !c.want)
		}
	}
}

func TestMethodsThatAreNotThere(t *testing.T) {
	t.Parallel()
	w := start(t)
	for call, allow := range map[string]string{"events": "POST", "batch_events": "POST", "users/7/terminate_connections": "POST", "channels": "GET, HEAD", "channels/a/users": "GET, HEAD", "connections": "GET, HEAD"} {
		target := w.signed("DELETE", "/apps/1/"+call, nil, "")
		req, err := http.NewRequestWithContext(t.Context(), "DELETE", w.http.URL+target, nil)
		check(t, err)
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		resp.Body.Close()
		if got := resp.Header.Get("Allow"); resp.StatusCode != 405 || got != allow {
			t.Errorf("DELETE %s: %s, Allow: %s, want %s", call, resp.Status, got, allow)
		}
	}
}

func TestAnEventReachesAChannelOnce(t *testing.T) {
	t.Parallel()
	w := start(t, app(func(a *pusher.App) { a.Limits.Events = 2 }))
	c := w.connect()
	c.subscribe("a", "")
	c.subscribe("b", "")
	w.api("POST", "events", `{"name":"e","channels":["a","a","b","a"],"data":"1"}`)
	c.want("e", "a", nil)
	c.want("e", "b", nil)
	c.quiet()
}

func TestClocksInMilliseconds(t *testing.T) {
	t.Parallel()
	w := start(t)
	for stamp, says := range map[string]string{"1790000000000": "milliseconds", "9223372036854775807": "milliseconds", "-5": "seconds since 1970", "0": "off, more than", "x": "seconds since 1970"} {
		status, text := w.callRaw("GET", "/apps/1/channels?auth_key="+key+"&auth_version=1.0&auth_signature=x&auth_timestamp="+stamp, "")
		if status != 401 || !strings.Contains(text, says) || strings.Contains(text, "2562047h") {
			t.Errorf("%s: %d %s", stamp, status, text)
		}
	}
}
