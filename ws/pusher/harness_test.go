package pusher_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/pusher"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds every wait for something that must happen.
const patience = time.Minute

const (
	key    = "app-key"
	secret = "app-secret"
)

// world is a server with the app "main", and what its back end needs.
type world struct {
	*pusher.Server
	t    testing.TB
	hub  *ws.Hub
	http *httptest.Server
	log  testenv.Log
}

// start serves the app main and others; change may alter the configuration first.
func start(t testing.TB, change ...func(*pusher.Config)) *world {
	t.Helper()
	return startOn(t, nil, change...)
}

// startOn is start with a broker of one's own.
func startOn(t testing.TB, broker ws.Broker, change ...func(*pusher.Config)) *world {
	t.Helper()
	cfg := config(change...)
	w := &world{t: t}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	w.hub = ws.NewHub(ws.Options{Logger: log, Broker: broker})
	var err error
	if w.Server, err = pusher.New(cfg, pusher.Options{Hub: w.hub, Logger: log, Limits: ws.DefaultLimits()}); err != nil {
		t.Fatal(err)
	}
	check(t, w.hub.Start(t.Context()))
	check(t, w.Server.Start(t.Context()))
	w.http = httptest.NewServer(w.Server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		check(t, w.hub.Stop(ctx))
		if err := w.Stop(ctx); err != nil {
			t.Log(err) // webhooks of a test whose receiver is gone
		}
		w.http.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

// app changes the app main.
func app(change func(*pusher.App)) func(*pusher.Config) {
	return func(c *pusher.Config) {
		a := c.Apps["main"]
		change(&a)
		c.Apps["main"] = a
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is a connection that sends and reads whatever a test wants.
type client struct {
	*websocket.Conn
	t  testing.TB
	id string // socket id
}

// dial opens a WebSocket at a path, without waiting for the greeting.
func (w *world) dial(path string, header http.Header) *client {
	w.t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.http.URL, "http")+path, header)
	if err != nil {
		w.t.Fatalf("dial %s: %v %+v", path, err, resp)
	}
	w.t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, t: w.t}
}

// connect opens a WebSocket of an app and reads the greeting.
func (w *world) connect() *client { w.t.Helper(); return w.connectTo(key) }

func (w *world) connectTo(key string) *client {
	w.t.Helper()
	c := w.dial("/app/"+key+"?protocol=7&client=test&version=1.0", nil)
	var data struct {
		SocketID string `json:"socket_id"`
		Timeout  int    `json:"activity_timeout"`
	}
	c.want("pusher:connection_established", "", &data)
	if c.id = data.SocketID; c.id == "" || data.Timeout != 60 {
		w.t.Fatalf("greeting %+v", data)
	}
	return c
}

// frame is what the server sends.
type frame struct {
	Event, Channel string
	Data           any
	UserID         string `json:"user_id"`
}

func (f frame) text() string { s, _ := f.Data.(string); return s }

func (c *client) send(event, channel string, data any) {
	c.t.Helper()
	m := map[string]any{"event": event, "data": data}
	if channel != "" {
		m["channel"] = channel
	}
	check(c.t, c.WriteJSON(m))
}

func (c *client) sendRaw(text string) {
	c.t.Helper()
	check(c.t, c.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (c *client) next() frame {
	c.t.Helper()
	check(c.t, c.SetReadDeadline(time.Now().Add(patience)))
	var f frame
	if err := c.ReadJSON(&f); err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return f
}

// want reads the next frame and, with into, its data.
func (c *client) want(event, channel string, into any) frame {
	c.t.Helper()
	f := c.next()
	if f.Event != event || f.Channel != channel {
		c.t.Fatalf("got %+v, want %s on %q", f, event, channel)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(f.text()), into); err != nil {
			c.t.Fatalf("the data of %+v: %v", f, err)
		}
	}
	return f
}

type errorData struct {
	Code    *int
	Message string
}

// wantError reads a pusher:error; code 0 is null.
func (c *client) wantError(code int, says string) {
	c.t.Helper()
	var data errorData
	c.want("pusher:error", "", &data)
	got := 0
	if data.Code != nil {
		got = *data.Code
	}
	if got != code || !strings.Contains(data.Message, says) {
		c.t.Fatalf("error %d %q, want %d %q", got, data.Message, code, says)
	}
}

// wantDenied reads the two frames that refuse a subscription.
func (c *client) wantDenied(channel string, status int, says string) {
	c.t.Helper()
	code := 0
	if status == 401 {
		code = 4009
	}
	c.wantError(code, says)
	var data struct {
		Type, Error string
		Status      int
	}
	c.want("pusher:subscription_error", channel, &data)
	if data.Status != status || !strings.Contains(data.Error, says) || data.Type == "" {
		c.t.Fatalf("subscription error %+v, want %d %q", data, status, says)
	}
}

// wantClose reads the close frame.
func (c *client) wantClose(code int) {
	c.t.Helper()
	check(c.t, c.SetReadDeadline(time.Now().Add(patience)))
	_, m, err := c.ReadMessage()
	if !websocket.IsCloseError(err, code) {
		c.t.Fatalf("%s %v, want the close code %d", m, err, code)
	}
}

// quiet makes sure that nothing came: it asks for a pong, which must be the next frame.
func (c *client) quiet() {
	c.t.Helper()
	c.send("pusher:ping", "", map[string]any{})
	c.want("pusher:pong", "", nil)
}

// subscribe subscribes with whatever signature the channel needs. member is "" or channel_data.
func (c *client) subscribe(channel, member string) frame {
	c.t.Helper()
	c.ask(channel, member)
	return c.want("pusher_internal:subscription_succeeded", channel, nil)
}

func (c *client) ask(channel, member string) {
	c.t.Helper()
	data := map[string]any{"channel": channel}
	signed := c.id + ":" + channel
	if member != "" {
		data["channel_data"] = member
		signed += ":" + member
	}
	if strings.HasPrefix(channel, "private-") || strings.HasPrefix(channel, "presence-") {
		data["auth"] = key + ":" + mac(signed)
	}
	c.send("pusher:subscribe", "", data)
}

func (c *client) signin(userData string) {
	c.t.Helper()
	c.send("pusher:signin", "", map[string]any{"auth": key + ":" + mac(c.id+"::user::"+userData), "user_data": userData})
}

func mac(text string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

// call makes a signed call of the HTTP API.
func (w *world) call(method, path string, query url.Values, body string) (status int, answer string) {
	w.t.Helper()
	return w.callRaw(method, w.signed(method, path, query, body), body)
}

// signed is the target of a call.
func (w *world) signed(method, path string, query url.Values, body string) string {
	if query == nil {
		query = url.Values{}
	}
	query.Set("auth_key", key)
	query.Set("auth_version", "1.0")
	query.Set("auth_timestamp", fmt.Sprint(time.Now().Unix()))
	if body != "" {
		sum := md5.Sum([]byte(body))
		query.Set("body_md5", hex.EncodeToString(sum[:]))
	}
	var pairs []string
	for k := range query {
		pairs = append(pairs, k+"="+query.Get(k))
	}
	slices.Sort(pairs)
	query.Set("auth_signature", mac(method+"\n"+path+"\n"+strings.Join(pairs, "&")))
	return path + "?" + query.Encode()
}

func (w *world) callRaw(method, target, body string) (status int, answer string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+target, bytes.NewReader([]byte(body)))
	check(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	check(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return resp.StatusCode, string(text)
}

// api makes a call that must succeed.
func (w *world) api(method, path, body string, query ...string) string {
	w.t.Helper()
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	status, answer := w.call(method, "/apps/1/"+path, values, body)
	if status != 200 {
		w.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// trigger publishes.
func (w *world) trigger(channel, event, data string) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"name": event, "channel": channel, "data": data})
	w.api("POST", "events", string(body))
}

// receiver is a server that webhooks are sent to.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	events   []map[string]any
	requests int
	bad      string
	answer   func(request int) int // the status
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{answer: func(int) int { return 200 }}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests++
		if status := r.answer(r.requests); status != 200 {
			w.WriteHeader(status)
			return
		}
		var in struct {
			TimeMS int64 `json:"time_ms"`
			Events []map[string]any
		}
		if err := json.Unmarshal(body, &in); err != nil || req.Header.Get("X-Pusher-Key") != key || req.Header.Get("X-Pusher-Signature") != mac(string(body)) ||
			req.Header.Get("Content-Type") != "application/json" || time.Since(time.UnixMilli(in.TimeMS)) > time.Minute {
			r.bad = fmt.Sprintf("%v %v %s", err, req.Header, body)
		}
		r.events = append(r.events, in.Events...)
	}))
	t.Cleanup(r.Close)
	return r
}

// wait returns the first event that fits, when it has come.
func (r *receiver) wait(t testing.TB, name, channel string) map[string]any {
	t.Helper()
	var found map[string]any
	testenv.Eventually(t, "the webhook "+name+" of "+channel, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if e["name"] == name && e["channel"] == channel {
				found = e
			}
		}
		return found != nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad != "" {
		t.Fatalf("a bad request: %s", r.bad)
	}
	return found
}

func (r *receiver) count(name string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e["name"] == name {
			n++
		}
	}
	return n
}
