package conformance

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// Examples are the five example plugins of one SDK, as paths of modules. One that is empty is left out.
type Examples struct {
	Language string // as hello says it
	Hello    string
	APIKey   string
	Rewrite  string
	Counter  string
	Numbers  string
	Backend  string // the conformance guest: what is behind api-key
}

// RunExamples tests the examples in a whole server, on HTTP/1.1, HTTP/2 and HTTP/3.
func RunExamples(t *testing.T, e Examples) {
	t.Helper()
	for _, example := range []struct {
		name, path, config string
		check              func(*testing.T, edgetest.Mode, *edgetest.Server)
	}{
		{"hello", e.Hello, "http: {routes: [{use: [plugin], respond: hi}]}\nplugins: {dir: '', modules: {plugin: {file: FILE}}}", e.hello},
		{"api-key", e.APIKey, `
http: {routes: [{use: [plugin], wasm: backend}]}
kv: {store: {}}
php: {app: {mode: classic, root: ., user: USER, workers: {min: 1, max: 1}}}
plugins:
  dir: ""
  modules:
    plugin: {file: FILE, config: "one alice\n\ntwo bob the builder\n"}
    backend: {file: BACKEND, config: role=origin, allow: {kv: [store], net: ["tcp://127.0.0.1:*"], publish: [x], php: [app]}}`, apiKey},
		{"rewrite", e.Rewrite, `
http:
  routers: [plugin]
  routes:
    - {name: api, match: {host: nobody.test}, redirect: {to: "/api{uri}", status: 307}}
    - {name: rest, redirect: {to: "/rest{uri}", status: 307}}
plugins: {dir: "", modules: {plugin: {file: FILE}}}`, rewrite},
		{"counter", e.Counter, `
http: {routes: [{use: [plugin], respond: hi}]}
kv: {counters: {}}
plugins: {dir: "", modules: {plugin: {file: FILE, allow: {kv: [counters]}}}}`, counter},
		{"numbers", e.Numbers, "http: {routes: [{wasm: plugin}]}\nplugins: {dir: '', modules: {plugin: {file: FILE}}}", numbers},
	} {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			if example.path == "" {
				t.Fatal("this SDK has no such example: each has the same five")
			}
			path, err := filepath.Abs(example.path)
			if err != nil {
				t.Fatal(err)
			}
			config := strings.NewReplacer("FILE", quote(path), "USER", self(t)).Replace(example.config)
			if strings.Contains(config, "BACKEND") {
				testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
				config = strings.ReplaceAll(config, "BACKEND", quote(e.Backend))
			}
			s := edgetest.Start(t, config)
			s.Run(t, func(t *testing.T, m edgetest.Mode) { example.check(t, m, s) })
		})
	}
}

func (e Examples) hello(t *testing.T, m edgetest.Mode, _ *edgetest.Server) {
	res, body := m.Get(t, "/")
	if got, want := res.Header.Get("X-Hello"), "from "+e.Language; got != want || body != "hi" {
		t.Errorf("x-hello = %q, body %q; want %q and hi", got, body, want)
	}
}

func apiKey(t *testing.T, m edgetest.Mode, s *edgetest.Server) {
	const seen = "values,request,x-client;values,request,x-api-key;reply,200,text/plain"
	for _, key := range []string{"", "on", "onE", "alice", "onealice"} {
		res, body := get(t, m, "/", "X-Api-Key", key, "X-Origin", seen)
		if res.StatusCode != 401 || body != "an API key is needed\n" || res.Header.Get("Www-Authenticate") != "ApiKey" {
			t.Errorf("key %q: %d %q %v", key, res.StatusCode, body, res.Header)
		}
	}
	for key, want := range map[string]string{"one": "alice;", "two": "bob%20the%20builder;"} {
		if res, body := get(t, m, "/", "X-Api-Key", key, "X-Client", "root", "X-Origin", seen); body != want {
			t.Errorf("key %q: %d %q, want %q", key, res.StatusCode, body, want)
		}
	}
	if m.Name == "h1" { // once: a configuration without keys is refused
		err := tryReload(t, s, `"one alice\n\ntwo bob the builder\n"`, `"\n"`)
		if err == nil || !strings.Contains(err.Error(), `no keys: write a line "KEY NAME" for each`) {
			t.Errorf("without keys: %v", err)
		}
	}
}

// tryReload changes a text of edge.yaml and reloads it.
func tryReload(t *testing.T, s *edgetest.Server, old, text string) error {
	t.Helper()
	file := filepath.Join(s.Dir, "edge.yaml")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(config), old, text, 1)
	if changed == string(config) {
		t.Fatalf("edge.yaml has no %s", old)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(file, config, 0o600)
	_, err = s.Load()
	if err == nil {
		err = s.ReloadFile(t.Context())
	}
	return err
}

func rewrite(t *testing.T, m edgetest.Mode, _ *edgetest.Server) {
	for uri, want := range map[string]string{
		"/old/a/b?c=d":       "308 /new/a/b?c=d",
		"/old/":              "308 /new/",
		"/api/v1/users?id=1": "307 /api/v1/users?id=1",
		"/teapot":            "418 ",
		"/teapot?short":      "418 ",
		"/teapots":           "307 /rest/teapots",
		"/":                  "307 /rest/",
	} {
		for range 2 { // the second time from the cache
			res, _ := m.Get(t, uri)
			if got := fmt.Sprint(res.StatusCode, " ", res.Header.Get("Location")); got != want {
				t.Errorf("%s: %s, want %s", uri, got, want)
			}
		}
	}
}

func counter(t *testing.T, m edgetest.Mode, _ *edgetest.Server) {
	path := "/" + m.Name
	for _, step := range []struct{ uri, want string }{{path, "1"}, {path + "?q=1", "2"}, {path + "/else", "1"}, {path, "3"}} {
		if res, body := m.Get(t, step.uri); res.Header.Get("X-Hits") != step.want || body != "hi" {
			t.Errorf("%s: x-hits = %q (%q), want %s", step.uri, res.Header.Get("X-Hits"), body, step.want)
		}
	}
}

func numbers(t *testing.T, m edgetest.Mode, _ *edgetest.Server) {
	for uri, want := range map[string]string{
		"/numbers":          "200 [1,2,3,4,5,6,7,8,9,10]",
		"/numbers?n=3":      "200 [1,2,3]",
		"/numbers?a=b&n=1":  "200 [1]",
		"/numbers?n=0":      "200 []",
		"/numbers?n=100001": `400 {"error":"n is a number from 0 to 100000"}`,
		"/numbers?n=-1":     `400 {"error":"n is a number from 0 to 100000"}`,
		"/numbers?n=":       `400 {"error":"n is a number from 0 to 100000"}`,
		"/":                 `404 {"error":"not found"}`,
	} {
		res, body := m.Get(t, uri)
		if got := fmt.Sprint(res.StatusCode, " ", body); got != want || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %.200s (%s), want %s as JSON", uri, got, res.Header.Get("Content-Type"), want)
		}
	}
	var all strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&all, ",%d", i+1)
	}
	if _, body := m.Get(t, "/numbers?n=2500"); body != "["+all.String()[1:]+"]" {
		t.Errorf("2500 numbers: %d bytes, %.50q … %q", len(body), body, tail(body, 50))
	}
}

// get sends a request with headers, in pairs.
func get(t *testing.T, m edgetest.Mode, uri string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range pairs(headers) {
		req.Header.Set(name, value)
	}
	return m.Do(t, req)
}
