package httpserver

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startInside is a server whose parts a test may break.
func startInside(t *testing.T, listen Listen) *Server {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listen = []Listen{listen}
	s, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler), StateDir: t.TempDir(), Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(t.Context()) })
	return s
}

func TestListenerThatDiesIsReported(t *testing.T) {
	t.Parallel()
	for name, listen := range map[string]Listen{
		"plain": {Address: "127.0.0.1:0"},
		"TLS":   {Address: "127.0.0.1:0", TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startInside(t, listen)
			s.endpoints[0].tcp.Close()
			select {
			case err := <-s.Failed():
				if !strings.Contains(err.Error(), "http: accept on 127.0.0.1:") {
					t.Errorf("the error does not name the listener: %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("nothing was reported")
			}
		})
	}
}

func TestHandshakesMakeRoomForEachOther(t *testing.T) {
	t.Parallel()
	s := startInside(t, Listen{Address: "127.0.0.1:0", TLS: true})
	secure := s.endpoints[0].secure
	secure.mu.Lock()
	secure.limit = 2
	secure.mu.Unlock()
	var conns []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", s.Addresses()[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		conns = append(conns, conn)
	}
	if n, err := conns[0].Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the oldest client gets %d bytes, %v; want the end", n, err)
	}
	if n := secure.pending(); n != 2 {
		t.Errorf("%d handshakes are under way, want 2", n)
	}
}
