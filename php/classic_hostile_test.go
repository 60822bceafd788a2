package php_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/php/fastcgi"
)

// stranger is a FastCGI server that answers what a test wants.
type stranger struct {
	answers map[string]func(c net.Conn, id uint16) // by the path without the slash

	mu   sync.Mutex // protects late
	late []byte     // written when the next request begins, before its answer
}

// answer is output of a script that ends as it should.
func answer(output string) func(net.Conn, uint16) {
	return func(c net.Conn, id uint16) {
		_, _ = c.Write(append(fcgiRecords(fastcgi.Stdout, id, output), fcgiRecords(fastcgi.EndRequest, id, "\x00\x00\x00\x00\x00\x00\x00\x00")...))
	}
}

// bytesOf are an answer of those records.
func bytesOf(records func(id uint16) []byte) func(net.Conn, uint16) {
	return func(c net.Conn, id uint16) { _, _ = c.Write(records(id)) }
}

func fcgiRecords(t fastcgi.Type, id uint16, content string) []byte {
	var b []byte
	for {
		n := min(len(content), fastcgi.MaxContent)
		b = append(fastcgi.AppendHeader(b, t, id, n), content[:n]...)
		if content = content[n:]; content == "" {
			return b
		}
	}
}

// listen serves until the test ends, and returns the address.
func (s *stranger) listen(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx := t.Context() // over before the cleanup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				stop := make(chan struct{})
				wg.Go(func() {
					select {
					case <-ctx.Done():
						c.Close()
					case <-stop:
					}
				})
				s.serve(c)
				close(stop)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func (s *stranger) serve(c net.Conn) {
	var params bytes.Buffer
	for {
		var h [fastcgi.HeaderLen]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return
		}
		content := make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
		if _, err := io.ReadFull(c, content); err != nil {
			return
		}
		switch id := binary.BigEndian.Uint16(h[2:]); {
		case fastcgi.Type(h[1]) == fastcgi.BeginRequest:
			params.Reset()
			s.mu.Lock()
			late := s.late
			s.late = nil
			s.mu.Unlock()
			_, _ = c.Write(late)
		case fastcgi.Type(h[1]) == fastcgi.Params:
			params.Write(content)
		case fastcgi.Type(h[1]) == fastcgi.Stdin && len(content) == 0:
			_, uri, _ := strings.Cut(params.String(), "REQUEST_URI/")
			name, _, _ := strings.Cut(uri, "\f") // the length of QUERY_STRING's name
			if act := s.answers[name]; act != nil {
				act(c, id)
			} else {
				answer("Content-type: text/plain\r\n\r\nfine")(c, id)
			}
		}
	}
}

// Whatever a FastCGI server sends, its request gets one clear answer, and the next request gets its own.
func TestClassicHostileServer(t *testing.T) {
	t.Parallel()
	head := "Content-type: text/plain\r\n\r\n"
	out := func(text string) func(uint16) []byte {
		return func(id uint16) []byte { return fcgiRecords(fastcgi.Stdout, id, text) }
	}
	end := func(id uint16, protocol string) []byte {
		return fcgiRecords(fastcgi.EndRequest, id, "\x00\x00\x00\x00"+protocol+"\x00\x00\x00")
	}
	s := &stranger{}
	s.answers = map[string]func(net.Conn, uint16){
		"nothing":      bytesOf(func(id uint16) []byte { return end(id, "\x00") }),
		"body-only":    answer("no header at all"),
		"status-999":   answer("Status: 999 x\r\n\r\n"),
		"status-junk":  answer("Status: abc\r\n\r\n"),
		"status-100":   answer("Status: 100 Continue\r\n\r\n"),
		"no-colon":     answer("some words\r\n\r\nx"),
		"folded":       answer("X: a\r\n  b\r\n\r\nx"),
		"bare-cr":      answer("X: a\rSet-Cookie: evil=1\r\n\r\nx"),
		"nul-name":     answer("X\x00: a\r\n\r\nx"),
		"endless-head": answer("X: " + strings.Repeat("a", 400<<10) + "\r\n\r\nx"),
		"many-heads":   answer(strings.Repeat("X: a\r\n", 2000) + "\r\nx"),
		"overloaded":   bytesOf(func(id uint16) []byte { return end(id, "\x02") }),
		"other-role":   bytesOf(func(id uint16) []byte { return end(id, "\x03") }),
		"short-end":    bytesOf(func(id uint16) []byte { return append(out(head+"x")(id), fcgiRecords(fastcgi.EndRequest, id, "")...) }),
		"other-number": bytesOf(func(id uint16) []byte { return append(out(head+"x")(id+7), end(id, "\x00")...) }),
		"version":      bytesOf(func(uint16) []byte { return []byte("\x02\x06\x00\x01\x00\x00\x00\x00") }),
		"management":   bytesOf(func(uint16) []byte { return fcgiRecords(fastcgi.Type(11), 0, "unknown!") }),
		"not-fastcgi":  bytesOf(func(uint16) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }),
		"closes":       func(c net.Conn, _ uint16) { c.Close() },
		"closes-half":  func(c net.Conn, id uint16) { _, _ = c.Write(out(head + "half")(id)); c.Close() },
		"after-end": func(c net.Conn, id uint16) {
			answer(head+"first")(c, id)
			answer(head+"STOLEN")(c, id)
		},
		"late": func(c net.Conn, id uint16) {
			answer(head+"first")(c, id)
			s.mu.Lock()
			s.late = append(out(head+"STOLEN")(id), end(id, "\x00")...)
			s.mu.Unlock()
		},
		"stderr": bytesOf(func(id uint16) []byte {
			b := bytes.Repeat(fcgiRecords(fastcgi.Stderr, id, strings.Repeat("e", 60000)), 20)
			return append(append(b, out(head+"fine")(id)...), end(id, "\x00")...)
		}),
		"empty-records": bytesOf(func(id uint16) []byte {
			b := bytes.Repeat(fcgiRecords(fastcgi.Stdout, id, ""), 500)
			return append(append(b, out(head+"fine")(id)...), end(id, "\x00")...)
		}),
		"length-lies":  answer("Content-Length: 2\r\n\r\nfine"),
		"length-twice": answer("Content-Length: 4\r\nContent-Length: 9\r\n\r\nfine"),
		"hop-by-hop":   answer("Transfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\n\r\nfine"),
		"no-content":   answer("Status: 204 No Content\r\n\r\nbody"),
		"not-modified": answer("Status: 304 Not Modified\r\n\r\nbody"),
	}
	address := s.listen(t)
	w := setup(t, "", func(cfg *php.Config, _ *php.Options) {
		*cfg = classicConfig(t, "php-cgi")
		cfg.Command, cfg.FastCGI = nil, address
		cfg.ExecTimeout = testenv.Duration(5e9, 5e9)
	})
	want := map[string]int{
		"overloaded": 503, "after-end": 200, "late": 200, "stderr": 200, "empty-records": 200, "length-lies": 200, "length-twice": 200,
		"hop-by-hop": 200, "no-content": 204, "not-modified": 304,
	}
	for name := range s.answers {
		status := want[name]
		if status == 0 {
			status = 502
		}
		response, body := w.do(httptest.NewRequest("GET", "/"+name, nil))
		if response.StatusCode != status {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, status)
		}
		if status == 200 && body != "fine" && body != "first" || status == 204 && body != "" {
			t.Errorf("%s: body %q", name, short(body))
		}
		for _, header := range []string{"Set-Cookie", "Upgrade", "Keep-Alive"} {
			if got := response.Header.Get(header); got != "" {
				t.Errorf("%s: %s: %s", name, header, got)
			}
		}
		if name == "late" { // what is left of one answer is noticed: the request it would have answered is told so
			if response, body := w.do(httptest.NewRequest("GET", "/next", nil)); response.StatusCode != 502 || strings.Contains(body, "STOLEN") {
				t.Errorf("after %s: %d %q", name, response.StatusCode, body)
			}
		}
		// What is left of an answer may come only after the next request was written, which is told so; the one after it is fine.
		if response, body := w.do(httptest.NewRequest("GET", "/next", nil)); response.StatusCode != 502 && body != "fine" {
			t.Errorf("after %s: %d %q", name, response.StatusCode, body)
		}
		w.expect("/next", 200, "fine")
	}
}
