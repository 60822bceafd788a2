package core_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestReloadOfWebSockets: applications come, and get other rules, while those who are connected stay with what they came with.
func TestReloadOfWebSockets(t *testing.T) {
	t.Parallel()
	before := rawConfig(t, 1)
	s := startRaw(t, 1)
	c := dialRaw(t, s, "")
	talks := func(when string) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if err := c.WriteMessage(websocket.TextMessage, []byte(when)); err != nil {
			t.Fatal(when, err)
		}
		if got := readRaw(t, c); got != when {
			t.Errorf("%s: got %q", when, got)
		}
	}
	status := func(path string, header http.Header) int {
		t.Helper()
		conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+path, header)
		if err != nil && res == nil {
			t.Fatal(err)
		}
		if err == nil {
			conn.Close()
		}
		return res.StatusCode
	}
	change := func(pairs ...string) error {
		s.WriteConfig(t, strings.NewReplacer(pairs...).Replace(before))
		return s.ReloadFile(t.Context())
	}
	page := http.Header{"Origin": {"https://example.com"}}
	talks("before")
	if got := status("/chat", page); got != 403 {
		t.Errorf("a page of elsewhere gets %d before it may", got)
	}

	second := []string{
		"{match: {path: [/chat, /chat/*]}, ws: chat}", "{match: {path: [/chat, /chat/*]}, ws: chat}, {match: {path: [/second]}, ws: second}",
		"raw: {chat: {php: app,", "raw: {second: {php: app, origins: ['*']}, chat: {php: app, origins: ['https://example.com'],",
		"limits: {rate: 0}", "limits: {rate: 0, message: 10B}",
	}
	if err := change(second...); err != nil {
		t.Fatal(err)
	}
	talks("a message that is longer than what new connections may send")
	for _, path := range []string{"/chat", "/second"} {
		if got := status(path, page); got != 101 {
			t.Errorf("%s: %d", path, got)
		}
	}
	late := dialRaw(t, s, "")
	late.WriteMessage(websocket.TextMessage, []byte("longer than ten"))
	if _, _, err := late.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("who came after the reload may send more than the limit: %v", err)
	}

	// What is refused leaves nothing behind, and says what it is.
	for name, tt := range map[string]struct {
		pairs []string
		want  string
	}{
		"an application less":  {[]string{"{match: {path: [/chat, /chat/*]}, ws: chat}, ", "", "raw: {chat: {", "raw: {other: {"}, "needs a restart: ws.raw.chat; nothing was changed; `edge upgrade`"},
		"another broker":       {append([]string{"ws: {", "ws: {broker: {driver: redis, redis: {addresses: ['127.0.0.1:1']}},"}, second...), "needs a restart: ws.broker;"},
		"no WebSockets at all": {[]string{"ws: chat", "respond: gone", "\nws: {", "\n# {"}, "needs a restart: ws;"},
		"a pool that does not start": {append([]string{"raw: {chat", "raw: {third: {php: app}, second: {php: app}, chat", "env: {SDK: ", "env: {SDK: /nowhere"},
			second[4:]...), "/nowhere"},
	} {
		if err := change(tt.pairs...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		talks(name)
	}
	if err := change(append([]string{"ws: {", "ws: {broker: memory, "}, second...)...); err != nil {
		t.Errorf("the broker that there is without one: %v", err)
	}
	if got := status("/second", page); got != 101 {
		t.Errorf("after refused reloads the application gets %d", got)
	}
	client, err := admin.NewClient(s.Config().Admin, s.Config().StateDir)
	if err != nil {
		t.Fatal(err)
	}
	apps, err := client.WSApps(t.Context())
	if len(apps) != 2 || apps[0].Name != "raw/chat" || apps[1].Name != "raw/second" {
		t.Errorf("there are %+v, %v", apps, err)
	}
}

// talk is a plugin that answers with its name before what it is sent.
func talk(dir string, names ...string) {
	for _, name := range names {
		script := fmt.Sprintf(`export default { websocket: { message(conn, data) { conn.send("%s " + data); } } };`, name)
		if err := os.WriteFile(filepath.Join(dir, name+".js"), []byte(script), 0o600); err != nil {
			panic(err)
		}
	}
}

// TestReloadTakesAnApplicationAway, or gives it to another plugin, when it has no connections.
func TestReloadTakesAnApplicationAway(t *testing.T) {
	t.Parallel()
	text := func(routes, apps string) string {
		return `
http: {routes: [` + routes + `{respond: none}]}
plugins: {dir: "", modules: {one: {file: one.js}, two: {file: two.js}}}
ws: {raw: {` + apps + `}}
`
	}
	const route, chat, side = "{match: {path: [/chat]}, ws: chat}, ", "chat: {wasm: one}, ", "side: {wasm: two}"
	s := edgetest.Start(t, text(route, chat+side), func(dir string) { talk(dir, "one", "two") })
	reload := func(routes, apps string) error {
		t.Helper()
		s.WriteConfig(t, text(routes, apps))
		return s.ReloadFile(t.Context())
	}
	connections := func() (n int) {
		t.Helper()
		client, err := admin.NewClient(s.Config().Admin, s.Config().StateDir)
		if err != nil {
			t.Fatal(err)
		}
		apps, err := client.WSApps(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, app := range apps {
			n += app.Connections
		}
		return n
	}
	answer := func(c *websocket.Conn, want string) {
		t.Helper()
		if err := c.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := readRaw(t, c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}

	c := dialRaw(t, s, "")
	answer(c, "one x")
	refused(reload("", side), "needs a restart: ws.raw.chat;")
	refused(reload(route, "chat: {wasm: two}, "+side), "needs a restart: ws.raw.chat.wasm;")
	answer(c, "one x")
	if err := reload(route, chat); err != nil {
		t.Errorf("an application without connections: %v", err)
	}
	c.Close()
	testenv.Eventually(t, "it has gone", func() bool { return connections() == 0 })
	if err := reload(route, "chat: {wasm: two}"); err != nil {
		t.Fatal(err)
	}
	c = dialRaw(t, s, "")
	answer(c, "two x")
	c.Close()
	testenv.Eventually(t, "it has gone", func() bool { return connections() == 0 })
	if err := reload("", side); err != nil {
		t.Fatal(err)
	}
	if err := reload(route, chat); err != nil {
		t.Fatal(err)
	}
	answer(dialRaw(t, s, ""), "one x")

	// A plugin that is not there, of an application that no route leads to.
	refused(reload(route, chat+"side: {wasm: tow}"), `ws.raw.side.wasm: there is no plugin "tow"`)
	if err := reload(route, chat+side); err != nil {
		t.Errorf("the name is right again: %v", err)
	}
	s.WriteConfig(t, text(route, chat+"side: {wasm: tow}"))
	cfg, err := s.Load()
	if err == nil {
		err = core.Check(t.Context(), cfg, core.Options{LogOutput: t.Output()})
	}
	refused(err, `ws.raw.side.wasm: there is no plugin "tow"`)
	s.WriteConfig(t, text(route, "chat: {wasm: one, origins: ['https://*']}"))
	_, err = s.Load()
	refused(err, `ws.raw.chat.origins[0]: "https://*" is no origin`)
}

// TestReloadReadsKeysAgain: the files have other keys, edge.yaml is the same.
func TestReloadReadsKeysAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "jwt.pub")
	newKey := func() ed25519.PrivateKey {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return private
	}
	first := newKey()
	s := edgetest.Start(t, `
http: {routes: [{match: {path: [/chat]}, ws: chat}]}
plugins: {dir: "", modules: {one: {file: one.js}}}
ws:
  raw: {chat: {wasm: one, jwt: {public_key_file: `+file+`}}}
  mercure: {publisher: {secret: 0123456789abcdef0123456789abcdef}, subscriber: {public_key_file: `+file+`}, history: {size: 0}}
`, func(dir string) { talk(dir, "one") })
	statuses := func(key ed25519.PrivateKey) string {
		t.Helper()
		text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "anna", "mercure": map[string]any{"subscribe": []string{"*"}}}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		c, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat?token="+text, nil)
		if res == nil {
			t.Fatal(err)
		}
		if err == nil {
			c.Close()
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTP+"/.well-known/mercure?topic=t", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+text)
		stream, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		stream.Body.Close()
		return fmt.Sprint(res.StatusCode, " ", stream.StatusCode)
	}
	if got := statuses(first); got != "101 200" {
		t.Fatal(got)
	}
	second := newKey()
	reloadFile(t, s)
	if got := statuses(first) + ", " + statuses(second); got != "401 401, 101 200" {
		t.Errorf("the key of before and the new one get %s", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := s.ReloadFile(t.Context()); err == nil || !strings.Contains(err.Error(), "ws.raw.chat.jwt.public_key_file: ") {
		t.Errorf("without the file: %v", err)
	}
	if got := statuses(second); got != "101 200" {
		t.Errorf("after a reload that was refused the key gets %s", got)
	}
}

// TestWhatAnUpgradeCannotChange: it is not recommended.
func TestWhatAnUpgradeCannotChange(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{respond: hi}]}\n")
	for change, want := range map[string]string{
		"state_dir: elsewhere": "needs a restart: state_dir; nothing was changed; stop edge and start it: `edge upgrade` cannot change state_dir",
		"admin: {listen: off}": "needs a restart: admin; nothing was changed; stop edge and start it: `edge upgrade` cannot change admin",
		"rpc: {}":              "needs a restart: rpc; nothing was changed; `edge upgrade` puts it in force",
	} {
		s.WriteConfig(t, "http: {routes: [{respond: hi}]}\n"+change+"\n")
		if err := s.ReloadFile(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
	}
}

// TestReloadTakesAnAppOfPusherAway, or gives it another id, when nobody is connected.
func TestReloadTakesAnAppOfPusherAway(t *testing.T) {
	t.Parallel()
	text := func(apps string) string {
		return "http: {routes: [{respond: none}]}\nws: {pusher: {apps: {main: {key: app-key, secret: app-secret}" + apps + "}}}\n"
	}
	const second, renamed = ", second: {key: second, secret: second-secret}", ", second: {id: new, key: second, secret: second-secret}"
	s := edgetest.Start(t, text(second))
	reload := func(apps string) error {
		t.Helper()
		s.WriteConfig(t, text(apps))
		return s.ReloadFile(t.Context())
	}
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/app/second?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for apps, key := range map[string]string{"": "ws.pusher.apps.second", renamed: "ws.pusher.apps.second.id"} {
		if err := reload(apps); err == nil || !strings.Contains(err.Error(), "needs a restart: "+key+";") {
			t.Errorf("with a client: %v, want %s", err, key)
		}
	}
	c.Close()
	testenv.Eventually(t, "the app gets another id", func() bool { return reload(renamed) == nil })
	if err := reload(""); err != nil {
		t.Errorf("without clients: %v", err)
	}
	if err := reload(second); err != nil {
		t.Errorf("back again: %v", err)
	}
}
