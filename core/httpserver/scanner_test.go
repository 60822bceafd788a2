package httpserver

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browserRequest is what a browser sends for a page.
const browserRequest = "GET /articles/2026/11/how-we-serve?page=2&sort=new HTTP/1.1\r\n" +
	"Host: www.example.com\r\n" +
	"Connection: keep-alive\r\n" +
	"Cache-Control: max-age=0\r\n" +
	"Upgrade-Insecure-Requests: 1\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Referer: https://www.example.com/articles/\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
	"Cookie: session=4bf92f3577b34da6a3ce929d0e0e4736; theme=dark; consent=yes\r\n" +
	"\r\n"

func BenchmarkScanner(b *testing.B) {
	for _, c := range []struct{ name, request string }{
		{"curl-73B", "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"},
		{"browser-639B", browserRequest},
		{"post-1KiB", "POST /api HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)},
		{"chunked-1KiB", "POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("x", 1024) + "\r\n0\r\n\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			request := []byte(c.request)
			var s scanner
			for b.Loop() {
				if n, why := s.scan(request); n != len(request) || why != refusedNot {
					b.Fatalf("read %d of %d bytes, refused for %q", n, len(request), refusalNames[why])
				}
			}
		})
	}
}

func TestScannerAllocatesNothing(t *testing.T) {
	request := []byte(browserRequest)
	var s scanner
	if n := testing.AllocsPerRun(100, func() {
		s.scan(request[:100])
		s.scan(request[100:])
	}); n != 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
}

func TestRefusalsHaveNames(t *testing.T) {
	t.Parallel()
	names := slices.Clone(refusalNames[:])
	slices.Sort(names)
	if len(slices.Compact(names)) != int(refusals) {
		t.Errorf("some reasons share a name, or have none: %q", refusalNames)
	}
}

// FuzzConn feeds the same bytes to net/http twice: as they are, and through an h1Conn in pieces of random sizes. The handler
// must see the same requests both times or, if the connection was refused, the same ones up to there.
func FuzzConn(f *testing.F) {
	for _, seed := range []string{
		browserRequest,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0;x\r\nA: b\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
		"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("e", 400)+"\r\nx\r\n", 60) + "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		for reading := range uint8(3) {
			f.Add([]byte(seed), uint64(len(seed)), reading)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, seed uint64, reading uint8) {
		if len(input) > 64<<10 {
			return
		}
		want := serveBytes(&scriptConn{input: input}, reading)
		for round := range uint64(3) {
			owner := &fuzzOwner{}
			conn := &scriptConn{input: slices.Clone(input), pieces: rand.New(rand.NewPCG(seed, round)), single: round == 0}
			got := serveBytes(&plainConn{h1Conn: h1Conn{Conn: conn, owner: owner}}, reading)

			if owner.why == refusedDesync {
				t.Fatalf("scanner and net/http are out of step\n%q\nthe handler sees %q", input, got)
			}
			if len(got) > len(want) || !slices.Equal(got[:max(0, len(got)-1)], want[:max(0, len(got)-1)]) {
				t.Fatalf("%q\nthrough the connection the handler sees\n%q, alone\n%q", input, got, want)
			}
			// The body of the last request may have been cut off by a refusal.
			if owner.why == refusedNot && !slices.Equal(got, want) {
				t.Fatalf("%q\nnothing was refused, and the handler sees\n%q, alone\n%q", input, got, want)
			}
		}
	})
}

// FuzzScanner looks for panics and for reads that depend on the pieces, with more runs per second than FuzzConn.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(browserRequest), uint16(7))
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET"), uint16(1))
	f.Fuzz(func(t *testing.T, input []byte, size uint16) {
		whole, pieces := scanner{h2c: true}, scanner{h2c: true}
		ends, why := scanAll(&whole, input, len(input)+1)
		ends2, why2 := scanAll(&pieces, input, int(size)+1)
		if why != why2 || !slices.Equal(ends, ends2) {
			t.Fatalf("%q: messages end at %v (%s), in pieces of %d at %v (%s)", input, ends, refusalNames[why], size+1, ends2, refusalNames[why2])
		}
	})
}

// scanAll returns where messages end, and why the input was refused.
func scanAll(s *scanner, input []byte, size int) (ends []int, why refusal) {
	at := 0
	for at < len(input) {
		n, why := s.scan(input[at:min(at+size, len(input))])
		at += n
		if why != refusedNot {
			return ends, why
		}
		if n == 0 {
			panic("no progress")
		}
		if s.state == inRequestLine && s.lineLen == 0 {
			ends = append(ends, at)
		}
	}
	return ends, refusedNot
}

// serveBytes lets net/http serve one connection and returns what the handler has seen. reading says how much the handler
// reads of a body: all, nothing, one byte.
func serveBytes(conn net.Conn, reading uint8) []string {
	var seen []string
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if p, ok := c.(*plainConn); ok && state == http.StateIdle {
			p.idle()
		}
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Proto, " ", r.Host, " ", r.ContentLength, " ", r.Header)
		switch reading % 3 {
		case 0:
			body, err := io.ReadAll(r.Body)
			line += fmt.Sprintf(" %q %t %v", body, err != nil, r.Trailer)
		case 1:
			http.NewResponseController(w).Flush()
		case 2:
			n, _ := r.Body.Read(make([]byte, 1))
			line += fmt.Sprint(" ", n)
		}
		seen = append(seen, line)
		io.WriteString(w, "ok")
	})
	ln := &oneConn{conn: conn, closed: make(chan struct{})}
	var done sync.WaitGroup
	done.Add(1)
	hook := s.ConnState
	s.ConnState = func(c net.Conn, state http.ConnState) {
		hook(c, state)
		if state == http.StateClosed {
			done.Done()
		}
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(ln)
	}()
	done.Wait()
	s.Close()
	<-served
	return seen
}

// oneConn is a listener that accepts one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// scriptConn is a client that sends input and nothing more.
type scriptConn struct {
	mu     sync.Mutex
	input  []byte
	pieces *rand.Rand // nil: as much as fits
	single bool       // byte by byte
}

func (c *scriptConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(p), len(c.input))
	switch {
	case n == 0:
		return 0, io.EOF
	case c.single:
		n = 1
	case c.pieces != nil:
		n = 1 + c.pieces.IntN(n)
	}
	copy(p, c.input[:n])
	c.input = c.input[n:]
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// fuzzOwner is the listener of a fuzzed connection.
type fuzzOwner struct{ why refusal }

func (o *fuzzOwner) bodyTimeout() time.Duration { return 0 }
func (o *fuzzOwner) began(*h1Conn)              {}
func (o *fuzzOwner) refuse(why refusal)         { o.why = why }
func (o *fuzzOwner) stopsHard() bool            { return true }
