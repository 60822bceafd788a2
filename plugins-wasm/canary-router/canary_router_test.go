package canaryrouter_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

func config(script, canaries string) string {
	return `
http:
  routers: [canary-router]
  routes:
    - {name: canary, match: {host: only-by-name.test}, respond: canary}
    - {name: stable, respond: stable}
plugins: {dir: "", modules: {canary-router: {file: ` + script + `, config: ` + canaries + `}}}`
}

func ask(t *testing.T, m edgetest.Mode, path string, header ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	_, body := m.Do(t, req)
	return body
}

func TestCanary(t *testing.T) {
	t.Parallel()
	script := plugintest.JS(t, "canary-router")

	t.Run("who", func(t *testing.T) {
		t.Parallel()
		s := edgetest.Start(t, config(script, `{canaries: [{path: /all, weight: 100, to: canary}, {path: /off/, weight: 0, to: canary}, {path: /shop, host: Shop.test, weight: 100, to: canary}, {path: /mute, weight: 100, to: canary, header: ""}]}`))
		s.Run(t, func(t *testing.T, m edgetest.Mode) {
			for _, c := range []struct {
				path   string
				header []string
				want   string
			}{
				{"/", nil, "stable"},
				{"/all", nil, "canary"},
				{"/all/x?y", nil, "canary"},
				{"/alles", nil, "stable"},
				{"//all", nil, "canary"},
				{"/x/../all", nil, "canary"},
				{"/x/%2e%2E/all/", nil, "canary"},
				{"/%61ll/./y?z", nil, "canary"},
				{"/all/../x", nil, "stable"},
				{"/all%FF", nil, "stable"},
				{"/%61ll/%FF", nil, "canary"},
				{"/all", []string{"X-Canary", "never"}, "stable"},
				{"/off/x", nil, "stable"},
				{"/off/x", []string{"X-Canary", "Always"}, "canary"},
				{"/off/x", []string{"X-Canary", "perhaps"}, "stable"},
				{"/shop", nil, "stable"},
				{"/shop", []string{"Host", "shop.test:8080"}, "canary"},
				{"/mute", []string{"X-Canary", "never"}, "canary"},
			} {
				if got := ask(t, m, c.path, c.header...); got != c.want {
					t.Errorf("%s %v: %s, want %s", c.path, c.header, got, c.want)
				}
			}
		})
	})

	t.Run("weight", func(t *testing.T) {
		t.Parallel()
		m := edgetest.Start(t, config(script, `{canaries: [{weight: 25, to: canary}]}`)).Modes(t)[0]
		const n = 400
		canary := 0
		for range n {
			if ask(t, m, "/") == "canary" {
				canary++
			}
		}
		if canary < 50 || canary > 150 { // 5.8 standard deviations
			t.Errorf("%d of %d requests went to the canary, want some 100", canary, n)
		}
	})

	t.Run("by address", func(t *testing.T) {
		t.Parallel()
		m := edgetest.Start(t, config(script, `{canaries: [{weight: 50, to: canary, by: address}]}`)).Modes(t)[0]
		first := ask(t, m, "/")
		for range 50 {
			m.Client.CloseIdleConnections() // another port of the same address
			if got := ask(t, m, "/"); got != first {
				t.Fatalf("one address was sent to %s and to %s", first, got)
			}
		}
	})

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		for canaries, want := range map[string]string{
			`{}`:                            "config.canaries: must be a list of 1 to 50 canaries",
			`text`:                          "config: must be a map with canaries",
			`{"canary": []}`:                "config.canary: there is no such key",
			`{"canaries": [{"to": "a"}]}`:   "config.canaries[0].weight: must be a number from 0 to 100",
			`{"canaries": [{"weight": 1}]}`: "config.canaries[0]: needs either to (a route) or pool",
			`{"canaries": [{"weight": 101, "to": "a"}]}`:                  "config.canaries[0].weight: must be a number from 0 to 100",
			`{"canaries": [{"weight": 1, "to": "a", "path": "/%62//c"}]}`: `config.canaries[0].path: "/%62//c" matches nothing: it is compared with decoded and resolved paths; write "/b/c"`,
			`{"canaries": [{"weight": 1, "to": "a", "path": "b"}]}`:       `config.canaries[0].path: "b" does not begin with /`,
			`{"canaries": [{"weight": 1, "to": "a", "by": "user"}]}`:      `config.canaries[0].by: "user" is none of: request, address`,
			`{"canaries": [{"weight": 1, "to": "a", "wait": 1}]}`:         "config.canaries[0].wait: there is no such key",
			`{"canaries": [{"weight": 1, "to": "a", "header": 1}]}`:       "config.canaries[0].header: must be a text",
		} {
			_, err := plugintest.TryLoad(t, script, canaries)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %s", canaries, err, want)
			}
		}
	})
}
