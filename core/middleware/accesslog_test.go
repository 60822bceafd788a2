package middleware_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/middleware"
)

// logged serves one request through AccessLog and returns the record.
func logged(t *testing.T, h http.HandlerFunc, raw string) map[string]any {
	t.Helper()
	var log logBuffer
	s := serve(t, middleware.AccessLog(middleware.DefaultAccessConfig(), log.logger())(h))
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, conn) // the requests ask for the connection to be closed
	s.Close()                 // waits for the handler, unless that has taken the connection over
	records := log.records(t)
	for deadline := time.Now().Add(30 * time.Second); len(records) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		records = log.records(t)
	}
	if len(records) != 1 {
		t.Fatalf("%d records: %v", len(records), records)
	}
	return records[0]
}

func check(t *testing.T, record, want map[string]any) {
	t.Helper()
	for key, value := range want {
		if fmt.Sprint(record[key]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, want %v", key, record[key], value)
		}
	}
}

func TestAccessLogTellsOfARequest(t *testing.T) {
	t.Parallel()
	record := logged(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		r.Method, r.RequestURI = "EDITED", "/edited"
		r.Header.Set("User-Agent", "edited")
		w.Header().Set("X-Request-Id", "id-1")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, "four")
		w.Write([]byte("teen!"))
	}, "POST /a/b?page=1 HTTP/1.1\r\nHost: example.com:80\r\nUser-Agent: curl/8\r\nReferer: https://a/\r\nConnection: close\r\nContent-Length: 5\r\n\r\n12345")
	check(t, record, map[string]any{
		"msg": "request", "level": "INFO", "method": "POST", "uri": "/a/b?page=1", "status": 201, "bytes_in": 5, "bytes_out": 9,
		"protocol": "HTTP/1.1", "host": "example.com:80", "request_id": "id-1", "user_agent": "curl/8", "referer": "https://a/", "aborted": nil,
	})
	if host, _, err := net.SplitHostPort(record["remote"].(string)); err != nil || host != "127.0.0.1" {
		t.Errorf("remote is %v", record["remote"])
	}
	if d, ok := record["duration"].(float64); !ok || d <= 0 {
		t.Errorf("duration is %v", record["duration"])
	}
}

func TestAccessLogStatus(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    map[string]any
	}{
		"silent":    {func(http.ResponseWriter, *http.Request) {}, map[string]any{"status": 200, "bytes_out": 0}},
		"body only": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) }, map[string]any{"status": 200, "bytes_out": 1}},
		"twice":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200) }, map[string]any{"status": 404}},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(103)
			w.WriteHeader(204)
		}, map[string]any{"status": 204}},
		"flushed": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			w.WriteHeader(500) // too late
		}, map[string]any{"status": 200}},
		"copied": {func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, strings.NewReader(strings.Repeat("x", 100_000)))
		}, map[string]any{"status": 200, "bytes_out": 100000}},
		"panic": {func(http.ResponseWriter, *http.Request) { panic("x") }, map[string]any{"status": 500, "aborted": true}},
		"panic later": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(206)
			panic(http.ErrAbortHandler)
		}, map[string]any{"status": 206, "aborted": true}},
		"hijacked": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}, map[string]any{"status": 101}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, logged(t, tt.handler, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), tt.want)
		})
	}
}

func TestAccessLogCannotBeForged(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	handler := slog.NewTextHandler(&text, nil)
	h := middleware.AccessLog(middleware.DefaultAccessConfig(), slog.New(handler))(http.NotFoundHandler())
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RequestURI = "/\nlevel=INFO msg=forged\x1b[2J\u2028\u202e"
	r.Host = "a\rb"
	r.Header.Set("User-Agent", "x\x00y\xff")
	r.Header.Set("Referer", "https://exämple.com/ü")
	r.Header.Set("X-Request-Id", "ignored")
	h.ServeHTTP(httptest.NewRecorder(), r)
	got := text.String()
	if strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\x1b\r\x00\u2028\u202e") {
		t.Errorf("control characters got through: %q", got)
	}
	for _, want := range []string{`\\nlevel=INFO msg=forged\\x1b[2J\\u2028\\u202e`, `host=a\rb`, `user_agent=x\x00y\xff`, "exämple"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
}

func TestAccessLogKnowsTheRequestIDFromBothSides(t *testing.T) {
	t.Parallel()
	for name, chain := range map[string]func(log *slog.Logger) http.Handler{
		"outside": func(log *slog.Logger) http.Handler {
			return middleware.AccessLog(middleware.DefaultAccessConfig(), log)(middleware.RequestID(http.NotFoundHandler()))
		},
		"inside": func(log *slog.Logger) http.Handler {
			return middleware.RequestID(middleware.AccessLog(middleware.DefaultAccessConfig(), log)(http.NotFoundHandler()))
		},
	} {
		var log logBuffer
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Request-Id", "from-client")
		chain(log.logger()).ServeHTTP(httptest.NewRecorder(), r)
		if got := log.records(t)[0]["request_id"]; got != "from-client" {
			t.Errorf("%s: request_id is %v", name, got)
		}
	}
}

func TestAccessLogThatIsOffWrapsNothing(t *testing.T) { // not parallel: it counts allocations
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	h := middleware.AccessLog(middleware.DefaultAccessConfig(), slog.New(slog.DiscardHandler))(http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) {
		if got != http.ResponseWriter(w) {
			t.Errorf("the handler writes to a %T", got)
		}
	}))
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWrappersAreTransparent uses what handlers ask of a ResponseWriter, through all middleware at once.
func TestWrappersAreTransparent(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("z", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	mux := http.NewServeMux()
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw")
		rw.Flush()
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "ok")
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open(file)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Errorf("%T has no ReadFrom", w)
		}
		io.Copy(w, f)
	})
	mux.HandleFunc("/deadline", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
	})
	s := serve(t, middleware.Recover(log.logger())(middleware.AccessLog(middleware.DefaultAccessConfig(), log.logger())(middleware.RequestID(mux))))

	var hints []int
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		hints = append(hints, code)
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, s.URL+"/hints", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if len(hints) != 1 || hints[0] != 103 {
		t.Errorf("1xx answers: %v", hints)
	}
	if _, body := get(t, s, "/file"); len(body) != 1<<20 {
		t.Errorf("%d bytes of the file", len(body))
	}
	get(t, s, "/deadline")

	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	br := bufio.NewReader(conn)
	upgraded, err := http.ReadResponse(br, nil)
	if err != nil || upgraded.StatusCode != 101 {
		t.Fatalf("hijack: %v, %v", upgraded, err)
	}
	if raw, _ := io.ReadAll(br); string(raw) != "raw" {
		t.Errorf("got %q over the hijacked connection", raw)
	}
}

func BenchmarkAccessLog(b *testing.B) {
	h := middleware.AccessLog(middleware.DefaultAccessConfig(), slog.New(slog.NewJSONHandler(io.Discard, nil)))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	}))
	r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		w.Body.Reset()
		h.ServeHTTP(w, r)
	}
}
