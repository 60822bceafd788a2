package maintenance_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

type entry map[string]any

func request(path, peer, accept string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = peer
	r.Header.Set("Accept", accept)
	return r
}

func TestMaintenance(t *testing.T) {
	t.Parallel()
	module := plugintest.Zig(t, "maintenance")
	p := plugintest.Load(t, module, entry{
		"addresses": []any{"10.0.0.0/8", "2001:db8::1"}, "paths": []any{"/health", "/status/*"},
		"title": "Back <soon>", "message": `at "ten"`, "retry_after": 90,
	})
	for _, c := range []struct {
		path, peer string
		passes     bool
	}{
		{"/", "192.0.2.1:80", false},
		{"/", "10.9.8.7:80", true},
		{"/", "[::ffff:10.9.8.7]:80", true},
		{"/", "[2001:db8::1]:80", true},
		{"/", "[2001:db8::2]:80", false},
		{"/health?x", "192.0.2.1:80", true},
		{"/health/x", "192.0.2.1:80", false},
		{"/status/x/y", "192.0.2.1:80", true},
		{"/status", "192.0.2.1:80", false},
		{"/status/../admin", "192.0.2.1:80", false},
		{"/status/%2e%2e/admin", "192.0.2.1:80", false},
		{"/status", "@", false},
	} {
		res, passed := p.Do(request(c.path, c.peer, "text/html"), nil)
		if (passed != nil) != c.passes {
			t.Errorf("%s from %s: passed %v, want %v", c.path, c.peer, passed != nil, c.passes)
		}
		if !c.passes && (res.Code != 503 || res.Header().Get("Retry-After") != "90" || res.Header().Get("Cache-Control") != "no-store") {
			t.Errorf("%s from %s: %d %v", c.path, c.peer, res.Code, res.Header())
		}
	}
	res, _ := p.Do(request("/", "192.0.2.1:80", "text/html,*/*"), nil)
	if body := res.Body.String(); !strings.Contains(body, "<h1>Back &lt;soon&gt;</h1>") || !strings.Contains(body, "at &quot;ten&quot;") || res.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("page: %v\n%s", res.Header(), body)
	}
	var answer struct{ Error, Message string }
	res, _ = p.Do(request("/", "192.0.2.1:80", "application/json"), nil)
	if err := json.Unmarshal(res.Body.Bytes(), &answer); err != nil || answer.Error != "maintenance" || answer.Message != `at "ten"` {
		t.Errorf("JSON: %v %+v\n%s", err, answer, res.Body)
	}

	p = plugintest.Load(t, module, nil)
	if res, passed := p.Do(request("/", "192.0.2.1:80", ""), nil); passed != nil || res.Code != 503 || res.Header().Get("Retry-After") != "600" {
		t.Errorf("without a configuration: %d %v, want 503", res.Code, res.Header())
	}
	p = plugintest.Load(t, module, entry{"status": 500, "retry_after": 0, "html": "<p>mine"})
	if res, _ := p.Do(request("/", "192.0.2.1:80", ""), nil); res.Code != 500 || res.Body.String() != "<p>mine" || res.Header()["Retry-After"] != nil {
		t.Errorf("own page: %d %v %q", res.Code, res.Header(), res.Body)
	}
	p = plugintest.Load(t, module, entry{"enabled": false})
	if _, passed := p.Do(request("/", "192.0.2.1:80", ""), nil); passed == nil {
		t.Error("enabled: false: refused")
	}

	for config, want := range map[string]string{
		`text`:                    "config: must be a map of keys",
		`[]`:                      "config: must be a map of keys",
		`{"on": true}`:            "config.on: there is no such key; there are enabled, addresses,",
		`{"enabled": "yes"}`:      "config.enabled: must be true or false",
		`{"addresses": ["10.0"]}`: `config.addresses: "10.0" is neither an address nor a network`,
		`{"addresses": [1]}`:      "config.addresses: must be a list of texts",
		`{"paths": ["health"]}`:   `config.paths: "health" is no path`,
		`{"paths": ["/a*"]}`:      `config.paths: "/a*" is no path`,
		`{"status": 200}`:         "config.status: must be a whole number from 400 to 599",
		`{"retry_after": "10m"}`:  "config.retry_after: must be a whole number from 0 to 604800",
	} {
		if _, err := plugintest.TryLoad(t, module, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
