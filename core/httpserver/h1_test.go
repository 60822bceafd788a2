package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
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

// h1Seeds are connections: valid, odd and refused ones.
var h1Seeds = []string{
	browserRequest,
	"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0;x\r\nA: b\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, A\r\n\r\n0\r\nA: b\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%41/%zz//b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a%2Fb/ü?x=%zz#y HTTP/1.0\r\nPragma: no-cache\r\nConnection: Keep-Alive, TE\r\nCookie: a\r\ncookie: b\r\n\r\nGET //x?? HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nCONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("e", 400)+"\r\nx\r\n", 60) + "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
}

// FuzzH1 sends the same bytes to this server, in pieces of random sizes, and to net/http. What the handler sees here it must
// see there, request by request: this server may refuse what net/http takes, and end the connection, but it must never read
// anything in another way.
func FuzzH1(f *testing.F) {
	for _, seed := range h1Seeds {
		for reading := range uint8(3) {
			f.Add([]byte(seed), uint64(len(seed)), reading)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, seed uint64, reading uint8) {
		if len(input) > 64<<10 {
			return
		}
		want := serveByNetHTTP(&scriptConn{input: input}, reading)
		for round := range uint64(3) {
			conn := &scriptConn{input: slices.Clone(input), pieces: rand.New(rand.NewPCG(seed, round)), single: round == 0}
			got, whole := serveByH1(conn, reading)
			if len(got) > len(want) {
				t.Fatalf("%q\nthe handler sees\n%q, with net/http\n%q", input, got, want)
			}
			for i, line := range got {
				if last := i == len(got)-1; line != want[i] && (!last || whole) {
					t.Fatalf("%q\nthe handler sees\n%q, with net/http\n%q", input, got, want)
				}
			}
		}
	})
}

// describe is what a handler sees of a request. reading says how much it reads of a body: all, nothing, one byte.
func describe(r *http.Request, reading uint8) string {
	line := fmt.Sprintf("%s %s %q %q %s %s %d %v %v %v", r.Method, r.RequestURI, r.URL.String(), r.URL.Path, r.Proto, r.Host, r.ContentLength,
		r.TransferEncoding, r.Close, r.Header)
	switch reading % 3 {
	case 0:
		body, err := io.ReadAll(r.Body)
		line += fmt.Sprintf(" %q %t %v", body, err != nil, r.Trailer)
	case 2:
		n, _ := r.Body.Read(make([]byte, 1))
		line += fmt.Sprint(" ", n)
	}
	return line
}

// serveByH1 returns what the handler has seen of one connection, and whether the body of the last request was read as it came.
func serveByH1(conn net.Conn, reading uint8) (seen []string, whole bool) {
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	s := &Server{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	s.hard.Store(true) // no lingering
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, describe(r, reading))
		_, _ = io.WriteString(w, "ok")
	})
	e := newEndpoint(s, 0)
	c := &h1Conn{endpoint: e, conn: conn, remote: "192.0.2.1:1"}
	e.h1conns = append(e.h1conns, c)
	e.conns.Add(1)
	c.serve()
	for _, refused := range []refusal{refusedChunk, refusedTrailer, refusedBareLF} {
		if s.refusedBy[refused].Load() > 0 {
			return seen, false // the body was broken off
		}
	}
	return seen, true
}

// serveByNetHTTP is serveByH1 with net/http in front of the same endpoint.
func serveByNetHTTP(conn net.Conn, reading uint8) []string {
	var seen []string
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	front := &Server{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	front.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, describe(r, reading))
		_, _ = io.WriteString(w, "ok")
	})
	s := &http.Server{Handler: newEndpoint(front, 0), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), DisableGeneralOptionsHandler: true,
		MaxHeaderBytes: int(cfg.Limits.Header)}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	serveConn(conn, s)
	return seen
}

// serveConn lets s serve one connection to its end.
func serveConn(conn net.Conn, s *http.Server) {
	var done sync.WaitGroup
	done.Add(1)
	s.ConnState = closedState(&done)
	ln := &oneConn{conn: conn, closed: make(chan struct{})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(ln)
	}()
	done.Wait()
	_ = s.Close()
	<-served
}

// closedState waits for the end of a connection.
func closedState(done *sync.WaitGroup) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			done.Done()
		}
	}
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

func TestRefusalsHaveNames(t *testing.T) {
	t.Parallel()
	names := slices.Clone(refusalNames[:])
	slices.Sort(names)
	if len(slices.Compact(names)) != int(refusals) {
		t.Errorf("some reasons share a name, or have none: %q", refusalNames)
	}
}

// TestAnswersOfAllSizes writes bodies around the sizes of the server's buffers in one piece and in many, with and without a
// length, flushed or not, to HTTP/1.1 and 1.0, and expects each as it is.
func TestAnswersOfAllSizes(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcde\n"), 16<<10)
	address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		size, _ := strconv.Atoi(q.Get("size"))
		head, _ := strconv.Atoi(q.Get("head"))
		piece, _ := strconv.Atoi(q.Get("piece"))
		w.Header().Set("X-Long", strings.Repeat("x", head))
		if q.Has("length") {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		for rest := body[:size]; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			if n, err := w.Write(rest[:min(piece, len(rest))]); err != nil || n != min(piece, len(rest)) {
				t.Errorf("%s: %d bytes written, %v", r.URL, n, err)
			}
			if q.Has("flush") {
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	for _, size := range []int{0, 1, 2048, maxUnmeasured - 1, maxUnmeasured, maxUnmeasured + 1, maxWire - 1, maxWire, maxWire + 1, 64 << 10, len(body)} {
		for _, head := range []int{0, 3900, 10_000} {
			for _, piece := range []int{1000, 5000, 1 << 20} {
				for _, query := range []string{"", "&length", "&flush", "&length&flush"} {
					path := fmt.Sprintf("/?size=%d&head=%d&piece=%d%s", size, head, piece, query)
					for _, version := range []string{"1.1", "1.0"} {
						checkAnswer(t, address, path, version, body[:size], head, strings.Contains(query, "length"))
					}
				}
			}
		}
	}
}

func checkAnswer(t *testing.T, address, path, version string, body []byte, head int, measured bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	rounds := 1
	if version == "1.1" {
		rounds = 2
	}
	for range rounds {
		fmt.Fprintf(conn, "GET %s HTTP/%s\r\nHost: a\r\n\r\n", path, version)
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		got, err := io.ReadAll(response.Body)
		if err != nil || !bytes.Equal(got, body) || len(response.Header.Get("X-Long")) != head {
			t.Fatalf("%s of HTTP/%s: %d bytes, %v", path, version, len(got), err)
		}
		if measured && response.ContentLength != int64(len(body)) {
			t.Errorf("%s: Content-Length %d", path, response.ContentLength)
		}
	}
}

// TestHeadsOfAnswers compares what this server makes of a handler's decisions with what net/http makes of them.
func TestHeadsOfAnswers(t *testing.T) {
	t.Parallel()
	handlers := map[string]http.HandlerFunc{
		"nothing":        func(http.ResponseWriter, *http.Request) {},
		"text":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
		"html":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") },
		"no type wanted": func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil; fmt.Fprint(w, "x") },
		"encoded": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			fmt.Fprint(w, "x")
		},
		"large": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 10_000)) },
		"flushed": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "a")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "b")
		},
		"flushed empty": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
		"no content":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"no content, length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(204)
		},
		"not modified": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			w.WriteHeader(304)
		},
		"closing": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, "x")
		},
		"length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			fmt.Fprint(w, "hello")
		},
		"length, too short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "hello")
		},
		"length of HEAD": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.WriteHeader(200)
		},
		"date":        func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "today"); fmt.Fprint(w, "x") },
		"line breaks": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", "a\r\nY: b\n"); fmt.Fprint(w, "x") },
		"bad name":    func(w http.ResponseWriter, _ *http.Request) { w.Header()["X Y"] = []string{"z"}; fmt.Fprint(w, "x") },
		"odd status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799); fmt.Fprint(w, "x") },
		"headers too late": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.Header().Set("Late", "1")
			fmt.Fprint(w, "x")
		},
		"status twice": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			w.WriteHeader(500)
			fmt.Fprint(w, "x")
		},
		"hints": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			fmt.Fprint(w, "x")
		},
		"trailer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			fmt.Fprint(w, "x")
			w.Header().Set("X-Sum", "1")
		},
		"trailer unannounced": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "x")
			w.(http.Flusher).Flush()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		},
		"trailer unannounced, short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
			fmt.Fprint(w, "x")
		},
		"body unread": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") },
		"body read":   func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
		"file":        func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "h1_test.go") },
		"panic":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"panic late": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "x")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	requests := []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\nbody",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := serveInside(t, handler), serveBareInside(t, handler)
			for _, request := range requests {
				if strings.Contains(request, "9000000") && name == "body read" || strings.Contains(request, "HTTP/1.0") && name == "hints" {
					continue // it waits for the rest; HTTP/1.0 has no hints, which net/http does not mind
				}
				got, want := exchange(t, ours, request), exchange(t, theirs, request)
				if got != want {
					t.Errorf("%q is answered with\n%q\nby net/http with\n%q", request, got, want)
				}
			}
		})
	}
}

// exchange sends a request, and returns what the server sends until it closes, or until it has nothing more to say for a while after
// a second request; headers sorted, the date left out.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, request)
	_ = conn.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(conn)
	var out strings.Builder
	for len(all) > 0 {
		head, rest, ok := bytes.Cut(all, []byte("\r\n\r\n"))
		lines := strings.Split(string(head), "\r\n")
		slices.Sort(lines[1:])
		for _, line := range lines {
			if !strings.HasPrefix(line, "Date: 2") && !(strings.HasPrefix(line, "Date: ") && strings.HasSuffix(line, " GMT")) {
				out.WriteString(line + "\n")
			}
		}
		all = rest
		if !ok || !bytes.HasPrefix(rest, []byte("HTTP/1.")) {
			out.WriteString("|" + string(rest))
			break
		}
	}
	return out.String()
}

// TestClientThatLeaves cancels the request's context while the handler waits, and its context's children.
func TestClientThatLeaves(t *testing.T) {
	t.Parallel()
	entered, cancelled := make(chan struct{}, 2), make(chan error, 2)
	address := serveInside(t, func(_ http.ResponseWriter, r *http.Request) {
		child, cancel := context.WithCancel(r.Context())
		defer cancel()
		_, _ = io.Copy(io.Discard, r.Body)
		entered <- struct{}{}
		select {
		case <-child.Done():
			cancelled <- child.Err()
		case <-time.After(30 * time.Second):
			cancelled <- nil
		}
	})
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, request)
		<-entered
		_ = conn.Close()
		if err := <-cancelled; err != context.Canceled {
			t.Errorf("%q: %v", request, err)
		}
	}
}

// TestRequestsSentAheadOfASlowAnswer are read by the watch, and must not be lost.
func TestRequestsSentAheadOfASlowAnswer(t *testing.T) {
	t.Parallel()
	address := serveInside(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(4 * sweepEvery) // long enough for a watch; nothing depends on how long exactly
		fmt.Fprint(w, r.URL.Path)
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n")
	for i := range 4 {
		time.Sleep(3 * sweepEvery)
		fmt.Fprintf(conn, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i+1)
	}
	for i := range 5 {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != "/"+strconv.Itoa(i) {
			t.Errorf("answer %d is %q", i, body)
		}
	}
}

// serveInside serves HTTP/1 without TLS.
func serveInside(t testing.TB, handler http.HandlerFunc, change ...func(*Config)) string {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	for _, c := range change {
		c(&cfg)
	}
	return newInside(t, cfg, handler).Addresses()[0].Addr
}

func newInside(t testing.TB, cfg Config, handler http.HandlerFunc) *Server {
	t.Helper()
	s, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler), Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serveBareInside is serveInside by net/http.
func serveBareInside(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = s.Shutdown(context.Background())
		<-done
	})
	return ln.Addr().String()
}

// BenchmarkH1 is a request and its answer, without the kernel.
func BenchmarkH1(b *testing.B) {
	for _, c := range []struct{ name, request string }{
		{"curl", "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"},
		{"browser", browserRequest},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			cfg := DefaultConfig()
			cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
			s := &Server{cfg: cfg, log: slog.New(slog.DiscardHandler)}
			s.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{"text/plain"}
				_, _ = w.Write([]byte("hello"))
			})
			s.hard.Store(true)
			e := newEndpoint(s, 0)
			conn := &endlessConn{request: []byte(c.request), left: b.N}
			h := &h1Conn{endpoint: e, conn: conn, remote: "192.0.2.1:1"}
			e.h1conns = append(e.h1conns, h)
			e.conns.Add(1)
			b.ResetTimer()
			h.serve()
		})
	}
}

// endlessConn repeats a request.
type endlessConn struct {
	scriptConn
	request []byte
	left    int
}

func (c *endlessConn) Read(p []byte) (int, error) {
	if c.left--; c.left < 0 {
		return 0, io.EOF
	}
	return copy(p, c.request), nil
}
