package ws_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// impatient has limits that run out within a test.
func impatient(c *ws.EndpointConfig) {
	c.Limits.Queue, c.Limits.QueueMessages = 16*bytesize.KiB, 64
	c.Limits.WriteTimeout, c.Limits.ReadTimeout, c.Limits.CloseTimeout = time.Second, 500*time.Millisecond, 500*time.Millisecond
	c.Limits.PingInterval, c.Limits.PongTimeout = time.Second, 3*time.Second
	c.Limits.Rate = 200
}

// TestHostileClients: each is gone by its limit, whatever carries it, and who behaves notices nothing.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	big := ws.Prepare(ws.Text, bytes.Repeat([]byte("x"), 8<<10))
	for _, carrier := range carriers {
		for name, attack := range map[string]func(t *testing.T, w *world, l *link, read *atomic.Int64){
			"never reads": func(t *testing.T, w *world, _ *link, read *atomic.Int64) {
				testenv.Eventually(t, "it is gone", func() bool {
					for range 8 { // each when the one who behaves has the one before
						before := read.Load()
						w.space.Publish(t.Context(), "all", big, ws.PublishOptions{})
						testenv.Eventually(t, "it has been read", func() bool { return read.Load() > before })
					}
					return w.space.Len() == 1
				})
				if st := w.space.Stats(); st.Slow+st.Lost == 0 {
					t.Error("its end is counted nowhere")
				}
			},
			"an octet at a time": func(t *testing.T, w *world, l *link, _ *atomic.Int64) {
				for _, b := range octets(frame(whole, bytes.Repeat([]byte("x"), 4000))) {
					l.Write(b)
					time.Sleep(20 * time.Millisecond) // what the attack is
					if w.space.Len() == 1 {
						return
					}
				}
				t.Error("it could go on")
			},
			"floods": func(t *testing.T, w *world, l *link, _ *atomic.Int64) {
				go func() { // ends with the connection
					for {
						if _, err := l.Write(bytes.Repeat(frame(fin|ping, nil), 100)); err != nil {
							return
						}
					}
				}()
				testenv.Eventually(t, "it is gone", func() bool { return w.space.Len() == 1 })
			},
			"is silent": func(t *testing.T, w *world, l *link, _ *atomic.Int64) {
				testenv.Eventually(t, "it is gone", func() bool { return w.space.Len() == 1 })
			},
			"goes without a word": func(t *testing.T, w *world, l *link, _ *atomic.Int64) {
				l.close()
				testenv.Eventually(t, "it is gone", func() bool { return w.space.Len() == 1 })
			},
		} {
			t.Run(carrier.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := start(t, &echo{open: func(c *ws.Conn) {
					c.Space().Subscribe(t.Context(), c, "all", ws.SubscribeOptions{})
				}}, impatient)
				good := w.dial()
				heard := make(chan string, 1<<16)
				var read atomic.Int64 // large messages
				go func() {           // ends with the connection; it reads whatever comes, pings too
					for {
						_, b, err := good.ReadMessage()
						if err != nil {
							close(heard)
							return
						}
						if len(b) < 100 {
							heard <- string(b)
						} else {
							read.Add(1)
						}
					}
				}()
				l := carrier.open(w, nil)
				testenv.Eventually(t, "both listen", func() bool {
					all, err := w.space.Channel(t.Context(), "all")
					return err == nil && all.Subscribers == 2
				})
				attack(t, w, l, &read)
				good.WriteMessage(websocket.TextMessage, []byte("still here"))
				if got := <-heard; got != "still here" {
					t.Errorf("the one who behaves got %q", got)
				}
				good.Close()
				for range heard {
				}
			})
		}
	}
}

func TestHalfClose(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{})
	conn, err := net.Dial("tcp", w.plain)
	if err != nil {
		t.Fatal(err)
	}
	l := w.upgrade(conn, nil)
	testenv.Eventually(t, "it is there", func() bool { return w.space.Len() == 1 })
	conn.(*net.TCPConn).CloseWrite()
	l.ended()
	testenv.Eventually(t, "it is gone", func() bool { return w.space.Len() == 0 })
}

// TestSlowPolicies fills the queue of a client while its connection's writer waits.
func TestSlowPolicies(t *testing.T) {
	t.Parallel()
	for _, policy := range []ws.SlowPolicy{ws.DropOldest, ws.DropNewest, ws.Disconnect} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			w := start(t, &echo{open: func(c *ws.Conn) {
				c.Space().Subscribe(t.Context(), c, "all", ws.SubscribeOptions{})
			}}, func(c *ws.EndpointConfig) {
				c.Limits.Slow, c.Limits.QueueMessages = policy, 16
				c.Limits.CloseTimeout, c.Limits.WriteTimeout = time.Second, 20*time.Second
			})
			c := w.dial()
			testenv.Eventually(t, "it is there", func() bool { return w.space.Stats().Channels == 1 })
			conn := w.space.Conns()[0]
			filler := bytes.Repeat([]byte("x"), 64<<10)
			n := 0
			testenv.Eventually(t, "the queue is full", func() bool { // of the client's socket, then of ours
				for range 50 {
					n++
					w.space.Publish(t.Context(), "all", ws.Prepare(ws.Text, fmt.Appendf(nil, "%08d%s", n, filler)), ws.PublishOptions{})
				}
				return conn.Dropped() > 0 || w.space.Stats().Slow > 0
			})
			if policy == ws.Disconnect {
				for {
					if _, _, err := c.ReadMessage(); err != nil {
						return
					}
				}
			}
			last, gap := 0, 0
			for got := 0; got < n-conn.Dropped(); got++ {
				var k int
				fmt.Sscanf(read(t, c)[:8], "%d", &k)
				if k <= last {
					t.Fatalf("%d came after %d", k, last)
				}
				if gap == 0 && k > last+1 {
					gap = last + 1
				}
				last = k
			}
			if policy == ws.DropOldest && last != n {
				t.Errorf("the newest of %d is missing, the last was %d", n, last)
			}
			if policy == ws.DropNewest && last == n && gap == 0 {
				t.Errorf("nothing is missing of %d, although %d were dropped", n, conn.Dropped())
			}
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	status := func(w *world, h http.Header) int {
		l := w.openH1(h)
		defer l.close()
		return l.res.StatusCode
	}
	byUser := &echo{accept: func(r *http.Request, c *ws.Conn) error {
		c.SetUser(r.Header.Get("X-User"))
		return nil
	}}
	for name, tt := range map[string]struct {
		change func(*ws.EndpointConfig)
		second http.Header
		want   int
	}{
		"all":          {func(c *ws.EndpointConfig) { c.Limits.Connections = 1 }, nil, 503},
		"per address":  {func(c *ws.EndpointConfig) { c.Limits.PerIP = 1 }, nil, 429},
		"per user":     {func(c *ws.EndpointConfig) { c.Limits.PerUser = 1 }, http.Header{"X-User": {"anna"}}, 429},
		"another user": {func(c *ws.EndpointConfig) { c.Limits.PerUser = 1 }, http.Header{"X-User": {"bert"}}, 101},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, byUser, tt.change)
			first := w.dial("X-User", "anna")
			if got := status(w, tt.second); got != tt.want {
				t.Errorf("the second got %d, want %d", got, tt.want)
			}
			first.Close()
			testenv.Eventually(t, "there is room again", func() bool { return status(w, tt.second) == 101 })
		})
	}
}

func TestHandshakeIsStrict(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{}, func(c *ws.EndpointConfig) {
		c.Origins = []string{"https://good.example", "https://*.wide.example", "http://odd.example:8080"}
		c.Subprotocols = []string{"b", "a"}
	})
	for _, tt := range []struct {
		name string
		h    http.Header
		want int
	}{
		{"no upgrade", http.Header{"Upgrade": nil}, 426},
		{"another upgrade", http.Header{"Upgrade": {"h2c"}}, 426},
		{"no connection header", http.Header{"Connection": {"keep-alive"}}, 426},
		{"a list in Connection", http.Header{"Connection": {"keep-alive, Upgrade"}}, 101},
		{"no version", http.Header{"Sec-Websocket-Version": nil}, 426},
		{"version 8", http.Header{"Sec-Websocket-Version": {"8"}}, 426},
		{"two versions", http.Header{"Sec-Websocket-Version": {"13", "13"}}, 426},
		{"no key", http.Header{"Sec-Websocket-Key": nil}, 400},
		{"a short key", http.Header{"Sec-Websocket-Key": {"dGhlIHNhbXBsZQ=="}}, 400},
		{"two keys", http.Header{"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="}}, 400},
		{"no base64", http.Header{"Sec-Websocket-Key": {"!!hlIHNhbXBsZSBub25jZQ=="}}, 400},
		{"a body", http.Header{"Content-Length": {"1"}}, 400},
		{"bad subprotocols", http.Header{"Sec-Websocket-Protocol": {"a b"}}, 400},
		{"empty elements among subprotocols", http.Header{"Sec-Websocket-Protocol": {", a,, b ,"}}, 101},
		{"the same origin", http.Header{"Origin": {"http://localhost"}}, 101},
		{"a good origin", http.Header{"Origin": {"https://good.example"}}, 101},
		{"its port", http.Header{"Origin": {"https://good.example:443"}}, 101},
		{"another port", http.Header{"Origin": {"https://good.example:444"}}, 403},
		{"another scheme", http.Header{"Origin": {"http://good.example"}}, 403},
		{"below", http.Header{"Origin": {"https://a.b.wide.example"}}, 101},
		{"beside", http.Header{"Origin": {"https://badwide.example"}}, 403},
		{"a port of its own", http.Header{"Origin": {"http://odd.example:8080"}}, 101},
		{"an origin that ends alike", http.Header{"Origin": {"https://evilgood.example"}}, 403},
		{"null", http.Header{"Origin": {"null"}}, 403},
		{"two origins", http.Header{"Origin": {"https://good.example", "https://good.example"}}, 403},
	} {
		l := w.openH1(tt.h)
		if l.res.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, l.res.StatusCode, tt.want)
		}
		l.close()
	}
	l := w.openH1(http.Header{"Sec-Websocket-Protocol": {"a, c", "b"}})
	if got := l.res.Header.Get("Sec-Websocket-Protocol"); got != "b" {
		t.Errorf("the subprotocol is %q", got)
	}
	if got := l.res.Header.Get("Sec-Websocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // of RFC 6455, 1.3
		t.Errorf("the accept key is %q", got)
	}
}

// TestStop tells clients to come back, on every carrier, and refuses others meanwhile.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, &echo{})
			l := carrier.open(w, nil)
			go w.hub.Stop(t.Context()) // the world's own stop waits for it
			f, err := l.next()
			if err != nil || f.first != fin|shut || !strings.Contains(string(f.payload), "the server restarts") {
				t.Fatalf("got %s, %v", f, err)
			}
			l.Write(closing(1012, ""))
			l.ended()
		})
	}
}
