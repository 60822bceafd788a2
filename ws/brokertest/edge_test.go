package brokertest_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
)

// TestThreeServers runs three processes with the Pusher protocol over each broker: what one publishes the clients of all get, members are
// shared, a process that is killed takes its members along, and a broker that is killed and comes back is lost and healed.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(testenv.Dir(t), "edge")
	build := exec.Command("go", "build", "-o", binary, "./cmd/edge")
	build.Dir = testenv.Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build edge: %v\n%s", err, out)
	}
	t.Run("webhooks", func(t *testing.T) {
		t.Parallel()
		webhooksOfADeadServer(t, binary)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		s := testenv.Redis(t)
		threeServers(t, binary, s, fmt.Sprintf("{driver: redis, lease: 12s, timeout: 8s, redis: {addresses: [%q]}}", s.Addr))
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		s := testenv.NATS(t)
		threeServers(t, binary, s, fmt.Sprintf("{driver: nats, lease: 12s, timeout: 8s, nats: {servers: [%q]}}", "nats://"+s.Addr))
	})
}

func threeServers(t *testing.T, binary string, broker *testenv.Server, section string) {
	nodes := []*process{serve(t, binary, section, ""), serve(t, binary, section, ""), serve(t, binary, section, "")}
	var clients []*client
	for i, n := range nodes {
		c := n.dial()
		c.join("presence-room", fmt.Sprint("u", i), i+1)
		for _, before := range clients {
			before.want("pusher_internal:member_added", fmt.Sprintf(`"user_id":"u%d"`, i))
		}
		clients = append(clients, c)
	}
	if status, body := nodes[1].rest("POST", "/apps/1/events", "", `{"name":"shipped","channel":"presence-room","data":"42"}`); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, c := range clients {
		c.want("shipped", `"data":"42"`)
	}
	clients[0].say("client-hi", "presence-room")
	clients[1].want("client-hi", `"user_id":"u0"`)
	clients[2].want("client-hi", `"user_id":"u0"`)
	if _, body := nodes[2].rest("GET", "/apps/1/channels", "filter_by_prefix=presence-&info=user_count", ""); !strings.Contains(body, `"user_count":3`) {
		t.Errorf("the channels are %s", body)
	}

	nodes[2].kill()
	began := time.Now()
	clients[0].want("pusher_internal:member_removed", `"user_id":"u2"`)
	clients[1].want("pusher_internal:member_removed", `"user_id":"u2"`)
	t.Logf("the members of a killed server left after %s; the lease is 12s", time.Since(began).Round(time.Millisecond))

	broker.Kill()
	near := nodes[0].dial()
	near.join("presence-room", "near", 2) // with u0, who is here
	clients[0].want("pusher_internal:member_added", `"user_id":"near"`)
	near.say("client-near", "presence-room")
	clients[0].want("client-near", "near")
	nodes[0].awaitReady("is lost, publications and members stay on this server")
	broker.Start()
	for _, n := range nodes[:2] {
		n.awaitReady("[]")
	}
	clients[1].want("pusher_internal:member_added", `"user_id":"near"`)
	near.say("client-back", "presence-room")
	clients[0].want("client-back", "near")
	clients[1].want("client-back", "near")
}

// process is a server.
type process struct {
	t            *testing.T
	cmd          *exec.Cmd
	addr, health string
	done         chan struct{}
}

const appSecret = "a-secret-of-the-app"

// serve starts a server; app is what else is in the section of its app.
func serve(t *testing.T, binary, broker, app string) *process {
	t.Helper()
	dir := testenv.Dir(t)
	p := &process{t: t, addr: fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), health: fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), done: make(chan struct{})}
	config := fmt.Sprintf(`version: 1
http: {listen: [{address: "%s"}], routes: [{respond: hello}]}
telemetry: {health: {listen: "%s"}}
ws:
  broker: %s
  pusher: {apps: {main: {id: "1", key: app-key, secret: %s%s}}}
`, p.addr, p.health, broker, appSecret, app)
	if err := os.WriteFile(filepath.Join(dir, "edge.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &testenv.Log{}
	p.cmd = exec.Command(binary, "serve", "-c", filepath.Join(dir, "edge.yaml"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.done
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.addr, log)
		}
	})
	p.awaitReady("[]")
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// awaitReady waits until /ready is 200 and its text has part.
func (p *process) awaitReady(part string) {
	p.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	testenv.Eventually(p.t, "/ready with "+part, func() bool {
		select {
		case <-p.done:
			p.t.Fatal("the server has ended")
		default:
		}
		res, err := client.Get("http://" + p.health + "/ready")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode == 200 && strings.Contains(string(body), part)
	})
}

// rest calls the HTTP API of the app.
func (p *process) rest(method, path, query, body string) (status int, answer string) {
	p.t.Helper()
	params := fmt.Sprintf("auth_key=app-key&auth_timestamp=%d&auth_version=1.0", time.Now().Unix())
	if body != "" {
		params += fmt.Sprintf("&body_md5=%x", md5.Sum([]byte(body)))
	}
	if query != "" {
		params += "&" + query
	}
	params += "&auth_signature=" + signed(method+"\n"+path+"\n"+params)
	req, err := http.NewRequest(method, "http://"+p.addr+path+"?"+params, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func signed(text string) string {
	mac := hmac.New(sha256.New, []byte(appSecret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// client speaks the Pusher protocol.
type client struct {
	*websocket.Conn
	t  *testing.T
	id string
}

func (p *process) dial() *client {
	p.t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+p.addr+"/app/app-key?protocol=7", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	c := &client{Conn: conn, t: p.t}
	var hello struct{ Data string }
	var data struct {
		SocketID string `json:"socket_id"`
	}
	c.next(&hello)
	if err := json.Unmarshal([]byte(hello.Data), &data); err != nil {
		p.t.Fatal(err)
	}
	c.id = data.SocketID
	return c
}

func (c *client) next(to any) string {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(60 * time.Second))
	_, b, err := c.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// want reads until the event comes, whose frame must have part, once the quotes in it are plain.
func (c *client) want(event, part string) {
	c.t.Helper()
	for {
		var head struct{ Event string }
		text := strings.ReplaceAll(c.next(&head), `\"`, `"`)
		if head.Event == event && strings.Contains(text, part) {
			return
		}
		switch head.Event {
		case "pusher:error", "pusher:subscription_error", event:
			c.t.Fatalf("waiting for %s with %s came %s", event, part, text)
		}
	}
}

// join waits until the client is one of so many members.
func (c *client) join(channel, user string, members int) {
	c.t.Helper()
	data := fmt.Sprintf(`{"user_id":%q}`, user)
	c.write(map[string]any{"event": "pusher:subscribe", "data": map[string]string{
		"channel": channel, "channel_data": data, "auth": "app-key:" + signed(c.id+":"+channel+":"+data),
	}})
	c.want("pusher_internal:subscription_succeeded", fmt.Sprintf(`"count":%d,`, members))
}

func (c *client) say(event, channel string) {
	c.write(map[string]any{"event": event, "channel": channel, "data": map[string]string{}})
}

func (c *client) write(v any) {
	c.t.Helper()
	if err := c.WriteJSON(v); err != nil {
		c.t.Fatal(err)
	}
}
