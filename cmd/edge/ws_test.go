package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/internal/testenv"
)

// TestWSStory is what an operator does with the clients of two applications.
func TestWSStory(t *testing.T) {
	t.Parallel()
	root := testenv.Root(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	p := startServer(t, fmt.Sprintf(`
http: {routes: [{match: {path: [/chat]}, ws: chat}, {match: {path: [/other]}, ws: other}]}
rpc: {}
ws: {raw: {chat: {php: app}, other: {php: app}}, pusher: {apps: {main: {id: "1", key: key, secret: secret-of-sixteen}}}}
php: {app: {command: [%s, %s], user: %s, workers: {min: 1, max: 1}, env: {SDK: %s}}}
`, testenv.PHP(t), filepath.Join(root, "core", "testdata", "ws", "worker.php"), me.Username, filepath.Join(root, "sdk", "php")))
	step := func(wantCode int, wantOut, wantErr string, args ...string) {
		t.Helper()
		code, out, errs := p.edge(t, append([]string{"ws"}, args...)...)
		if code != wantCode || !strings.Contains(out, wantOut) || wantOut == "" && out != "" || !strings.Contains(errs, wantErr) {
			t.Errorf("edge ws %q: code %d, stdout %q, stderr %q; want %d, %q, %q", args, code, out, errs, wantCode, wantOut, wantErr)
		}
	}
	dial := func(path string) *websocket.Conn {
		t.Helper()
		c, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(p.url, "http")+path, nil)
		if err != nil {
			t.Fatal(err, res)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		return c
	}
	read := func(c *websocket.Conn, wantKind int, want string) {
		t.Helper()
		if kind, got, err := c.ReadMessage(); err != nil || kind != wantKind || string(got) != want {
			t.Errorf("a client got %d %q, %v; want %d %q", kind, got, err, wantKind, want)
		}
	}
	anna, bert := dial("/chat?room=hall&user=anna"), dial("/chat?room=hall&user=bert")
	var ids []string
	testenv.Eventually(t, "both are listed", func() bool {
		ids = nil
		_, out, _ := p.edge(t, "ws", "ls", "chat", "--json")
		for line := range strings.Lines(out) {
			var c admin.WSConnection
			if err := json.Unmarshal([]byte(line), &c); err != nil || c.App != "raw/chat" || c.Remote != "127.0.0.1" || len(c.Channels) != 1 {
				t.Fatalf("ls --json prints %q: %v", line, err)
			}
			ids = append(ids, c.ID)
		}
		return len(ids) == 2
	})
	step(0, "anna", "", "ls")
	step(0, ids[0], "1 of 2", "ls", "--limit", "1")
	step(0, ids[0], "", "ls", "--user", "anna", "--channel", "hall")
	step(0, "", "", "ls", "chat", "--channel", "nobody's", "--json")
	step(1, "", `no application is called "x"; there are: pusher/main, raw/chat, raw/other`, "ls", "x")
	step(0, `"name":"pusher/main"`, "", "ls", "--apps", "--json")
	for _, name := range []string{"main", "pusher/main", "pusher/1"} {
		step(0, "", "", "channels", name, "--json")
	}
	step(1, "", `unknown command "frob" for "edge ws"`, "frob")
	step(0, "raw/other", "", "ls", "--apps")
	step(0, `"name":"raw/chat","connections":2`, "", "ls", "--apps", "--json")
	step(0, "hall", "", "channels")
	step(0, `{"app":"raw/chat","name":"hall","subscribers":2}`, "", "channels", "chat", "ha", "--json")
	step(0, "", "", "channels", "chat", "x", "--json")

	step(0, "sent to 1 connection", "", "send", "chat", "to one", "--conn", ids[0])
	read(anna, websocket.TextMessage, "to one")
	step(0, "sent to 1 connection", "", "send", "chat", "\xff\x00", "--user", "anna", "--binary")
	read(anna, websocket.BinaryMessage, "\xff\x00")
	step(0, "sent to 2 connections", "", "send", "chat", "to the hall", "--channel", "hall")
	step(0, `{"connections":2}`, "", "send", "raw/chat", "to all", "--all", "--json")
	for _, c := range []*websocket.Conn{anna, bert} {
		read(c, websocket.TextMessage, "to the hall")
		read(c, websocket.TextMessage, "to all")
	}
	step(2, "sent to 0", "nobody", "send", "chat", "x", "--user", "carl")
	step(2, "", "it has gone", "send", "other", "x", "--conn", ids[0])
	step(1, "", "is no connection", "send", "chat", "x", "--conn", "7")
	step(1, "", "exactly one of", "send", "chat", "x")
	step(1, "", "exactly one of", "send", "chat", "x", "--all", "--user", "anna")
	step(1, "", "must be UTF-8", "send", "chat", "\xff", "--all")

	for _, code := range []string{"0", "-1", "1", "999", "1002", "1004", "1005", "1006", "1014", "1015", "2999", "5000", "70000"} {
		step(1, "", "--code: must be 1000, 1001, 1003, 1007 to 1013 or 3000 to 4999, got "+code, "kick", "chat", "--all", "--code="+code)
	}
	step(1, "", "exactly one of", "kick", "chat")
	step(0, "closed 1 connection", "", "kick", "chat", "--user", "anna", "--code", "4003", "--reason", "signed out")
	if _, _, err := anna.ReadMessage(); !websocket.IsCloseError(err, 4003) || !strings.Contains(err.Error(), "signed out") {
		t.Errorf("anna saw %v", err)
	}
	read(bert, websocket.TextMessage, "left with 4003")
	testenv.Eventually(t, "anna has gone", func() bool {
		_, out, _ := p.edge(t, "ws", "ls", "--user", "anna", "--json")
		return out == ""
	})
	step(2, "", "it has gone", "kick", "chat", "--conn", ids[0])
	step(0, "closed 1", "", "kick", "chat", "--all", "--json=false")

	dial("/chat?room=%1B[31mred") // what clients choose must not reach a terminal as it is
	step(0, `"\x1b[31mred"`, "", "channels", "chat", "\x1b")

	if res, err := http.Get(p.url + "/chat"); err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("GET /chat: %v, %v", res, err)
	}
}

func TestWSWithoutApplications(t *testing.T) {
	t.Parallel()
	p := startServer(t, "http: {routes: [{respond: {status: 204}}]}\n")
	if code, out, errs := p.edge(t, "ws", "ls"); code != 0 || !strings.Contains(out, "ID") {
		t.Errorf("ls: %d %q %q", code, out, errs)
	}
	if code, _, errs := p.edge(t, "ws", "send", "chat", "x", "--all"); code != 1 || !strings.Contains(errs, "none in its ws section") {
		t.Errorf("send: %d %q", code, errs)
	}
}
