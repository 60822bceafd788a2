package raw_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/jwtkeys"
	"github.com/edge-server/edge/ws/raw"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// backend is slow: it deals with messages until it is told to go on.
type backend struct {
	now, most, ended atomic.Int64
	release          chan struct{}
}

func newBackend() *backend { return &backend{release: make(chan struct{})} }

func (b *backend) Connect(*http.Request, *ws.Conn) error { return nil }

func (b *backend) Message(context.Context, *ws.Conn, ws.Kind, []byte) error {
	n := b.now.Add(1)
	for m := b.most.Load(); n > m && !b.most.CompareAndSwap(m, n); m = b.most.Load() {
	}
	<-b.release
	b.now.Add(-1)
	return nil
}

func (b *backend) Disconnect(context.Context, *ws.Conn, ws.CloseCode, string) error {
	b.ended.Add(1)
	return nil
}

type world struct {
	*raw.App
	t   *testing.T
	hub *ws.Hub
	url string
}

func setup(t *testing.T, cfg raw.Config, b raw.Backend) *world {
	t.Helper()
	hub := ws.NewHub(ws.Options{Logger: slog.New(slog.DiscardHandler)})
	app, err := raw.New("chat", cfg, raw.Options{Hub: hub, Backend: b, Limits: ws.DefaultLimits(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(app)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = hub.Stop(ctx)
		s.Close()
	})
	return &world{app, t, hub, "ws" + strings.TrimPrefix(s.URL, "http") + "/"}
}

func (w *world) change(cfg raw.Config, b raw.Backend, rate int) {
	w.t.Helper()
	limits := ws.DefaultLimits()
	limits.Rate = rate
	commit, err := w.Change(cfg, b, limits)
	if err != nil {
		w.t.Fatal(err)
	}
	commit()
}

func (w *world) dial(query string) *websocket.Conn {
	w.t.Helper()
	c, res, err := websocket.DefaultDialer.Dial(w.url+query, nil)
	if err != nil {
		w.t.Fatal(err, res)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// clients connect; a handshake takes a slot, too.
func (w *world) clients(n int) (list []*websocket.Conn) {
	w.t.Helper()
	for range n {
		list = append(list, w.dial(""))
	}
	return list
}

func send(t *testing.T, clients []*websocket.Conn) {
	t.Helper()
	for _, c := range clients {
		if err := c.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConcurrencyHoldsThroughChanges: a change of something else gives no more of it.
func TestConcurrencyHoldsThroughChanges(t *testing.T) {
	t.Parallel()
	b, cfg := newBackend(), raw.Config{PHP: "app", Concurrency: 2}
	w := setup(t, cfg, b)
	clients := w.clients(10)
	for n := range 5 {
		send(t, clients[2*n:2*n+2])
		testenv.Eventually(t, "two are dealt with", func() bool { return b.now.Load() >= 2 })
		time.Sleep(50 * time.Millisecond) // for those who should wait
		w.change(cfg, b, 2000+n)
	}
	if n := b.most.Load(); n != 2 {
		t.Errorf("concurrency is 2, %d events were dealt with at a time", n)
	}
	close(b.release)
	testenv.Eventually(t, "all have their turn", func() bool { return w.Stats().Events == 20 })
}

// TestConcurrencyChanges: more helps those who wait, and less holds as soon as that many have ended.
func TestConcurrencyChanges(t *testing.T) {
	t.Parallel()
	b, cfg := newBackend(), raw.Config{PHP: "app", Concurrency: 1}
	w := setup(t, cfg, b)
	send(t, w.clients(4))
	testenv.Eventually(t, "one is dealt with", func() bool { return b.now.Load() == 1 })
	cfg.Concurrency = 64
	w.change(cfg, b, 1000)
	testenv.Eventually(t, "all are dealt with", func() bool { return b.now.Load() == 4 })
	cfg.Concurrency = 3
	w.change(cfg, b, 1000)
	b.release <- struct{}{}
	b.release <- struct{}{}
	testenv.Eventually(t, "two have ended", func() bool { return b.now.Load() == 2 })
	cfg.Concurrency = 2
	w.change(cfg, b, 1000)
	go func() { // waits for a slot in the handshake
		if c, _, err := websocket.DefaultDialer.DialContext(t.Context(), w.url, nil); err == nil {
			c.Close()
		}
	}()
	time.Sleep(50 * time.Millisecond)
	if n := w.Space().Len(); n != 4 {
		t.Errorf("there are %d connections, the fifth has to wait", n)
	}
	close(b.release)
	testenv.Eventually(t, "it may come", func() bool { return w.Stats().Events >= 9 })
}

// TestPublishedKeysOutliveAChange: a change of something else while the server of the keys is away.
func TestPublishedKeysOutliveAChange(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(keys.Close)
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "anna"})
	token.Header["kid"] = "a"
	text, err := token.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	b, cfg := newBackend(), raw.Config{PHP: "app", Concurrency: 2, JWT: &raw.JWT{Query: "token", User: "sub", Config: jwtkeys.Config{JWKSURL: keys.URL}}}
	w := setup(t, cfg, b)
	w.dial("?token=" + text)
	away.Store(true)
	w.change(cfg, b, 2000)
	w.dial("?token=" + text)

	other := cfg
	other.JWT = &raw.JWT{Query: "token", User: "sub", Config: jwtkeys.Config{JWKSURL: keys.URL + "/other"}}
	w.change(other, b, 2000)
	if _, res, err := websocket.DefaultDialer.Dial(w.url+"?token="+text, nil); err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("keys of another URL: %v, %v", res, err)
	}
}

// TestConnectionsKeepTheirBackend, even where somebody has come just before it was another.
func TestConnectionsKeepTheirBackend(t *testing.T) {
	t.Parallel()
	before, after, cfg := newBackend(), newBackend(), raw.Config{PHP: "app", Concurrency: 2}
	w := setup(t, cfg, before)
	c := w.dial("")
	w.change(cfg, after, 1000)
	d := w.dial("")
	c.Close()
	testenv.Eventually(t, "it ended where it began", func() bool { return before.ended.Load() == 1 })
	d.Close()
	testenv.Eventually(t, "it ended where it began", func() bool { return after.ended.Load() == 1 })
}

// TestRetire: whoever was just coming is sent away.
func TestRetire(t *testing.T) {
	t.Parallel()
	b := newBackend()
	w := setup(t, raw.Config{PHP: "app", Concurrency: 2}, b)
	c := w.dial("")
	w.Retire()
	w.hub.Forget(w.Space())
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("who was there gets %v", err)
	}
	if _, res, err := websocket.DefaultDialer.Dial(w.url, nil); err == nil || res == nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("who comes late gets %v, %v", res, err)
	}
	testenv.Eventually(t, "the application hears of the end", func() bool { return b.ended.Load() == 1 })
}

func TestValidateLooksAtOrigins(t *testing.T) {
	t.Parallel()
	cfg := raw.Config{PHP: "app", Concurrency: 2, Origins: []string{"https://example.com", "https://*"}}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `origins[1]: "https://*" is no origin`) {
		t.Errorf("got %v", err)
	}
}
