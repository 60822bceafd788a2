package httpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// talk sends text and returns all that the server says until it closes.
func talk(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, text)
	all, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, net.ErrClosed) && strings.Contains(err.Error(), "timeout") {
		t.Fatalf("%q: the server does not close after %q", text, all)
	}
	return string(all)
}

const lastRequest = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// TestBodyLeftInFullDuplex is not read as the next request.
func TestBodyLeftInFullDuplex(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		fmt.Fprint(w, "<", r.URL.Path, ">")
		_ = http.NewResponseController(w).Flush()
	})
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	got := talk(t, address, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s%s", len(smuggled), smuggled, lastRequest))
	if strings.Contains(got, "smuggled") || !strings.Contains(got, "</last>") {
		t.Errorf("got %q", got)
	}
	if got := talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n"+smuggled+lastRequest); strings.Contains(got, "smuggled") || strings.Contains(got, "last") {
		t.Errorf("got %q", got)
	}
}

// TestAnswerOfAnotherLengthThanItSays ends the connection: the next answer would be taken for the end of this one.
func TestAnswerOfAnotherLengthThanItSays(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "12345")
		if _, err := io.WriteString(w, "6789012345"); err != http.ErrContentLength {
			t.Errorf("writing too much: %v", err)
		}
	})
	if got := talk(t, address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"+lastRequest); !strings.HasSuffix(got, "\r\n\r\n12345") || strings.Count(got, "HTTP/1.1") != 1 {
		t.Errorf("got %q", got)
	}
}

// TestSwitchingProtocolsWithoutHijack: what the client sends from then on is not HTTP.
func TestSwitchingProtocolsWithoutHijack(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("X-Path", r.URL.Path)
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	got := talk(t, address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"+lastRequest)
	if strings.Contains(got, "/last") || !strings.Contains(got, "Connection: Upgrade\r\n") {
		t.Errorf("got %q", got)
	}
}

// TestReverseProxyBreaksOff an answer whose origin does; it must not look whole.
func TestReverseProxyBreaksOff(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(origin.Close)
	target, _ := url.Parse(origin.URL)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.ErrorLog = transport, log.New(io.Discard, "", 0)
	address := serveInside(t, proxy.ServeHTTP)
	if got := talk(t, address, lastRequest); strings.HasSuffix(got, "0\r\n\r\n") || !strings.Contains(got, "half") {
		t.Errorf("got %q", got)
	}
}

// TestPanicAfterHijack ends the request's context all the same.
func TestPanicAfterHijack(t *testing.T) {
	t.Parallel()
	contexts := make(chan context.Context, 1)
	address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		contexts <- r.Context()
		panic(http.ErrAbortHandler)
	})
	talk(t, address, lastRequest)
	select {
	case <-(<-contexts).Done():
	case <-time.After(time.Minute):
		t.Error("the context lives on")
	}
}

// TestHandlerThatExits its goroutine leaves nothing behind, whether a watch reads for it or not.
func TestHandlerThatExits(t *testing.T) {
	t.Parallel()
	contexts := make(chan context.Context, 1)
	address := serveInside(t, func(_ http.ResponseWriter, r *http.Request) {
		time.Sleep(4 * sweepEvery)
		contexts <- r.Context()
		runtime.Goexit()
	})
	if got := talk(t, address, lastRequest); got != "" {
		t.Errorf("got %q", got)
	}
	<-(<-contexts).Done()
}

// TestReaderLeftBehind: the answer does not wait for a goroutine that waits for the body, in which nothing is mistaken for a request.
func TestReaderLeftBehind(t *testing.T) {
	t.Parallel()
	for _, duplex := range []bool{false, true} {
		t.Run(fmt.Sprint("duplex ", duplex), func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
				if duplex {
					_ = http.NewResponseController(w).EnableFullDuplex()
				}
				reads := make(chan struct{})
				go func() { // ends with the exchange
					close(reads)
					_, err := io.Copy(io.Discard, r.Body)
					ended <- err
				}()
				<-reads
				time.Sleep(sweepEvery)
				fmt.Fprint(w, "answer")
				_ = http.NewResponseController(w).Flush()
			})
			got := talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome")
			if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, "answer") {
				t.Errorf("got %q", got)
			}
			if err := <-ended; err == nil {
				t.Error("the goroutine has read a whole body")
			}
		})
	}
}

// TestGoroutineThatWritesTooLate gets an error.
func TestGoroutineThatWritesTooLate(t *testing.T) {
	t.Parallel()
	writers := make(chan http.ResponseWriter, 1)
	address := serveInside(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "x")
		writers <- w
	})
	talk(t, address, lastRequest)
	w := <-writers
	if _, err := io.WriteString(w, "late"); err == nil {
		t.Error("a late write succeeds")
	}
	if err := http.NewResponseController(w).Flush(); err == nil {
		t.Error("a late flush succeeds")
	}
	if _, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("late")); err == nil {
		t.Error("a late copy succeeds")
	}
}

// TestBodyAfterHijack cannot be read, and takes nothing down.
func TestBodyAfterHijack(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if n, err := r.Body.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("read %d bytes of a body that is not the request's any more, %v", n, err)
		}
		ahead, _ := in.Peek(4)
		_, _ = fmt.Fprintf(conn, "<%s>", ahead)
	})
	if got := talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"); got != "<body>" {
		t.Errorf("got %q", got)
	}
}

// TestHeadLimitIsExact, however the head comes.
func TestHeadLimitIsExact(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) { c.Limits.Header = 1 << 10 })
	for size, want := range map[int]string{1 << 10: "HTTP/1.1 200 ", 1<<10 + 1: "HTTP/1.1 431 ", 3 << 10: "HTTP/1.1 431 ", 9 << 10: "HTTP/1.1 431 "} {
		head := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: "
		head += strings.Repeat("x", size-len(head)-4) + "\r\n\r\n"
		if got := talk(t, address, head); !strings.HasPrefix(got, want) {
			t.Errorf("a head of %d bytes: %.40q", size, got)
		}
	}
}

// TestContinueNeverFollowsTheAnswer, while a goroutine of the handler begins to read.
func TestContinueNeverFollowsTheAnswer(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
		go func() { _, _ = r.Body.Read(make([]byte, 1)) }() // ends with the exchange
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "x")
	})
	for range 200 {
		got := talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		if strings.LastIndex(got, "100 Continue") > strings.Index(got, "200 OK") {
			t.Fatalf("got %q", got)
		}
	}
}

// TestFramingIsOurs, however a handler spells it.
func TestFramingIsOurs(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["content-length"], h["transfer-encoding"], h["CONNECTION"] = []string{"1"}, []string{"identity"}, []string{"keep-alive"}
		fmt.Fprint(w, "hello")
	})
	got := strings.ToLower(talk(t, address, lastRequest))
	if strings.Count(got, "content-length:") != 1 || strings.Contains(got, "transfer-encoding") || strings.Contains(got, "keep-alive") {
		t.Errorf("got %q", got)
	}
}

// TestHijackedConnectionsDoNotHoldUpTheStop, even while their handler runs.
func TestHijackedConnectionsDoNotHoldUpTheStop(t *testing.T) {
	t.Parallel()
	taken, over := make(chan struct{}), make(chan error, 1)
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	s := newInside(t, cfg, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		close(taken)
		line, err := rw.ReadString('\n')
		if err == nil {
			_, err = io.WriteString(conn, line)
		}
		over <- err
	})
	conn, err := net.Dial("tcp", s.Addresses()[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, lastRequest)
	<-taken
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	_, _ = io.WriteString(conn, "after the stop\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "after the stop\n" {
		t.Errorf("got %q, %v", line, err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// TestHammer has clients of all kinds race the sweeper, whose limits are so short that they run out all the time, and then the stop.
func TestHammer(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	cfg.Limits.ReadHeaderTimeout, cfg.Limits.IdleTimeout, cfg.Limits.BodyTimeout = 2*sweepEvery, 2*sweepEvery, 2*sweepEvery
	s := newInside(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(3 * sweepEvery)
		}
		switch r.URL.RawQuery {
		case "left":
			go func() { _, _ = io.Copy(io.Discard, r.Body) }() // ends with the exchange
		case "hijack":
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
			return
		case "panic":
			panic(http.ErrAbortHandler)
		case "duplex":
			_ = http.NewResponseController(w).EnableFullDuplex()
		default:
			_, _ = io.Copy(io.Discard, r.Body)
		}
		fmt.Fprint(w, r.URL.Path)
		_ = http.NewResponseController(w).Flush()
	})
	address := s.Addresses()[0].Addr
	done := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 16 {
		clients.Go(func() { // ends with done
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for {
				select {
				case <-done:
					return
				default:
					hammer(address, random)
				}
			}
		})
	}
	time.Sleep(testenv.Duration(2*time.Second, time.Minute))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	close(done)
	clients.Wait()
	if open := s.Stats().Listeners[0].Open; open != 0 {
		t.Errorf("%d connections are open", open)
	}
}

// hammer is one client.
func hammer(address string, random *rand.Rand) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		time.Sleep(sweepEvery)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with the connection
	for range random.IntN(6) {
		path := []string{"/", "/slow"}[min(random.IntN(4), 1)^1] + []string{"", "?left", "?hijack", "?panic", "?duplex", "", "", ""}[random.IntN(8)]
		text := []string{
			"GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n",
			"POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234567890123456789",
			"POST " + path + " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
			"POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		}[random.IntN(4)]
		cut := len(text)
		if random.IntN(3) == 0 {
			cut = random.IntN(len(text))
		}
		_, _ = io.WriteString(conn, text[:cut])
		time.Sleep(time.Duration(random.IntN(4)) * sweepEvery * 3 / 4)
		if random.IntN(8) == 0 {
			return
		}
		_, _ = io.WriteString(conn, text[cut:])
		if random.IntN(2) == 0 {
			time.Sleep(time.Duration(random.IntN(4)) * sweepEvery * 3 / 4)
		}
	}
	if random.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).CloseWrite()
		time.Sleep(sweepEvery)
	}
}

// TestIdleConnectionsMakeRoom when there are no descriptors left.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	s := newInside(t, cfg, func(http.ResponseWriter, *http.Request) {})
	conn, err := net.Dial("tcp", s.Addresses()[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	in := bufio.NewReader(conn)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "one idle connection is closed", func() bool { return s.endpoints[0].closeIdle() == 1 })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("the idle client gets %v", err)
	}
}
