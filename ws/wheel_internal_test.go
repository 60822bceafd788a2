package ws

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
)

// slowly is a protocol that takes its time.
type slowly struct{ has, goes chan struct{} }

func (*slowly) Accept(*http.Request, *Conn) error { return nil }
func (*slowly) OnOpen(*Conn)                      {}
func (*slowly) OnClose(*Conn, CloseCode, string)  {}

func (s *slowly) OnMessage(c *Conn, _ Kind, _ []byte) {
	s.has <- struct{}{}
	<-s.goes
	_ = c.Send(PrepareText("done"))
}

// TestPatientWithClients: a client is not lost because nobody looks for its answer, only when somebody does.
func TestPatientWithClients(t *testing.T) {
	t.Parallel()
	hub := NewHub(Options{Logger: slog.New(slog.DiscardHandler)}) // its wheel is turned here
	s := &slowly{make(chan struct{}), make(chan struct{})}
	limits := DefaultLimits()
	endpoint, err := NewEndpoint(EndpointConfig{Space: hub.Space("s"), Protocol: s, Limits: limits, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(endpoint)
	t.Cleanup(server.Close)
	client, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.WriteMessage(websocket.TextMessage, []byte("work")); err != nil {
		t.Fatal(err)
	}
	<-s.has
	turn := func() {
		for range 4 * ticks(limits.PingInterval+limits.PongTimeout) {
			hub.wheel.advance()
		}
	}
	turn()
	stats := func() SpaceStats { return hub.Stats().Spaces[0] }
	if n := stats().Lost; n != 0 {
		t.Fatalf("%d clients are lost while the application works", n)
	}
	s.goes <- struct{}{}
	if _, text, err := client.ReadMessage(); err != nil || string(text) != "done" {
		t.Fatalf("%q, %v", text, err)
	}
	testenv.Eventually(t, "a client that says nothing is lost", func() bool {
		turn()
		return stats().Lost == 1
	})
	client.Close()
	testenv.Eventually(t, "it has gone", func() bool { return stats().Connections == 0 })
}

// TestUnread: what has come and was not read yet counts as an answer.
func TestUnread(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c := &Conn{raw: raw}
	if c.unread() || (&Conn{}).unread() {
		t.Error("nothing has come")
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "it has come", c.unread)
	if _, err := server.Read(make([]byte, 1)); err != nil || c.unread() {
		t.Errorf("it was read: %v", err)
	}
	client.Close()
	if _, err := server.Read(make([]byte, 1)); err != io.EOF || c.unread() {
		t.Errorf("an end is no answer: %v", err)
	}
}
