package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
	"github.com/edge-server/edge/ws/raw"
)

const rawSecret = "a secret of sixteen"

// startRaw serves an application of ws.raw by PHP at /chat.
func startRaw(t testing.TB, workers int) *edgetest.Server {
	t.Helper()
	return edgetest.Start(t, rawConfig(t, workers))
}

func rawConfig(t testing.TB, workers int) string {
	t.Helper()
	php, root := testenv.PHP(t), testenv.Root(t)
	return fmt.Sprintf(`
http: {routes: [{match: {path: [/chat, /chat/*]}, ws: chat}, {php: app}]}
rpc: {}
ws: {limits: {rate: 0}, raw: {chat: {php: app, subprotocols: [v1], secret: %q}}}
php: {app: {command: [%s, %s], user: %s, workers: {min: %d, max: %d}, env: {SDK: %s}}}
`, rawSecret, php, filepath.Join(root, "core", "testdata", "ws", "worker.php"), currentUser(t), workers, workers, filepath.Join(root, "sdk", "php"))
}

func dialRaw(t testing.TB, s *edgetest.Server, query string, header ...string) *websocket.Conn {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat"+query, h)
	if err != nil {
		t.Fatalf("dial: %v (%v)\n%s", err, res, s.Log)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	return conn
}

func readRaw(t testing.TB, c *websocket.Conn) string {
	t.Helper()
	_, b, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRawWebSocketInPHP(t *testing.T) {
	t.Parallel()
	s := startRaw(t, 2)

	res, err := http.Get(s.HTTP + "/chat")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("GET without an upgrade: %s", res.Status)
	}
	_, res, err = websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat?token=wrong", nil)
	if err == nil || res == nil || res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("PHP refused, the client saw %v, %v", err, res)
	}
	_, res, _ = websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat?token=json", nil)
	if res == nil {
		t.Fatal("PHP refused with JSON, and there is no answer")
	}
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 403 || res.Header.Get("Content-Type") != "application/json" || string(body) != `{"no":true}` ||
		res.Header.Get("X-Content-Type-Options") != "" {
		t.Errorf("PHP refused with JSON, the client saw %v %q", res, body)
	}
	_, res, _ = websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat", http.Header{"Origin": {"https://evil.example"}})
	if res == nil || res.StatusCode != 403 {
		t.Errorf("another origin saw %v", res)
	}

	a, b := dialRaw(t, s, "?room=hall&user=anna", "Sec-WebSocket-Protocol", "v0, v1"), dialRaw(t, s, "?room=hall")
	if a.Subprotocol() != "v1" {
		t.Errorf("the subprotocol is %q", a.Subprotocol())
	}
	for i := range 50 { // in order
		a.WriteMessage(websocket.TextMessage, []byte(fmt.Sprint("message ", i)))
	}
	for i := range 50 {
		if got := readRaw(t, a); got != fmt.Sprint("message ", i) {
			t.Fatalf("message %d came back as %q", i, got)
		}
	}
	a.WriteMessage(websocket.BinaryMessage, []byte{1, 2, 255})
	if kind, got, _ := a.ReadMessage(); kind != websocket.BinaryMessage || string(got) != "\xff\x02\x01" {
		t.Errorf("binary came back as %d %q", kind, got)
	}
	a.WriteMessage(websocket.TextMessage, []byte("say hello"))
	if got := readRaw(t, b); got != "hello" {
		t.Errorf("the room got %q", got)
	}
	a.WriteMessage(websocket.TextMessage, []byte("bye"))
	if got := readRaw(t, a); got != "goodbye" {
		t.Errorf("got %q", got)
	}
	if _, _, err := a.ReadMessage(); !websocket.IsCloseError(err, 4001) || !strings.Contains(err.Error(), "as you wish") {
		t.Errorf("PHP closed, the client saw %v", err)
	}
	if got := readRaw(t, b); got != "left with 4001" {
		t.Errorf("disconnect: %q", got)
	}
}

// TestRawWebSocketsOutliveWhatServesThem reloads the workers, kills one and reloads the configuration: nobody is disconnected.
func TestRawWebSocketsOutliveWhatServesThem(t *testing.T) {
	t.Parallel()
	s := startRaw(t, 2)
	c := dialRaw(t, s, "")
	echo := func(when string) {
		t.Helper()
		c.WriteMessage(websocket.TextMessage, []byte(when))
		if got := readRaw(t, c); got != when {
			t.Errorf("%s: got %q", when, got)
		}
	}
	echo("at first")
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo("after a reload")
	c.WriteMessage(websocket.TextMessage, []byte("die"))
	echo("after a worker's death")
	s.WriteConfig(t, rawConfig(t, 2)+"\nlog: {level: debug}\n")
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo("after another configuration")

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }() // ends with the connection
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("the server stopped, the client saw %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestRawConnectionsByHTTP(t *testing.T) {
	t.Parallel()
	s := startRaw(t, 1)
	c := dialRaw(t, s, "?user=anna")
	id := ""
	testenv.Eventually(t, "the connection is listed", func() bool {
		m := regexp.MustCompile(`"id":"([0-9a-f]{16})"`).FindStringSubmatch(rawList(t, s))
		if m != nil {
			id = m[1]
		}
		return m != nil
	})
	do := func(method, id, secret, body string) (int, string) {
		t.Helper()
		r, _ := http.NewRequest(method, s.HTTP+"/chat/@connections/"+id, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+secret)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if status, _ := do("POST", id, "wrong", "x"); status != 401 {
		t.Errorf("a wrong secret: %d", status)
	}
	if status, _ := do("POST", "0000000000000001", rawSecret, "x"); status != 410 {
		t.Errorf("nobody's ID: %d", status)
	}
	if status, _ := do("POST", id, rawSecret, "pushed"); status != 204 {
		t.Errorf("a push: %d", status)
	}
	if got := readRaw(t, c); got != "pushed" {
		t.Errorf("got %q", got)
	}
	if status, text := do("GET", id, rawSecret, ""); status != 200 || !strings.Contains(text, `"user":"anna"`) {
		t.Errorf("about the connection: %d %s", status, text)
	}
	for body, want := range map[string]string{`[]`: "it must be an object, not a list", `{"rooms":[]}`: "there is no field", `{`: "it is not JSON",
		`{} {}`: "more follows behind it", `{"subscribe":[{"channel":"b","membr":"x"}]}`: "there is no field"} {
		if status, text := do("PATCH", id, rawSecret, body); status != 400 || !strings.Contains(text, want) || strings.Contains(text, "json:") {
			t.Errorf("PATCH %s: %d %s, want %q", body, status, text, want)
		}
	}
	channels, attributes := make([]string, 257), map[string]string{}
	for i := range channels {
		channels[i] = fmt.Sprint("many-", i)
	}
	for i := range raw.MaxAttributes {
		attributes[fmt.Sprint("a", i)] = "1"
	}
	patch := func(order raw.Order) (int, string) {
		t.Helper()
		body, _ := json.Marshal(order)
		return do("PATCH", id, rawSecret, string(body))
	}
	var many []raw.Subscription
	for _, name := range channels {
		many = append(many, raw.Subscription{Channel: name})
	}
	if status, text := patch(raw.Order{Attributes: map[string]string{"seat": "1"}, Subscribe: many}); status != 409 || !strings.Contains(text, "may have 256 channels") {
		t.Errorf("too many channels: %d %s", status, text)
	}
	if _, text := do("GET", id, rawSecret, ""); strings.Contains(text, "many-") || strings.Contains(text, "seat") {
		t.Errorf("half of an order that was refused is done: %s", text)
	}
	for range 2 { // as many as there may be, whether they are there or not
		if status, text := patch(raw.Order{Attributes: attributes}); status != 200 {
			t.Errorf("attributes: %d %s", status, text)
		}
	}
	if status, text := patch(raw.Order{Attributes: map[string]string{"a0": "", "new": "1"}}); status != 200 {
		t.Errorf("one for another: %d %s", status, text)
	}
	if status, text := patch(raw.Order{Attributes: map[string]string{"more": "1"}}); status != 409 || !strings.Contains(text, "would have 65") {
		t.Errorf("too many attributes: %d %s", status, text)
	}
	if status, _ := do("DELETE", id, rawSecret, ""); status != 204 {
		t.Errorf("a close: %d", status)
	}
	for _, method := range []string{"GET", "PATCH", "POST", "DELETE"} { // it need not have gone yet
		if status, text := do(method, id, rawSecret, "{}"); status != 410 {
			t.Errorf("%s to one that was closed: %d %s", method, status, text)
		}
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("closed with %v", err)
	}
}

// rawList is the answer of ws.Connections.
func rawList(t testing.TB, s *edgetest.Server) string {
	t.Helper()
	client, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(s.Dir, ".edge", "rpc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var list json.RawMessage
	if err := client.Call(t.Context(), "ws.Connections", map[string]string{"app": "chat"}, &list); err != nil {
		t.Fatal(err)
	}
	return string(list)
}

// BenchmarkRawEcho is round trips client, Edge, PHP and back.
func BenchmarkRawEcho(b *testing.B) {
	s := startRaw(b, 2)
	const clients = 64
	conns := make([]*websocket.Conn, clients)
	for i := range conns {
		conns[i] = dialRaw(b, s, "")
		conns[i].SetReadDeadline(time.Time{})
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			for n := i; n < b.N; n += clients {
				c.WriteMessage(websocket.TextMessage, []byte("hello, PHP"))
				if _, _, err := c.ReadMessage(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "roundtrips/s")
}

// TestRawWebSocketInWasm: the plugin answers, and its room has everybody who came.
func TestRawWebSocketInWasm(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http: {routes: [{match: {path: [/chat, /no]}, ws: chat}]}
plugins: {modules: {talk: {file: `+platformGuest(t, "WS")+`, allow: {publish: ["room.*"]}}}}
ws: {raw: {chat: {wasm: talk}}}
`)
	a, b := dialRaw(t, s, ""), dialRaw(t, s, "")
	if _, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/no", nil); err == nil || res == nil || res.StatusCode != 403 {
		t.Errorf("the plugin refused, the client saw %v, %v", err, res)
	}
	a.WriteMessage(websocket.TextMessage, []byte("hello"))
	if x, y, z := readRaw(t, a), readRaw(t, a), readRaw(t, b); x != "hello" || y != "hello" || z != "hello" {
		t.Errorf("the echo %q, the room %q and %q", x, y, z)
	}
	a.WriteMessage(websocket.TextMessage, []byte("Quit"))
	if _, _, err := a.ReadMessage(); !websocket.IsCloseError(err, 4000) {
		t.Errorf("the plugin closed, the client saw %v", err)
	}
	testenv.Eventually(t, "the metrics count the one who stayed", func() bool {
		text := rawMetrics(t, s)
		return strings.Contains(text, `edge_ws_connections{space="raw/chat"} 1`) && strings.Contains(text, `edge_ws_messages_total{space="raw/chat"} 2`)
	})
}

func rawMetrics(t *testing.T, s *edgetest.Server) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Dir, ".edge", "admin.sock"))
	}}}
	res, err := client.Get("http://admin/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return string(b)
}
