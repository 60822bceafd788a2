package core_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// platformGuest is wasmhost/testdata/edge.c, which does what the URI says.
func platformGuest(t testing.TB, defines ...string) string {
	t.Helper()
	for i := range defines {
		defines[i] = "-D" + defines[i]
	}
	return testenv.CGuest(t, "wasmhost/testdata/edge.c", defines...)
}

func operate(t *testing.T, m edgetest.Mode, want string, op ...string) {
	t.Helper()
	path := ""
	for _, part := range op {
		path += "/" + url.PathEscape(part)
	}
	if _, got := m.Get(t, path); strings.TrimSpace(got) != want {
		t.Errorf("%s: %q, want %q", path, got, want)
	}
}

// TestPlatform is what plugins reach in a whole server: stores, PHP, variables that PHP and the access log see, metrics.
func TestPlatform(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  middleware: [access-log, request-id]
  routes:
    - {name: attributes, match: {path: /attributes}, use: [said], php: app}
    - {name: ops, wasm: tool}
plugins:
  modules:
    said: {file: `+varGuest(t)+`}
    tool: {file: `+platformGuest(t, "KV", "PHP", "CRON")+`, allow: {kv: [counters], php: [app]}}
kv: {counters: {}}
rpc: {}
`+phpApp(t, "app.php", ""))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if res, body := m.Get(t, "/attributes"); res.StatusCode != 200 || !strings.Contains(body, `"user":"ann\nlee"`) && !strings.Contains(body, `"user":["ann\nlee"]`) {
			t.Errorf("PHP saw %d %s", res.StatusCode, body)
		}
		key := "key-" + m.Name
		operate(t, m, "1", "kv_open", "counters")
		operate(t, m, "0 0 -8", "kv_get", "1", key)
		operate(t, m, "0", "kv_set", "1", key, "7", "0", "1", "0")
		operate(t, m, "-10", "kv_set", "1", key, "8", "0", "1", "0")
		operate(t, m, "-9", "kv_set", "1", key+"x", "8", "0", "2", "0")
		operate(t, m, "0 42", "kv_incr", "1", key, "35", "0")
		operate(t, m, "-1 1 2 42", "kv_get", "1", key)
		operate(t, m, "0 -9", "kv_cas", "1", key, "other")
		operate(t, m, "-3 0", "kv_incr", "1", key, "1", "0")
		operate(t, m, "1", "kv_expire", "1", key, "60000")
		operate(t, m, "14", "kv_scan", "1", "k") // one key: no cursor, a length and six bytes
		operate(t, m, "0", "kv_delete", "1", key, "0")
		operate(t, m, "0", "kv_expire", "1", key, "60000")
		operate(t, m, "4", "kv_scan", "1", "k")
		if _, got := m.Get(t, "/php/app/"+url.PathEscape("POST /attributes\nx-a: b\n")+"/body/0"); !strings.HasPrefix(got, `200 1 {"method":"POST"`) {
			t.Errorf("the call to PHP: %q", got)
		}
		operate(t, m, "3 ops", "var_get", "edge.route")
		if _, got := m.Get(t, "/var_get/edge.request_id"); !strings.HasPrefix(got, "32 ") {
			t.Errorf("request id: %q", got)
		}
		operate(t, m, "1", "define", "0", "hits")
		operate(t, m, "0", "add", "1", "2")
	})
	testenv.Eventually(t, "the variable in the access log", func() bool { return strings.Contains(s.Log.String(), `"vars":{"user":"ann\\nlee"}`) })
	testenv.Eventually(t, "a tick", func() bool {
		_, got := s.Modes(t)[0].Get(t, "/pop")
		return strings.HasPrefix(got, "1 t")
	})
}

// varGuest sets a variable that would break a line of a log.
func varGuest(t testing.TB) string {
	t.Helper()
	source := filepath.Join(testenv.Dir(t), "said.c")
	if err := os.WriteFile(source, []byte(`
__attribute__((import_module("edge_core_v1"), import_name("var_set"))) int var_set(const char *, int, const char *, int);
__attribute__((export_name("handle_request"))) long long handle_request(void) { var_set("user", 4, "ann\nlee", 7); return 1; }
__attribute__((export_name("handle_response"))) void handle_response(int ctx, int is_error) {}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	return testenv.CGuest(t, source)
}

// TestRouters: the first router that decides wins; what it decides is served like any route.
func TestRouters(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  routers: [router]
  routes:
    - {name: known, match: {path: /never}, respond: from the known route}
    - {match: {path: /rewritten}, respond: rewritten}
    - {respond: by the routes}
plugins:
  modules: {router: {file: `+platformGuest(t, "ROUTE", "PHP")+`, allow: {php: [app]}}}
rpc: {}
kv: {counters: {}}
`+phpApp(t, "app.php", ""))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for path, want := range map[string]string{
			"/": "by the routes", "/to/known": "from the known route", "/to/unknown": "I'm a teapot", "/rewrite": "rewritten",
			"/status/403": "Forbidden", "/counted": "Accepted", "/trap": "Internal Server Error", "/header": "by the routes",
		} {
			if _, body := m.Get(t, path); strings.TrimSpace(body) != want {
				t.Errorf("%s: %q, want %q", path, body, want)
			}
		}
		if res, _ := m.Get(t, "/redirect"); res.StatusCode != 302 || res.Header.Get("Location") != "https://elsewhere.example/" {
			t.Errorf("redirect: %d %v", res.StatusCode, res.Header)
		}
		if res, _ := m.Get(t, "/header"); res.Header.Get("X-Router") != "yes" {
			t.Errorf("header: %v", res.Header)
		}
		if res, _ := m.Get(t, "/pool/app"); res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusOK {
			t.Errorf("pool: %d", res.StatusCode)
		} else if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/") && res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("pool: %v", res.Header)
		}
	})
}

// TestWhatIsRefusedAtTheStart: each says what to write.
func TestWhatIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	plain, router := platformGuest(t), platformGuest(t, "KV")
	for name, tt := range map[string]struct{ config, want string }{
		"no router":       {"http: {routers: [p], routes: [{respond: a}]}\nplugins: {modules: {p: {file: " + plain + "}}}", `http.routers[0]: plugin "p" cannot be a router: it is middleware`},
		"no grant":        {"plugins: {modules: {p: {file: " + router + "}}}", "allow: {kv: [STORE]}"},
		"no such store":   {"plugins: {modules: {p: {file: " + router + ", allow: {kv: [x]}}}}", `plugins.modules.p.allow.kv[0]: there is no store "x"`},
		"no such pool":    {"plugins: {modules: {p: {file: " + plain + ", allow: {php: [x]}}}}", `plugins.modules.p.allow.php[0]: there is no pool "x"`},
		"a strange place": {"plugins: {modules: {p: {file: " + plain + ", allow: {net: [example.com]}}}}", `plugins.modules.p.allow.net[0]: "example.com" is no place to connect to`},
		"no such folder":  {"plugins: {modules: {p: {file: " + plain + ", allow: {folders: [nowhere]}}}}", "nowhere"},
		"a bad config":    {"plugins: {modules: {p: {file: " + plain + ", config: bad}}}", "the plugin refuses it: b is no config"},
	} {
		if _, err := edgetest.TryStart(t, tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %s", name, err, tt.want)
		}
	}
}
