package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// front is a front end that speaks Pusher's protocol.
type front struct {
	t *testing.T
	*websocket.Conn
}

func (u *upgradable) front(t *testing.T, channels ...string) *front {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+u.plain+"/app/app-key?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f := &front{t, conn}
	f.SetReadDeadline(time.Now().Add(time.Minute))
	f.hears("pusher:connection_established")
	for _, c := range channels {
		f.WriteJSON(map[string]any{"event": "pusher:subscribe", "data": map[string]string{"channel": c}})
		f.hears("pusher_internal:subscription_succeeded")
	}
	return f
}

// hears reads the next event, which must be this one, and returns its data.
func (f *front) hears(event string) string {
	f.t.Helper()
	var m struct {
		Event string
		Data  any
	}
	if err := f.ReadJSON(&m); err != nil || m.Event != event {
		f.t.Fatalf("%+v, %v; want %s", m, err, event)
	}
	return fmt.Sprint(m.Data)
}

// TestUpgradeKeepsRooms: who talks to the older process for a while longer reaches the clients that are at the new one, and the other way round;
// what channels keep is there.
func TestUpgradeKeepsRooms(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t, `
http: {routes: [{respond: {body: hello}}]}
rpc: {}
ws: {pusher: {apps: {main: {id: "1", key: app-key, secret: app-secret}}}}
`)
	worker, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(u.dir, "state", "rpc.sock")) // which keeps its connection
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	call := func(c *rpc.Client, method string, args map[string]any) (answer map[string]any) {
		t.Helper()
		var raw json.RawMessage
		if err := c.Call(t.Context(), "pusher."+method, args, &raw); err != nil {
			t.Fatal(method, err)
		}
		json.Unmarshal(raw, &answer)
		return answer
	}
	publish := func(c *rpc.Client, channel, data string) {
		t.Helper()
		call(c, "Publish", map[string]any{"name": "news", "channel": channel, "data": data})
	}
	publish(worker, "cache-last", "kept")
	old := u.front(t, "room")

	// A request that is under way keeps the older process.
	half, err := net.Dial("tcp", u.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	io.WriteString(half, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")

	before := u.pid(t)
	if code, out, stderr := u.edge(t, "upgrade"); code != 0 {
		t.Fatalf("upgrade: %d %s%s\n%s", code, out, stderr, u.log())
	}
	if _, _, err := old.ReadMessage(); !websocket.IsCloseError(err, 4200) {
		t.Fatalf("the front end is sent away by %v", err)
	}
	now := u.front(t, "room", "cache-last")
	if data := now.hears("news"); data != "kept" {
		t.Errorf("the channel has kept %q", data)
	}
	if !isThere(before) {
		t.Fatal("the older process has gone: this test shows nothing")
	}
	publish(worker, "room", "from the older process")
	if data := now.hears("news"); data != "from the older process" {
		t.Errorf("got %q", data)
	}
	if answer := call(worker, "Channel", map[string]any{"channel": "room", "info": "subscription_count"}); answer["subscription_count"] != 1.0 {
		t.Errorf("the older process counts %v", answer)
	}
	publish(worker, "cache-last", "kept by the new one")
	now.hears("news")
	if data := u.front(t, "cache-last").hears("news"); data != "kept by the new one" {
		t.Errorf("the channel has kept %q", data)
	}
	io.WriteString(half, "cd")
	testenv.Eventually(t, "the older process ends", func() bool { return !isThere(before) })
	if strings.Contains(u.log(), "panic") {
		t.Error(u.log())
	}
}
