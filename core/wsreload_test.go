package core_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/admin"
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
		"an application less":  {nil, "needs a restart: ws.raw.second; nothing was changed; `edge upgrade`"},
		"another broker":       {append([]string{"ws: {", "ws: {broker: {prefix: other},"}, second...), "needs a restart: ws.broker;"},
		"no WebSockets at all": {[]string{"ws: chat", "respond: gone", "\nws: {", "\n# {"}, "needs a restart: ws;"},
		"a pool that does not start": {append([]string{"raw: {chat", "raw: {third: {php: app}, second: {php: app}, chat", "env: {SDK: ", "env: {SDK: /nowhere"},
			second[4:]...), "/nowhere"},
	} {
		if err := change(tt.pairs...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		talks(name)
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
