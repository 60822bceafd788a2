package core_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// heldGuest holds answers back, and does nothing else.
func heldGuest(t testing.TB) string {
	t.Helper()
	source := filepath.Join(testenv.Dir(t), "held.c")
	if err := os.WriteFile(source, []byte(`
__attribute__((import_module("http_handler"), import_name("enable_features"))) int enable_features(int);
__attribute__((import_module("http_handler"), import_name("get_status_code"))) int get_status_code(void);
__attribute__((export_name("_initialize"))) void initialize(void) { enable_features(2); }
__attribute__((export_name("handle_request"))) long long handle_request(void) { return 1; }
__attribute__((export_name("handle_response"))) void handle_response(int ctx, int is_error) { get_status_code(); }
`), 0o600); err != nil {
		t.Fatal(err)
	}
	return testenv.CGuest(t, source)
}

// TestHeldAnswerOfAProxyIsTooLarge: the client gets the 500 that docs/abi.md promises, not a connection that is cut.
func TestHeldAnswerOfAProxyIsTooLarge(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 200_000)) }))
	t.Cleanup(upstream.Close)
	s := edgetest.Start(t, `
http: {routes: [{use: [holds], proxy: "`+upstream.URL+`"}]}
plugins: {modules: {holds: {file: `+heldGuest(t)+`, limits: {body: 1KiB}}}}
`)
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if res, body := m.Get(t, "/"); res.StatusCode != 500 {
			t.Errorf("answer = %d %.100q", res.StatusCode, body)
		}
	})
	if log := s.Log.String(); !strings.Contains(log, "limits.body") || !strings.Contains(log, "holds") {
		t.Errorf("the log does not name limit and plugin:\n%s", log)
	}
}

// TestKeptDecisionsEndWithTheRoutes that they were made of.
func TestKeptDecisionsEndWithTheRoutes(t *testing.T) {
	t.Parallel()
	config := func(name string) string {
		return `
http:
  routers: [router]
  routes:
    - {name: ` + name + `, match: {path: /never}, respond: from the known route}
    - {respond: by the routes}
plugins: {modules: {router: {file: ` + platformGuest(t, "ROUTE") + `}}}
`
	}
	s := edgetest.Start(t, config("known"))
	m := s.Modes(t)[0]
	for _, tt := range []struct{ name, want string }{{"known", "from the known route"}, {"other", "I'm a teapot"}, {"known", "from the known route"}} {
		s.WriteConfig(t, config(tt.name))
		if err := s.ReloadFile(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, body := m.Get(t, "/kept/known"); strings.TrimSpace(body) != tt.want {
				t.Errorf("the route is %q: %q, want %q", tt.name, body, tt.want)
			}
		}
	}
}

// TestMessagesThatFailInWasm: a trap costs the message, what does not fit into the mailbox the connection, with the code that says why.
func TestMessagesThatFailInWasm(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http: {routes: [{match: {path: [/chat, /trap]}, ws: chat}]}
plugins: {modules: {talk: {file: `+platformGuest(t, "WS")+`, allow: {publish: ["room.*"]}}}}
ws: {limits: {message: 1MiB}, raw: {chat: {wasm: talk}}}
`)
	c := dialRaw(t, s, "")
	c.WriteMessage(websocket.TextMessage, []byte("Trap"))
	c.WriteMessage(websocket.TextMessage, []byte("hello"))
	if got := readRaw(t, c); got != "hello" {
		t.Errorf("after a trap: %q", got)
	}
	readRaw(t, c) // the room
	c.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("y", 70_000)))
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a message that is larger than the mailbox: %v", err)
	}
	for _, line := range []string{"the message is lost", "70000 bytes"} {
		testenv.Eventually(t, "the log has "+line, func() bool { return strings.Contains(s.Log.String(), line) })
	}
	if _, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/trap", nil); err == nil || res == nil || res.StatusCode != 500 {
		t.Errorf("ws_open trapped, the client saw %v, %v", err, res)
	}
	testenv.Eventually(t, "the log names the plugin", func() bool { return strings.Contains(s.Log.String(), "the connection was refused") })
	if n := strings.Count(s.Log.String(), "ws_open"); n != 1 || strings.Contains(s.Log.String(), "ws: accept a connection") {
		t.Errorf("%d lines say that ws_open trapped:\n%s", n, s.Log.String())
	}
}

// TestVariablesReachPHPByCalls, as they do by routes.
func TestVariablesReachPHPByCalls(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http: {routes: [{use: [said], wasm: tool}]}
plugins:
  modules:
    said: {file: `+varGuest(t)+`}
    tool: {file: `+platformGuest(t, "PHP")+`, allow: {php: [app]}}
rpc: {}
kv: {counters: {}}
`+phpApp(t, "app.php", ""))
	if _, got := s.Modes(t)[0].Get(t, "/php/app/"+url.PathEscape("POST /attributes\n")+"/body/0"); !strings.Contains(got, "ann\\nlee") {
		t.Errorf("PHP saw %q", got)
	}
}

// TestMessagesThatFailInPHP are lost, which the log says; the connection stays.
func TestMessagesThatFailInPHP(t *testing.T) {
	t.Parallel()
	s := startRaw(t, 1)
	c := dialRaw(t, s, "")
	c.WriteMessage(websocket.TextMessage, []byte("die"))
	testenv.Eventually(t, "the log says so", func() bool { return strings.Contains(s.Log.String(), "the application failed in an event") })
	c.WriteMessage(websocket.TextMessage, []byte("hello"))
	if got := readRaw(t, c); got != "hello" {
		t.Errorf("afterwards: %q", got)
	}
}
