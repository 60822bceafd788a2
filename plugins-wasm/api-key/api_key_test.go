package apikey_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

type entry map[string]any

func key(name, secret string) entry {
	return entry{"name": name, "sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(secret)))}
}

func TestNative(t *testing.T) {
	t.Parallel()
	plugintest.RustTests(t, "api-key")
}

func TestAPIKey(t *testing.T) {
	t.Parallel()
	module := plugintest.Rust(t, "api-key")
	keys := []any{key("alice", "s3cret"), key("bob", "päss &=;")}

	for name, c := range map[string]struct {
		config entry
		uri    string
		header http.Header

		status int    // of an answer by the plugin
		client string // else: whose it is
		sees   string // the URI that the rest of the chain sees
		gone   string // a header that it must not see
	}{
		"none":            {config: entry{}, uri: "/", status: 401},
		"header":          {config: entry{}, uri: "/", header: http.Header{"X-Api-Key": {"s3cret"}}, client: "alice", gone: "X-Api-Key"},
		"wrong":           {config: entry{}, uri: "/", header: http.Header{"X-Api-Key": {"s3crets"}}, status: 401},
		"empty":           {config: entry{}, uri: "/", header: http.Header{"X-Api-Key": {""}}, status: 401},
		"hash is no key":  {config: entry{}, uri: "/", header: http.Header{"X-Api-Key": {key("", "s3cret")["sha256"].(string)}}, status: 401},
		"not configured":  {config: entry{}, uri: "/?key=s3cret", status: 401},
		"query":           {config: entry{"from": []any{"query:key"}}, uri: "/a%20b?x=%41&key=p%C3%A4ss+%26%3D%3b&y", client: "bob", sees: "/a%20b?x=%41&y"},
		"cookie":          {config: entry{"from": []any{"cookie:key"}}, uri: "/", header: http.Header{"Cookie": {"key=s3cret"}}, client: "alice", gone: "Cookie"},
		"bearer":          {config: entry{"from": []any{"bearer"}}, uri: "/", header: http.Header{"Authorization": {"bearer s3cret"}}, client: "alice", gone: "Authorization"},
		"claims":          {config: entry{}, uri: "/", header: http.Header{"X-Api-Key": {"s3cret"}, "X-Api-Client": {"root", "admin"}}, client: "alice"},
		"optional":        {config: entry{"optional": true}, uri: "/", header: http.Header{"X-Api-Client": {"root"}}, gone: "X-Api-Client"},
		"optional, wrong": {config: entry{"optional": true}, uri: "/", header: http.Header{"X-Api-Key": {"x"}}, status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config["keys"] = keys
			p := plugintest.Load(t, module, c.config)
			r := httptest.NewRequest(http.MethodGet, c.uri, nil)
			for name, values := range c.header {
				r.Header[name] = values
			}
			res, passed := p.Do(r, nil)
			if c.status != 0 {
				if res.Code != c.status || passed != nil || res.Header().Get("Www-Authenticate") == "" {
					t.Errorf("%d %v, passed %v; want %d", res.Code, res.Header(), passed != nil, c.status)
				}
				return
			}
			if passed == nil {
				t.Fatalf("refused with %d", res.Code)
			}
			if got := strings.Join(passed.Header["X-Api-Client"], ","); got != c.client || passed.Vars["api.client"] != c.client {
				t.Errorf("client = %q, variable %q; want %q", got, passed.Vars["api.client"], c.client)
			}
			if c.sees != "" && passed.URI != c.sees {
				t.Errorf("the rest of the chain sees %s, want %s", passed.URI, c.sees)
			}
			if c.gone != "" && passed.Header[c.gone] != nil {
				t.Errorf("the rest of the chain sees %s: %q", c.gone, passed.Header[c.gone])
			}
		})
	}

	t.Run("forward", func(t *testing.T) {
		t.Parallel()
		p := plugintest.Load(t, module, entry{"keys": keys, "forward": true, "header": "X-Who", "variable": "", "realm": "the api"})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if res, _ := p.Do(r, nil); res.Header().Get("Www-Authenticate") != `ApiKey realm="the api"` {
			t.Errorf("challenge = %q", res.Header().Get("Www-Authenticate"))
		}
		r.Header.Set("X-Api-Key", "s3cret")
		if _, passed := p.Do(r, nil); passed == nil || passed.Header.Get("X-Api-Key") != "s3cret" || passed.Header.Get("X-Who") != "alice" || len(passed.Vars) != 0 {
			t.Errorf("passed = %+v", passed)
		}
	})

	for config, want := range map[string]string{
		`{}`: "config.keys: must have at least one entry",
		`{"keys": [{"name": "a", "sha256": "beef"}]}`: "config.keys[0].sha256: must be the SHA-256 of the key",
		`{"keys": "s3cret"}`:                          "config.keys: must be a list",
		`{"keyz": []}`:                                "config.keys: must have at least one entry",
		`[`:                                           "config: must be a map of keys",
	} {
		if _, err := plugintest.TryLoad(t, module, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
