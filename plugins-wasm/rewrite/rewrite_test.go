package rewrite_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

const rules = `{rules: [
      {path: "/old/{rest...}", redirect: "/{rest}", status: 308},
      {path: "/posts/{slug}.html", redirect: "/blog/{slug}", status: 301},
      {path: "/{year}-{month}/x", rewrite: "/archive?y={year}&m={month}"},
      {path: "/api/v1/{rest...}", rewrite: "/v1/{rest}"},
      {path: /drop, rewrite: /dropped, query: drop},
      {path: /form, methods: [post], redirect: /thanks, status: 307},
      {path: /away, redirect: "https://example.com/a"},
      {path: "/same/{x}", redirect: "/same/{x}"},
      {host: "www.{domain...}", redirect: "https://{domain}{path}", status: 308}]}`

// want is what becomes of a request, //HOST/PATH or a path: "STATUS LOCATION" of a redirect, otherwise the URI that the rest of
// the server sees.
var want = map[string]string{
	"GET /":                         "/",
	"GET /old/a/b?c=d":              "308 /a/b?c=d",
	"GET /old/":                     "308 /",
	"GET /old//evil.example/x":      "308 /evil.example/x",
	"GET /old/%5Cevil.example":      "308 /%5Cevil.example",
	"GET /posts/hello.html":         "301 /blog/hello",
	"GET /posts/a.html.html":        "301 /blog/a.html",
	"GET /posts/.html":              "/posts/.html",
	"GET /posts/a/b.html":           "/posts/a/b.html",
	"GET /2026-11/x?page=2":         "/archive?y=2026&m=11&page=2",
	"GET /2026-11-02/x":             "/archive?y=2026&m=11-02",
	"GET /api/v1/users%2F1?id=%20":  "/v1/users%2F1?id=%20",
	"GET /drop?me":                  "/dropped",
	"GET /form":                     "/form",
	"POST /form":                    "307 /thanks",
	"GET /away?q":                   "302 https://example.com/a?q",
	"GET /same/1":                   "/same/1",
	"GET //www.shop.example/a?b":    "308 https://shop.example/a?b",
	"GET //WWW.shop.example:8080/a": "308 https://shop.example/a",
	"GET //www.shop.example/old/x":  "308 /x",
	"GET //shop.example/a":          "/a",
	"GET //www./a":                  "/a",
	"GET //www.:80/a":               "/a",
}

// config runs the rules as router or as middleware, in front of what says by a redirect which URI it sees.
func config(module, rules string, router bool) string {
	http := `http: {routes: [{use: [rewrite], redirect: {to: "/seen{uri}", status: 307}}]}`
	if router {
		http = `http: {routers: [rewrite], routes: [{redirect: {to: "/seen{uri}", status: 307}}]}`
	}
	return http + "\nplugins: {dir: '', modules: {rewrite: {file: " + module + ", config: " + rules + "}}}"
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	module := plugintest.AssemblyScript(t, "rewrite")

	for name, router := range map[string]bool{"router": true, "middleware": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			edgetest.Start(t, config(module, rules, router)).Run(t, func(t *testing.T, m edgetest.Mode) {
				for line, want := range want {
					method, uri, _ := strings.Cut(line, " ")
					host := ""
					if rest, ok := strings.CutPrefix(uri, "//"); ok {
						host, uri, _ = strings.Cut(rest, "/")
						uri = "/" + uri
					}
					req, err := http.NewRequestWithContext(t.Context(), method, m.URL+uri, nil)
					if err != nil {
						t.Fatal(err)
					}
					if req.Host = host; host == "" {
						req.Host = "shop.example"
					}
					res, _ := m.Do(t, req)
					if !strings.Contains(want, " ") {
						want = "307 /seen" + want
					}
					if got := fmt.Sprint(res.StatusCode, " ", res.Header.Get("Location")); got != want {
						t.Errorf("%s: %s, want %s", line, got, want)
					}
				}
			})
		})
	}

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		for rules, want := range map[string]string{
			`x`:                     "config: must be a map with rules",
			`{}`:                    "config.rules: must be a list of at least one rule",
			`{rulez: []}`:           "config.rulez: there is no such key",
			`{rules: [{path: /a}]}`: "config.rules[0]: needs either rewrite or redirect",
			`{rules: [{path: /a, rewrite: /b}, {redirect: /b}]}`:             "config.rules[1]: needs a path or a host",
			`{rules: [{path: a, rewrite: /b}]}`:                              `config.rules[0].path: "a" does not begin with /`,
			`{rules: [{path: "/{a...}/b", rewrite: /b}]}`:                    "config.rules[0].path: {a...} must be at the end",
			`{rules: [{path: "/{a}{b}", rewrite: /b}]}`:                      "config.rules[0].path: two captures must have a text between them",
			`{rules: [{path: "/*", rewrite: /b}]}`:                           `config.rules[0].path: "/*" has a } or a *`,
			`{rules: [{path: /a, rewrite: "/{b}"}]}`:                         "config.rules[0].rewrite: {b} is captured by neither path nor host",
			`{rules: [{path: /a, rewrite: "https://b"}]}`:                    "config.rules[0].rewrite: must begin with /",
			`{rules: [{path: "/{a...}", redirect: "https://{a}"}]}`:          "config.rules[0].redirect: {a} would let the path choose the host",
			`{rules: [{path: "/{a...}", redirect: "https://b.example{a}"}]}`: "config.rules[0].redirect: {a} would let the path choose the host",
			`{rules: [{path: /a, redirect: "//b.example/"}]}`:                "config.rules[0].redirect: must begin with /, http:// or https://",
			`{rules: [{path: /a, redirect: /b, status: 303}]}`:               "config.rules[0].status: must be 301, 302, 307 or 308",
			`{rules: [{path: /a, rewrite: /b, status: 301}]}`:                "config.rules[0].status: belongs to a redirect",
			`{rules: [{path: /a, redirect: /b, query: none}]}`:               "config.rules[0].query: must be keep or drop",
			`{rules: [{path: /a, redirect: /b, code: 301}]}`:                 "config.rules[0].code: there is no such key",
		} {
			_, err := edgetest.TryStart(t, config(module, rules, false))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %s", rules, err, want)
			}
		}
	})
}
