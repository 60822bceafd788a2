package httpserver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWriteWhole sends bodies around the sizes of net/http's buffers, with short and long heads, and expects each as it is.
func TestWriteWhole(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcde\n"), 16<<10)
	address := serveWhole(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		head, _ := strconv.Atoi(r.URL.Query().Get("head"))
		w.Header().Set("X-Long", strings.Repeat("x", head))
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		if n, err := WriteWhole(w, r, body[:size]); err != nil || n != size {
			t.Errorf("%s: %d bytes written, %v", r.URL, n, err)
		}
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	for _, size := range []int{0, 1, 2048, 4096, wholeFrom - 1, wholeFrom, 64 << 10, len(body)} {
		for _, head := range []int{0, 1, 3900, 4096, 10_000} {
			for _, query := range []string{"", "&length"} {
				path := fmt.Sprintf("/?size=%d&head=%d%s", size, head, query)
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
				response, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				got, err := io.ReadAll(response.Body)
				if err != nil || !bytes.Equal(got, body[:size]) || len(response.Header.Get("X-Long")) != head {
					t.Fatalf("%s: %d bytes, %v", path, len(got), err)
				}
			}
		}
	}
}

// TestHeadLeavesWithTheBody holds what WriteWhole builds on: net/http writes a full buffer first, and then the rest.
func TestHeadLeavesWithTheBody(t *testing.T) {
	t.Parallel()
	address := serveWhole(t, func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connKey{}).(*plainConn)
		c.gather = gathering
		w.Header().Set("Content-Length", "9100")
		_, _ = w.Write(bytes.Repeat([]byte("a"), 9000)) // the head and what fits beside it, and the rest
		if c.gather != notGathering || len(c.kept) != headMost {
			t.Errorf("state %d, %d bytes kept: net/http has another buffer now, and WriteWhole gathers nothing", c.gather, len(c.kept))
		}
		_, _ = io.WriteString(w, strings.Repeat("b", 100))
	})
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || string(got) != strings.Repeat("a", 9000)+strings.Repeat("b", 100) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestKeptHeadIsSentByItself ends the gathering when nothing follows the head.
func TestKeptHeadIsSentByItself(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	stall := newStallConn(accepted.(*net.TCPConn), time.Minute, func() {})
	defer stall.Close()
	c := newPlainConn(stall, nil, false)
	c.gather = gathering
	if n, err := c.Write([]byte("head")); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if waiting(t, client) {
		t.Error("the head left without a body")
	}
	if err := c.endGathering(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	_ = client.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "head" {
		t.Errorf("%q, %v", got, err)
	}
}

// waiting reports whether there is anything to read, without waiting.
func waiting(t *testing.T, conn net.Conn) (yes bool) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Read(func(fd uintptr) bool {
		n, _, _ := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		yes = n > 0
		return true
	})
	return yes
}

// serveWhole serves HTTP/1 without TLS.
func serveWhole(t *testing.T, handler http.HandlerFunc) string {
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	s, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler), Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(t.Context()) })
	return s.Addresses()[0].Addr
}
