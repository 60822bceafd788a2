package core_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestSoakReloadsOfEverything: the configuration changes again and again under load over every protocol and with WebSockets open. No
// request fails, no WebSocket drops, and the answers are those of the configuration in force.
func TestSoakReloadsOfEverything(t *testing.T) {
	config := func(n int) string {
		return strings.Replace(rawConfig(t, 1), "routes: [", fmt.Sprintf("routes: [{match: {path: /n}, respond: {body: 'n%d'}}, ", n), 1)
	}
	s := edgetest.Start(t, config(0))
	sockets := testenv.Count(50, 1000)
	var dropped atomic.Int64
	var closing atomic.Bool
	var readers sync.WaitGroup
	pongs := make(chan struct{}, sockets)
	conns := make([]*websocket.Conn, sockets)
	for i := range conns {
		conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat", nil)
		if err != nil {
			t.Fatalf("dial %d: %v (%v)", i, err, res)
		}
		conns[i] = conn
		conn.SetPongHandler(func(text string) error {
			if text == "last" {
				pongs <- struct{}{}
			}
			return nil
		})
		readers.Go(func() { // ends with the connection
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					if !closing.Load() {
						dropped.Add(1)
					}
					return
				}
			}
		})
	}
	var traffic []*load
	for _, m := range s.Modes(t) {
		traffic = append(traffic, startLoad(m, 4, "/n", func(status int, body string) bool { return status == 200 && strings.HasPrefix(body, "n") }))
	}
	reloads, refused := testenv.Count(10, 200), 0
	began := time.Now()
	for n := 1; n <= reloads; n++ {
		if n%5 == 0 { // one that is refused changes nothing
			s.WriteConfig(t, config(n)+"\nnonsense: 1\n")
			if err := s.ReloadFile(t.Context()); err == nil {
				t.Error("nonsense was accepted")
			}
			refused++
		}
		s.WriteConfig(t, config(n))
		if err := s.ReloadFile(t.Context()); err != nil {
			t.Fatalf("reload %d: %v", n, err)
		}
		if _, body := s.Modes(t)[0].Get(t, "/n"); body != fmt.Sprintf("n%d", n) {
			t.Errorf("after reload %d: %q", n, body)
		}
	}
	took := time.Since(began)
	for _, l := range traffic {
		l.end(t)
	}
	for _, conn := range conns {
		conn.WriteControl(websocket.PingMessage, []byte("last"), time.Now().Add(30*time.Second))
	}
	deadline := time.After(time.Minute)
	answered := 0
	for waiting := true; waiting && answered < sockets; {
		select {
		case <-pongs:
			answered++
		case <-deadline:
			waiting = false
		}
	}
	closing.Store(true)
	for _, conn := range conns {
		conn.Close()
	}
	readers.Wait()
	t.Logf("%d reloads and %d that were refused in %s; %d WebSockets, %d dropped, %d answer at the end", reloads, refused, took.Round(time.Millisecond), sockets, dropped.Load(), answered)
	if dropped.Load() > 0 || answered != sockets {
		t.Errorf("%d WebSockets dropped, %d of %d answer", dropped.Load(), answered, sockets)
	}
}
