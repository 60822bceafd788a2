package httpserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-server/edge/internal/testenv"
)

// soon is a timeout that the tests let run out; long enough for a busy machine to do in less what should be done in less.
const soon = time.Second

func TestSlowHead(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler, func(c *Config) { c.Limits.ReadHeaderTimeout = soon })
	for name, sent := range map[string]string{"nothing": "", "half a line": "GET / HT", "half a head": "GET / HTTP/1.1\r\nHost: a\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := w.dial(t)
			c.send(sent)
			answer, err := io.ReadAll(c)
			if err != nil || len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
				t.Errorf("got %q, %v", answer, err)
			}
		})
	}
	t.Run("drop by drop", func(t *testing.T) {
		t.Parallel()
		c := w.dial(t)
		c.send("GET / HTTP/1.1\r\n")
		for n := 0; ; n++ { // each of them on time, the whole never
			if _, err := fmt.Fprintf(c, "X%d: y\r\n", n); err != nil {
				return
			}
			time.Sleep(soon / 20)
			if n > 1000 {
				t.Fatal("the server waits for ever")
			}
		}
	})
	t.Run("handshake", func(t *testing.T) {
		t.Parallel()
		dialRaw(t, w.secure).closed()
	})
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	type outcome struct {
		n   int64
		err error
	}
	outcomes := make(chan outcome, 1)
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		outcomes <- outcome{n, err}
	}, func(c *Config) { c.Limits.BodyTimeout = soon })
	w.run(t, func(t *testing.T, m mode) {
		for _, length := range []int64{1000, -1} {
			body, feed := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url, body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = length
			done := make(chan struct{})
			go func() { // ends with the answer, or when the server gives up
				defer close(done)
				if res, err := m.client.Do(req); err == nil {
					res.Body.Close()
				}
			}()
			io.WriteString(feed, "some, but not all")
			select {
			case got := <-outcomes:
				if got.n != 17 || !errors.Is(got.err, os.ErrDeadlineExceeded) {
					t.Errorf("the handler reads %d bytes, then %v", got.n, got.err)
				}
			case <-time.After(patience):
				t.Fatal("the handler waits for ever")
			}
			feed.CloseWithError(errors.New("given up"))
			<-done
		}
	})
}

// TestBodyThatTricklesForEver: each byte comes in time, the body never.
func TestBodyThatTricklesForEver(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler, func(c *Config) { c.Limits.BodyTimeout, c.Limits.BodyRate = soon, 1<<20 })
	w.run(t, func(t *testing.T, m mode) {
		t.Parallel()
		body, feed := io.Pipe()
		fed := make(chan struct{})
		go func() { // ends when the server has refused the rest
			defer close(fed)
			for {
				if _, err := io.WriteString(feed, "x"); err != nil {
					return
				}
				time.Sleep(soon / 20)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, body)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := m.client.Do(req); err == nil {
			if res.Body.Close(); res.StatusCode != http.StatusBadRequest {
				t.Errorf("got %s", res.Status)
			}
		} else if ctx.Err() != nil {
			t.Errorf("the server waits for ever: %v", err)
		}
		body.Close()
		<-fed
	})
}

func TestBodyThatTricklesIsNotSlow(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler, func(c *Config) { c.Limits.BodyTimeout, c.Limits.BodyRate = soon, 10 })
	w.run(t, func(t *testing.T, m mode) {
		t.Parallel()
		body, feed := io.Pipe()
		go func() {
			for range 20 { // twice the timeout in all
				time.Sleep(soon / 10)
				io.WriteString(feed, "0123456789")
			}
			feed.Close()
		}()
		res, err := m.client.Post(m.url, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got, _ := io.ReadAll(res.Body); string(got) != "POST / 200" {
			t.Errorf("got %s %q", res.Status, got)
		}
	})
}

func TestSlowHandlerIsNotASlowClient(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 10)
		_, err := io.ReadFull(r.Body, first)
		time.Sleep(2 * soon) // amid the body
		rest, err2 := io.ReadAll(r.Body)
		time.Sleep(2 * soon) // behind it
		if err := errors.Join(err, err2, r.Context().Err()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, len(first)+len(rest))
	}, func(c *Config) { c.Limits.BodyTimeout, c.Limits.WriteTimeout = soon, soon })
	w.run(t, func(t *testing.T, m mode) {
		t.Parallel()
		res, err := m.client.Post(m.url, "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got, _ := io.ReadAll(res.Body); string(got) != "100000" {
			t.Errorf("got %s %q", res.Status, got)
		}
	})
}

func TestClientThatNeverReads(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	piece := bytes.Repeat([]byte("x"), 64<<10)
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(piece); err != nil {
				failed <- err
				return
			}
		}
	}, func(c *Config) { c.Limits.WriteTimeout = soon })
	w.run(t, func(t *testing.T, m mode) {
		res, err := m.client.Get(m.url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		select {
		case <-failed:
		case <-time.After(patience):
			t.Fatal("the handler waits for ever")
		}
	})
}

// TestEndOfAnAnswerThatIsNeverTaken: the handler has returned, and its few bytes lie in the server's memory.
func TestEndOfAnAnswerThatIsNeverTaken(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		func(c *Config) { c.Limits.WriteTimeout = soon })
	cfg := w.clientTLS()
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", w.secure, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, field := range [][2]string{{":method", "GET"}, {":path", "/"}, {":scheme", "https"}, {":authority", "localhost"}} {
		enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("the stream was not reset: %v", err)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.StreamID == 1 {
			return
		}
	}
}

func TestClientThatReadsSlowlyGetsItAll(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // far more than sockets buffer
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	path := testenv.Dir(t) + "/file"
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/file" {
			http.ServeFile(w, r, path)
			return
		}
		w.Write(content) // one write that takes longer than the timeout; QUIC clients widen windows by a megabyte at a time
	}, func(c *Config) { c.Limits.WriteTimeout = 2 * soon })
	w.run(t, func(t *testing.T, m mode) {
		t.Parallel()
		for _, target := range []string{"/memory", "/file"} {
			t.Run(target[1:], func(t *testing.T) {
				t.Parallel()
				res, err := m.client.Get(m.url + target)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				buf := make([]byte, 256<<10)
				n := 0
				for {
					k, err := io.ReadFull(res.Body, buf)
					if !bytes.Equal(buf[:k], content[n:n+k]) {
						t.Fatalf("the bytes from %d are not those of the file", n)
					}
					n += k
					if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && n == size {
						break
					}
					if err != nil {
						t.Fatalf("after %d bytes: %v", n, err)
					}
					time.Sleep(soon / 10)
				}
				if n != size {
					t.Errorf("got %d of %d bytes", n, size)
				}
			})
		}
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler, func(c *Config) { c.Limits.IdleTimeout = soon })
	for _, m := range w.modes() {
		get(t, m.client, m.url)
	}
	testenv.Eventually(t, "no connection is left", func() bool {
		for _, l := range w.Stats().Listeners {
			if l.Open != 0 {
				return false
			}
		}
		return true
	})
}

func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler, func(c *Config) { c.Limits.Streams = 3 })
	cfg := w.clientTLS()
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", w.secure, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	f.WriteSettings()
	frame, err := f.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", frame)
	}
	if n, _ := settings.Value(http2.SettingMaxConcurrentStreams); n != 3 {
		t.Errorf("the server allows %d streams, want 3", n)
	}
}
