package ws_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{})
	c := w.dial()
	for i := range 100 {
		text := fmt.Sprint("hello ", i)
		c.WriteMessage(websocket.TextMessage, []byte(text))
		if got := read(t, c); got != text {
			t.Fatalf("got %q", got)
		}
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	opened := make(chan *ws.Conn, 10)
	w := start(t, &echo{open: func(c *ws.Conn) {
		if _, err := c.Space().Subscribe(t.Context(), c, "news", ws.SubscribeOptions{}); err != nil {
			t.Error(err)
		}
		opened <- c
	}})
	a, b := w.dial(), w.dial()
	first := <-opened
	<-opened
	for i := range 10 {
		w.space.Publish(t.Context(), "news", ws.PrepareText(fmt.Sprint(i)), ws.PublishOptions{})
	}
	for i := range 10 {
		if x, y := read(t, a), read(t, b); x != fmt.Sprint(i) || y != x {
			t.Fatalf("publication %d arrived as %q and %q", i, x, y)
		}
	}
	a.Close()
	b.Close()
	testenv.Eventually(t, "the channel is forgotten", func() bool { return w.space.Stats().Channels == 0 && w.space.Len() == 0 })
	if err := first.Send(ws.PrepareText("late")); err != ws.ErrClosed {
		t.Errorf("Send after the end: %v", err)
	}
}

// TestPanics end the connection whose they are, and nothing else.
func TestPanics(t *testing.T) {
	t.Parallel()
	closed := make(chan ws.CloseCode, 10)
	logger := &testenv.Log{}
	w := start(t, &echo{
		message: func(c *ws.Conn, kind ws.Kind, message []byte) {
			if string(message) == "boom" {
				panic("in OnMessage")
			}
			c.Send(ws.Prepare(kind, message))
		},
		close: func(_ *ws.Conn, code ws.CloseCode, _ string) { closed <- code },
	}, func(c *ws.EndpointConfig) { c.Logger = slog.New(slog.NewTextHandler(logger, nil)) })
	good, bad := w.dial(), w.dial()
	bad.WriteMessage(websocket.TextMessage, []byte("boom"))
	if _, _, err := bad.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseInternalServerErr) {
		t.Errorf("the client saw %v", err)
	}
	if code := <-closed; code != ws.CloseInternal {
		t.Errorf("OnClose got %d", code)
	}
	if !strings.Contains(logger.String(), "in OnMessage") {
		t.Error("the panic is not in the log")
	}
	good.WriteMessage(websocket.TextMessage, []byte("still here"))
	if got := read(t, good); got != "still here" {
		t.Errorf("the other one got %q", got)
	}
	testenv.Eventually(t, "the broken one is forgotten", func() bool { return w.space.Len() == 1 })
}

// TestPanicInAccept is the HTTP server's to log; the hub must not wait for that connection at its stop.
func TestPanicInAccept(t *testing.T) {
	t.Parallel()
	hub := ws.NewHub(ws.Options{Logger: slog.New(slog.DiscardHandler)})
	limits := ws.DefaultLimits()
	limits.Connections = 1
	endpoint, err := ws.NewEndpoint(ws.EndpointConfig{Space: hub.Space("test"), Limits: limits, Logger: slog.New(slog.DiscardHandler),
		Protocol: &echo{accept: func(*http.Request, *ws.Conn) error { panic("in Accept") }}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first one must not take the place of the second
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic came through: %d %s", w.Code, w.Body)
				}
			}()
			endpoint.ServeHTTP(w, r)
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := hub.Stop(ctx); err != nil {
		t.Error(err)
	}
}
