package abrouter_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

func config(script, tests string) string {
	return `
http:
  routers: [ab-router]
  routes:
    - {name: blue, match: {host: only-by-name.test}, respond: blue}
    - {name: red, match: {host: only-by-name.test}, respond: red}
    - {name: rest, respond: rest}
plugins: {dir: "", modules: {ab-router: {file: ` + script + `, config: ` + tests + `}}}`
}

// ask gives the body and the cookie that was set, as NAME=VALUE.
func ask(t *testing.T, m edgetest.Mode, path string, header ...string) (body, cookie string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, body := m.Do(t, req)
	cookie, _, _ = strings.Cut(res.Header.Get("Set-Cookie"), ";")
	return body, cookie
}

func TestAB(t *testing.T) {
	t.Parallel()
	script := plugintest.JS(t, "ab-router")
	const tests = `{tests: [
      {name: colour, path: /shop, variants: [{name: a, weight: 3, to: blue}, {name: b, to: red}, {name: old, weight: 0, to: rest}]},
      {name: home, path: /home, by: "header:x-user", max_age: 0, variants: [{name: as-is}, {name: b, to: red}]}]}`
	body := map[string]string{"colour=a": "blue", "ab-colour=a": "blue", "ab-colour=b": "red", "ab-home=as-is": "rest", "ab-home=b": "red"}

	s := edgetest.Start(t, config(script, tests))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if got, cookie := ask(t, m, "/"); got != "rest" || cookie != "" {
			t.Errorf("/: %s, cookie %q; want rest and none", got, cookie)
		}
		got, cookie := ask(t, m, "/shop")
		if body[cookie] == "" || body[cookie] != got {
			t.Fatalf("/shop: %s with cookie %q", got, cookie)
		}
		for range 10 {
			if again, cookie := ask(t, m, "/shop/x?y", "Cookie", "z=1; "+cookie); again != got || cookie != "" {
				t.Fatalf("with its cookie: %s, cookie %q; want %s and none", again, cookie, got)
			}
		}
		for cookie, want := range map[string]string{"ab-colour=a": "blue", "ab-colour=b": "red"} {
			if got, _ := ask(t, m, "/shop", "Cookie", cookie); got != want {
				t.Errorf("%s: %s, want %s", cookie, got, want)
			}
		}
		for _, path := range []string{"//shop", "/x/../shop", "/%73hop", "/shop/./x"} {
			if got, _ := ask(t, m, path, "Cookie", "ab-colour=b"); got != "red" {
				t.Errorf("%s, which is /shop: %s, want red", path, got)
			}
		}
		for _, cookie := range []string{"ab-colour=old", "ab-colour=nobody", "ab-colour="} {
			if got, now := ask(t, m, "/shop", "Cookie", cookie); body[now] == "" || body[now] != got {
				t.Errorf("%s: %s, cookie %q; want a new one", cookie, got, now)
			}
		}
		for user := range 5 {
			first, cookie := ask(t, m, "/home", "X-User", fmt.Sprint("user", user))
			if again, _ := ask(t, m, "/home", "X-User", fmt.Sprint("user", user)); again != first || cookie != "" {
				t.Errorf("user %d: %s, then %s, cookie %q", user, first, again, cookie)
			}
		}
		if got, cookie := ask(t, m, "/home"); body[cookie] == "" || body[cookie] != got {
			t.Errorf("without the header: %s with cookie %q", got, cookie)
		}
	})

	t.Run("weights", func(t *testing.T) {
		m, count, users := s.Modes(t)[0], map[string]int{}, map[string]int{}
		for i := range 400 {
			got, _ := ask(t, m, "/shop")
			count[got]++
			got, _ = ask(t, m, "/home", "X-User", fmt.Sprint("user", i))
			users[got]++
		}
		if count["red"] < 50 || count["red"] > 150 || count["red"]+count["blue"] != 400 { // 5.8 standard deviations
			t.Errorf("by cookie: %v, want some 300 blue and 100 red", count)
		}
		if users["red"] < 150 || users["red"] > 250 || users["red"]+users["rest"] != 400 { // by hash, so always the same
			t.Errorf("by header: %v, want some 200 each", users)
		}
	})

	t.Run("refused", func(t *testing.T) {
		for tests, want := range map[string]string{
			`{}`:                            "config.tests: must be a list of 1 to 20 tests",
			`{"test": []}`:                  "config.test: there is no such key",
			`{"tests": [1]}`:                "config.tests[0]: must be a map of keys",
			`{"tests": [{"variants": []}]}`: `config.tests[0].name: "" is not`,
			`{"tests": [{"name": "x", "variants": [{"name": "a"}]}]}`:                                          "config.tests[0].variants: must be a list of 2 to 20 variants",
			`{"tests": [{"name": "x", "variants": [{"name": "a"}, {}]}]}`:                                      `config.tests[0].variants[1].name: "" is not`,
			`{"tests": [{"name": "x", "variants": [{"name": "a"}, {"name": "a"}]}]}`:                           "config.tests[0].variants: two of them have one name",
			`{"tests": [{"name": "x", "variants": [{"name": "a", "weight": 0}, {"name": "b", "weight": 0}]}]}`: "config.tests[0].variants: one of them needs a weight above 0",
			`{"tests": [{"name": "x", "variants": [{"name": "a", "weight": -1}, {"name": "b"}]}]}`:             "config.tests[0].variants[0].weight: must be a number",
			`{"tests": [{"name": "x", "by": "user", "variants": []}]}`:                                         `config.tests[0].by: "user" is none of: cookie, address, header:NAME, variable:NAME`,
			`{"tests": [{"name": "x", "cookie": "a b", "variants": []}]}`:                                      `config.tests[0].cookie: "a b" is no name of a cookie`,
			`{"tests": [{"name": "x", "max_age": "1h", "variants": []}]}`:                                      "config.tests[0].max_age: must be a number of seconds",
		} {
			_, err := plugintest.TryLoad(t, script, tests)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %s", tests, err, want)
			}
		}
	})
}
