package ws_test

import (
	"fmt"
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
