package botfilter_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

const rules = `{"rules": [
	{"name": "ours", "action": "allow", "agents": ["GPTBot/9.9 (friend)"]},
	{"name": "ai", "action": "block", "list": "ai"},
	{"name": "scanners", "action": "block", "list": "scanners", "agents": ["evil*scan/?.*"]},
	{"name": "search", "action": "tag", "list": "search"},
	{"name": "nameless", "action": "tag", "empty": true}], "status": 429}`

func TestBotFilter(t *testing.T) {
	t.Parallel()
	module := plugintest.Zig(t, "bot-filter")
	p := plugintest.Load(t, module, rules)
	for agent, want := range map[string]string{ // "": passes without a tag, "-": blocked
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":    "",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2": "-",
		"GPTBot/9.9 (friend)": "",
		"sqlmap/1.8":          "-",
		"Evil big SCAN/?.7":   "-",
		"not evil scan/?.7":   "",
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": "search",
		"":                                      "nameless",
		" ":                                     "nameless",
		strings.Repeat("x", 100_000) + "GPTBot": "", // looked at as far as any honest robot's goes
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("User-Agent", agent)
		r.Header.Set("X-Bot", "forged")
		res, passed := p.Do(r, nil)
		if want == "-" {
			if passed != nil || res.Code != 429 {
				t.Errorf("%.80q: %d, passed %v; want it blocked", agent, res.Code, passed != nil)
			}
		} else if passed == nil || passed.Header.Get("X-Bot") != want || passed.Vars["bot"] != want {
			t.Errorf("%.80q: %d %+v, want the tag %q", agent, res.Code, passed, want)
		}
	}

	// Patterns and texts that go back as often as can be cost a bounded time.
	worst := `{"rules": [{"name": "x", "action": "block", "agents": [` + strings.TrimSuffix(strings.Repeat(`"*`+strings.Repeat("a", 126)+`b",`, 200), ",") + `]}]}`
	p = plugintest.Load(t, module, worst)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("User-Agent", strings.Repeat("a", 1<<16))
	start := time.Now()
	if res, passed := p.Do(r, nil); passed == nil {
		t.Errorf("worst case: %d after %v: %s", res.Code, time.Since(start), p.Log)
	}
	t.Logf("worst case: %v, %d fuel", time.Since(start), p.Stats().Fuel.Max)

	for config, want := range map[string]string{
		`{}`: "config.rules: must have at least one rule",
		`{"rules": [{"action": "block", "list": "ai"}]}`:                                     "config.rules[0].name: must be 1 to 64",
		`{"rules": [{"name": "x", "list": "ai"}]}`:                                           "config.rules[0].action: must be block, tag or allow",
		`{"rules": [{"name": "x", "action": "drop"}]}`:                                       "config.rules[0].action: must be block, tag or allow",
		`{"rules": [{"name": "x", "action": "tag"}]}`:                                        "config.rules[0]: needs agents, a list, or empty: true",
		`{"rules": [{"name": "x", "action": "tag", "list": "bad"}]}`:                         "config.rules[0].list: must be ai, scanners, seo, search or tools",
		`{"rules": [{"name": "x", "action": "tag", "agents": "x"}]}`:                         "config.rules[0].agents: must be a list",
		`{"rules": [{"name": "x", "action": "tag", "agents": [""]}]}`:                        "config.rules[0].agents: a pattern must have 1 to 128 bytes",
		`{"rules": [{"name": "x", "action": "tag", "agents": ["x"]}], "header": "x y"}`:      "config.header: is no name of a header",
		`{"rules": [{"name": "x", "action": "tag", "agents": ["x"]}], "variable": "edge.x"}`: "config.variable: is no name of a variable",
		`{"rules": [{"name": "x", "action": "tag", "pattern": ["x"]}]}`:                      "config.rules[0].pattern: there is no such key",
	} {
		if _, err := plugintest.TryLoad(t, module, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
