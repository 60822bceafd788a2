package httpserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

func TestDrainLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	type result struct {
		proto, body string
		err         error
	}
	entered, release := make(chan string), make(chan struct{})
	big := bytes.Repeat([]byte("x"), 300_000)
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- r.Proto
		<-release
		w.Write(big)
	})
	results := make(chan result)
	modes := w.modes()
	for _, m := range modes {
		go func() { // ends with its answer
			res, err := m.client.Get(m.url)
			if err != nil {
				results <- result{err: err}
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if res.ProtoMajor == 1 && !res.Close {
				err = errors.New("an HTTP/1 answer during a drain does not say Connection: close")
			}
			results <- result{res.Proto, string(body), err}
		}()
		<-entered
	}
	unused := w.dial(t) // connected, no request: must not hold up the stop

	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- w.Stop(ctx)
	}()
	unused.closed()
	testenv.Eventually(t, "new connections are refused", func() bool {
		for _, addr := range []string{w.plain, w.secure} {
			if conn, err := net.Dial("tcp", addr); err == nil {
				conn.Close()
				return false
			}
		}
		return true
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with requests in flight: %v", err)
	default:
	}
	close(release)
	for range modes {
		if r := <-results; r.err != nil || r.body != string(big) {
			t.Errorf("%s: got %d bytes, %v", r.proto, len(r.body), r.err)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, l := range w.Stats().Listeners {
		if l.Open != 0 {
			t.Errorf("%d connections are open after the stop: %+v", l.Open, l)
		}
	}
}

func TestDrainEndsIdleConnections(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {})
	for _, m := range w.modes() {
		get(t, m.client, m.url) // leaves a connection that is kept alive
	}
	began := time.Now()
	w.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("idle connections held up the stop for %s", took)
	}
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	entered, cancelled := make(chan struct{}), make(chan struct{}, 16)
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	})
	modes := w.modes()
	failed := make(chan error)
	for _, m := range modes {
		go func() { // ends when the server cuts it off
			res, err := m.client.Get(m.url)
			if err == nil {
				res.Body.Close()
			}
			failed <- err
		}()
		<-entered
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v, want that the time was over", err)
	}
	for range modes {
		if err := <-failed; err == nil {
			t.Error("a request that was cut off got an answer")
		}
		<-cancelled
	}
}

func TestUnfinishedHandshakesDoNotHoldUpTheStop(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {})
	c := dialRaw(t, w.secure)
	testenv.Eventually(t, "the handshake is under way", func() bool { return w.Stats().Listeners[1].HandshakesPending == 1 })
	began := time.Now()
	w.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the stop took %s", took)
	}
	c.closed()
}

func TestStopIsNotAFailure(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {})
	w.stop()
	select {
	case err := <-w.Failed():
		t.Errorf("an ordinary stop is reported as a failure: %v", err)
	default:
	}
}

// TestManyConnectionsComeAndGo is a hammer for the race detector: every kind of client, while the server drains.
func TestManyConnectionsComeAndGo(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler)
	done := make(chan struct{})
	finished := make(chan struct{})
	modes := w.modes()
	for _, m := range modes {
		go func() { // ends when done is closed
			defer func() { finished <- struct{}{} }()
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				res, err := m.client.Post(m.url, "text/plain", bytes.NewReader(make([]byte, n%5000)))
				if err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if n%7 == 0 {
					m.client.CloseIdleConnections()
				}
			}
		}()
	}
	go func() { // clients that break off
		defer func() { finished <- struct{}{} }()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			if conn, err := net.Dial("tcp", w.plain); err == nil {
				io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"[:n%52])
				conn.Close()
			}
			if conn, err := tls.Dial("tcp", w.secure, w.clientTLS()); err == nil {
				conn.Close()
			}
		}
	}()
	testenv.Eventually(t, "some hundred requests were served", func() bool {
		s := w.Stats()
		return s.HTTP1 > 100 && s.HTTP2 > 100 && s.HTTP3 > 50
	})
	w.stop()
	close(done)
	for range len(modes) + 1 {
		<-finished
	}
	if n := w.Stats().Refused["out_of_step"]; n != 0 {
		t.Errorf("scanner and net/http were out of step %d times", n)
	}
}
