package ws_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// TestIdleMemory holds the memory of connections that do nothing against the bar.
func TestIdleMemory(t *testing.T) {
	for _, kind := range []struct {
		name   string
		secure bool
		bar    int
	}{{"plain", false, 7500}, {"TLS", true, 16000}} {
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

// BenchmarkFanOut publishes to subscribers of another process: the connections' clients read and count.
func BenchmarkFanOut(b *testing.B) {
	for _, mode := range []struct {
		name  string
		pause time.Duration
		burst int
		alone bool
	}{{"coalesced", 0, 500, false}, {"alone", 0, 100, true}, {"latency", 0, 1, true}} {
		b.Run(mode.name, func(b *testing.B) {
			const subscribers, frame = 2000, 132
			server := startChild(b)
			conns := crowd(b, subscribers, server.plain, nil)
			testenv.Eventually(b, "all are there", func() bool { return server.number("conns") == subscribers })
			if mode.alone {
				server.ask("alone")
			}
			var received atomic.Int64
			done := make(chan struct{}, 1)
			var goal atomic.Int64
			for _, c := range conns {
				go func() {
					buf := bufio.NewReaderSize(c, 64<<10)
					p := make([]byte, 32<<10)
					for {
						n, err := buf.Read(p)
						if err != nil {
							return
						}
						if received.Add(int64(n)) == goal.Load() {
							done <- struct{}{}
						}
					}
				}()
			}
			b.ResetTimer()
			var deliveries int
			for range b.N {
				goal.Store(received.Load() + int64(mode.burst*subscribers*frame))
				deliveries += mode.burst * subscribers
				server.ask("publish %d %d", mode.burst, mode.pause)
				<-done
			}
			b.ReportMetric(float64(deliveries)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}
