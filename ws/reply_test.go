package ws_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/ws"
)

// TestReply has a protocol reply from OnMessage, behind something it has sent, while others publish: all comes, and each of the three in order.
func TestReply(t *testing.T) {
	t.Parallel()
	const messages, publications = 200, 400 // together fewer than may wait
	w := start(t, &echo{
		open: func(c *ws.Conn) {
			if _, err := c.Space().Subscribe(t.Context(), c, "news", ws.SubscribeOptions{}); err != nil {
				t.Error(err)
			}
			c.Send(ws.PrepareText("ready 0"))
		},
		message: func(c *ws.Conn, _ ws.Kind, message []byte) {
			if string(message) != "0" { // the first is a reply alone
				c.Send(ws.PrepareText("sent " + string(message)))
			}
			if err := c.Reply(ws.PrepareText("reply " + string(message))); err != nil {
				t.Error(err)
			}
		},
	})
	for _, url := range []string{"ws://" + w.plain, "wss://" + w.secure} {
		c, _, err := (&websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: w.roots, ServerName: "localhost"}}).Dial(url+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(patience))
		if got := read(t, c); got != "ready 0" {
			t.Fatalf("got %q", got)
		}
		var wg sync.WaitGroup
		wg.Go(func() { // ends with its messages
			for i := range messages {
				if err := c.WriteMessage(websocket.TextMessage, fmt.Append(nil, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() { // ends with its publications
			for i := range publications {
				if _, err := w.space.Publish(t.Context(), "news", ws.PrepareText(fmt.Sprint("news ", i)), ws.PublishOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
		next := map[string]int{"sent": 1}
		for range messages + messages - 1 + publications {
			got := read(t, c)
			kind, text, _ := strings.Cut(got, " ")
			if text != fmt.Sprint(next[kind]) || kind == "reply" && next["reply"] > 0 && next["sent"] <= next["reply"] {
				t.Fatalf("got %q after %v", got, next)
			}
			next[kind]++
		}
		wg.Wait()
	}
}

// TestReplyDoesNotWait replies to a client that does not read until that is disconnected: the handler is never held up.
func TestReplyDoesNotWait(t *testing.T) {
	t.Parallel()
	big := ws.Prepare(ws.Binary, make([]byte, 100<<10))
	ended := make(chan ws.CloseCode, 1)
	w := start(t, &echo{
		message: func(c *ws.Conn, _ ws.Kind, _ []byte) {
			for range 1000 { // far more than sockets and queues hold
				if c.Reply(big) != nil {
					return
				}
			}
			t.Error("all was taken")
		},
		close: func(_ *ws.Conn, code ws.CloseCode, _ string) { ended <- code },
	}, func(cfg *ws.EndpointConfig) { cfg.Limits.CloseTimeout = 200 * time.Millisecond })
	c := w.dial()
	if err := c.WriteMessage(websocket.TextMessage, []byte("go")); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-ended:
		if code != ws.ClosePolicy {
			t.Errorf("closed with %d", code)
		}
	case <-time.After(patience):
		t.Fatal("the handler waits for the client")
	}
}
