package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// TestClientsThatGo: the upstream learns of it, has its place back, and is not blamed.
func TestClientsThatGo(t *testing.T) {
	t.Parallel()
	came, gone := make(chan struct{}, 10), make(chan struct{}, 10)
	url, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		if r.Method == "POST" {
			_, _ = io.Copy(io.Discard, r.Body)
		} else if r.URL.Path == "/stream" {
			io.WriteString(w, "data")
			http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	s, p := serve(t, config(url))
	free := func(what string) {
		t.Helper()
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatalf("%s: the upstream works on", what)
		}
		testenv.Eventually(t, "the place is free", func() bool { return p.Stats().Upstreams[0].Active == 0 })
		for reason, n := range p.Stats().Upstreams[0].Failed {
			if n != 0 {
				t.Errorf("%s: the upstream is blamed for %d failures: %s", what, n, reason)
			}
		}
	}
	for what, head := range map[string]string{
		"before the answer": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"in the answer":     "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
		"in its body":       "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf",
	} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, head)
		if strings.Contains(head, "stream") {
			<-came
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			for in, line := bufio.NewReader(conn), ""; !strings.Contains(line, "data"); {
				if line, err = in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			<-came
		}
		conn.Close()
		free(what)
	}
}

// TestStopEndsWhatRuns: checks that hang and copies that hang do not hold up a stop.
func TestStopEndsWhatRuns(t *testing.T) {
	t.Parallel()
	hang := raw(t, func(conn net.Conn, _ *http.Request) { io.Copy(io.Discard, conn) })
	c := config(hang)
	c.Health.Path, c.Health.Interval, c.Health.Timeout = "/", time.Millisecond, time.Hour
	_, p := serve(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// TestSlowAnswersAreNotCut: only silence has a limit, however long an answer takes as a whole.
func TestSlowAnswersAreNotCut(t *testing.T) {
	t.Parallel()
	url, _ := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			time.Sleep(300 * time.Millisecond) // what is slow is the point
		}
	})
	c := config(url)
	c.Timeouts.Idle, c.Timeouts.Header = 2500*time.Millisecond, 2500*time.Millisecond
	s, _ := serve(t, c)
	if _, text := do(t, s, "GET", "/", nil); text != strings.Repeat("x", 10) {
		t.Errorf("%q", text)
	}
}
