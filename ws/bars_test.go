package ws_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// rawDial does a handshake as cheaply as it can be done.
func rawDial(t testing.TB, addr string, secure *tls.Config) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	var head [1]byte
	var got []byte
	for !strings.HasSuffix(string(got), "\r\n\r\n") {
		if _, err := conn.Read(head[:]); err != nil {
			t.Fatalf("handshake: %v after %q", err, got)
		}
		got = append(got, head[0])
	}
	if !strings.HasPrefix(string(got), "HTTP/1.1 101 ") {
		t.Fatalf("handshake: %q", got)
	}
	return conn
}

// crowd opens connections a few at a time.
func crowd(t testing.TB, n int, addr string, secure *tls.Config) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				conns[i] = rawDial(t, addr, secure)
			}
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
	return conns
}

// TestIdleMemory holds the memory of connections that do nothing against the bar. That of TLS is lower than what is promised (16 KB): it
// notices a Go in which trimTLS finds nothing.
func TestIdleMemory(t *testing.T) {
	for _, kind := range []struct {
		name   string
		secure bool
		bar    int
	}{{"plain", false, 7500}, {"TLS", true, 14000}} {
		t.Run(kind.name, func(t *testing.T) {
			server := startChild(t)
			addr, cfg := server.plain, (*tls.Config)(nil)
			if kind.secure {
				addr, cfg = server.secure, server.tls()
			}
			first := rawDial(t, addr, cfg) // what there is once
			defer first.Close()
			before := server.number("rss")
			n := testenv.Count(3000, 10000)
			if raceDetector {
				n = 100
			}
			crowd(t, n, addr, cfg)
			testenv.Eventually(t, "all are there", func() bool { return server.number("conns") == n+1 })
			each := (server.number("rss") - before) / n
			t.Logf("%d bytes per idle connection (%s)", each, server.ask("memstats"))
			if each > kind.bar && !raceDetector {
				t.Errorf("an idle connection costs %d bytes, the bar is %d", each, kind.bar)
			}
		})
	}
}
