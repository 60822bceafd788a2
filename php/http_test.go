package php_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/php"
)

func TestHello(t *testing.T) {
	t.Parallel()
	w := setup(t, "hello.php", nil)
	response, body := w.do(httptest.NewRequest("GET", "/", nil))
	if response.StatusCode != 200 || body != "Hello, World!" {
		t.Errorf("got %d %q", response.StatusCode, body)
	}
	if response.ContentLength != 13 || len(response.TransferEncoding) > 0 {
		t.Errorf("length %d, encoding %v; want Content-Length 13", response.ContentLength, response.TransferEncoding)
	}
}

// echoed is what app.php saw of a request.
type echoed struct {
	RemoteAddr, Protocol, Method, URI, RawQuery, Uploads, Body string
	Parsed                                                     bool
	Headers                                                    map[string][]string
	Cookies, Attributes                                        any // PHP writes an empty map as []
}

func TestRequestContext(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	r := httptest.NewRequest("POST", "/echo/../echo?a=1&b=%20x", strings.NewReader("raw body"))
	r.Host = "shop.example:8080"
	r.Header["X-Many"] = []string{"one", "two", ""}
	r.Header.Set("x-request-id", "42")
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Add("Cookie", `plain=v; escaped=a%20b+c; bad=%zz; quoted="q"; twice=1; twice=2; =none; b@d=x`)
	r.URL.Path = "/echo"
	_, body := w.do(r)
	got := fromJSON[echoed](t, body)

	want := echoed{
		RemoteAddr: "127.0.0.1", Protocol: "HTTP/1.1", Method: "POST",
		URI: "http://shop.example:8080/echo?a=1&b=%20x", RawQuery: "a=1&b=%20x", Body: "raw body",
		Cookies:    map[string]any{"plain": []any{"v"}, "escaped": []any{"a b c"}, "quoted": []any{"q"}, "twice": []any{"2"}},
		Attributes: []any{},
	}
	for _, name := range []string{"User-Agent", "Accept-Encoding", "Cookie", "Content-Length"} {
		if len(got.Headers[name]) != 1 {
			t.Errorf("header %s = %v", name, got.Headers[name])
		}
		delete(got.Headers, name)
	}
	want.Headers = map[string][]string{"X-Many": {"one", "two", ""}, "X-Request-Id": {"42"}, "Content-Type": {"text/plain"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request as PHP sees it (-want +got):\n%s", diff)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	for _, n := range []int{0, 1, 4000, 70_000, 1 << 20, 5 << 20} {
		response, body := w.do(httptest.NewRequest("GET", fmt.Sprintf("/big?n=%d", n), nil))
		if len(body) != n || response.ContentLength != int64(n) {
			t.Errorf("answer of %d bytes arrived as %d with Content-Length %d", n, len(body), response.ContentLength)
		}
	}
	for _, status := range []int{200, 201, 301, 404, 418, 500, 599} {
		w.expect(fmt.Sprintf("/status?n=%d&body=b", status), status, "b")
	}
	w.expect("/status?n=204&body=b", 204, "")
	w.expect("/status?n=304&body=b", 304, "")
	w.expectStatus("/status?n=99", http.StatusBadGateway)
	w.expectStatus("/status?n=600", http.StatusBadGateway)
	w.expectStatus("/status?n=-1", http.StatusBadGateway)

	response, body := w.do(httptest.NewRequest("HEAD", "/big?n=4000", nil))
	if body != "" || response.ContentLength != 4000 {
		t.Errorf("HEAD: %d bytes, Content-Length %d; want 0 and 4000", len(body), response.ContentLength)
	}
	response, body = w.do(httptest.NewRequest("GET", "/length", nil))
	if body != "body" || response.ContentLength != 4 {
		t.Errorf("a wrong Content-Length of PHP: %q, Content-Length %d", body, response.ContentLength)
	}
}

func TestHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	headers := func(json string) *http.Response {
		response, _ := w.do(httptest.NewRequest("GET", "/headers?h="+url.QueryEscape(json), nil))
		return response
	}
	response := headers(`{"Set-Cookie":["a=1","b=2"],"x-lower":["v"],"X-Empty":[""],"Connection":["upgrade"]}`)
	if got := response.Header["Set-Cookie"]; len(got) != 2 || response.Header.Get("X-Lower") != "v" || response.Header["X-Empty"] == nil || response.Header["Connection"] != nil {
		t.Errorf("headers %v", response.Header)
	}
	for _, bad := range []string{`{"X-A":["v\r\nSet-Cookie: stolen=1"]}`, `{"X-A":["nul\u0000"]}`, `{"X A":["v"]}`, `{"X-A\r\nX-B":["v"]}`, `{"":["v"]}`} {
		response := headers(bad)
		if response.StatusCode != http.StatusBadGateway || response.Header["Set-Cookie"] != nil || response.Header["X-A"] != nil {
			t.Errorf("headers %s: status %d, headers %v; want 502 without them", bad, response.StatusCode, response.Header)
		}
	}
	for _, garbage := range []string{"ff", "0a", "12ff01", "08", "1205", "0b"} {
		w.expectStatus("/garbage?hex="+garbage, http.StatusBadGateway)
	}
	w.expectStatus("/pid", 200)
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	for path, want := range map[string]string{"/trailer": "with trailer", "/trailers-in-stream": "ab"} {
		response, body := w.do(httptest.NewRequest("GET", path, nil))
		if body != want || response.Trailer.Get("X-Sum") != "42" || response.Header.Get("X-Sum") != "" {
			t.Errorf("%s: body %q, trailer %v, headers %v", path, body, response.Trailer, response.Header)
		}
	}
}

func TestEarlyHints(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	inner := w.server.Config.Handler
	w.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Middleware", "final")
		inner.ServeHTTP(rw, r)
	})
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, " ", header))
		return nil
	}}
	r := httptest.NewRequest("GET", "/hints", nil)
	response, body := w.do(r.WithContext(httptrace.WithClientTrace(t.Context(), trace)))
	want := []string{"100 map[X-100:[own]]", "102 map[X-102:[own]]", "103 map[Link:[</a.css>; rel=preload]]"}
	if diff := cmp.Diff(want, hints); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
	h := response.Header
	if body != "hinted" || h.Get("Link") != "" || h.Get("X-102") != "" || h.Get("X-Middleware") != "final" {
		t.Errorf("body %q, headers %v", body, h)
	}
}

// TestOldClients speaks HTTP/1.0, which has no early hints and may name no host.
func TestOldClients(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	if answer := w.raw("GET /hints HTTP/1.0\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(answer, "hinted") {
		t.Errorf("early hints for HTTP/1.0: %q", answer)
	}
	_, body, _ := strings.Cut(w.raw("GET /echo HTTP/1.0\r\n\r\n"), "\r\n\r\n")
	got := fromJSON[struct{ URI string }](t, body).URI
	if want := "http://" + w.server.Listener.Addr().String() + "/echo"; got != want {
		t.Errorf("uri without a host %q, want %q", got, want)
	}
}

// TestHostileURIs must reach PHP as what its parsers and protobuf take, or not at all.
func TestHostileURIs(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	for _, host := range []string{"h:99999", "h:80:90", "a,b[c]", "[::1"} {
		answer := w.raw("GET /echo HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
			t.Errorf("Host: %s: %q", host, short(answer))
		}
	}
	_, body, _ := strings.Cut(w.raw("GET /echo?q=\xff\x80 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "\r\n\r\n")
	got := fromJSON[struct{ URI, RawQuery string }](t, body)
	if got.URI != "http://h/echo?q=%FF%80" || got.RawQuery != "q=%FF%80" {
		t.Errorf("a query that is not UTF-8: %+v", got)
	}
	if s := w.pool.Stats(); s.Requests != 1 {
		t.Errorf("stats %+v, want one request for PHP", s)
	}
}

// TestStreamGoesOutAtOnce lets PHP write its next part only after the client has the one before.
func TestStreamGoesOutAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	gate := filepath.Join(t.TempDir(), "gate")
	response, err := w.client.Get(w.server.URL + "/stream?gate=" + url.QueryEscape(gate))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprint("part ", i) {
			t.Fatalf("line %d: %q, %v", i, lines.Text(), lines.Err())
		}
		if err := os.WriteFile(gate+fmt.Sprint(i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !lines.Scan() || lines.Text() != "end" || lines.Scan() {
		t.Errorf("the end of the stream: %q, %v", lines.Text(), lines.Err())
	}
	w.expectStatus("/pid", 200)
}

func TestPingIsAnswered(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	w.expect("/ping", 200, "part 0\npart 1\npart 2\npong")
}

// TestClientLeavesStream ends a stream from outside, in each state the worker may be in, and finds the same worker well.
func TestClientLeavesStream(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?quiet=1"} {
		t.Run("endless"+query, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "app.php", nil)
			_, pid := w.get("/pid")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, "GET", w.server.URL+"/endless"+query, nil)
			response, err := w.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(response.Body, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			cancel()
			response.Body.Close()
			w.logged("stream ended by 2")
			w.expect("/pid", 200, pid)
		})
	}
}

// TestDeafStream has a worker that does not end a stream nobody takes.
func TestDeafStream(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.StopTimeout = 200 * time.Millisecond })
	response, err := w.client.Get(w.server.URL + "/deaf")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	w.logged("did not end a stream")
	w.expectStatus("/pid", 200)
}

// TestBrokenStreams breaks off after the head: the client must not take the part for the whole.
func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.ExecTimeout = 500 * time.Millisecond })
	for _, path := range []string{"/exit-mid-stream", "/error-mid-stream", "/stall"} {
		_, body, err := w.try(httptest.NewRequest("GET", path, nil))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: body %q, error %v; want an unexpected end", path, body, err)
		}
		w.expectStatus("/pid", 200)
	}
	if s := w.pool.Stats(); s.Timeouts != 1 || s.Crashes != 1 || s.Errors != 1 {
		t.Errorf("stats %+v, want a timeout, a crash and an error", s)
	}
}

func TestStreamToHead(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	response, body := w.do(httptest.NewRequest("HEAD", "/endless", nil))
	if response.StatusCode != 200 || body != "" {
		t.Errorf("HEAD of a stream: %d %q", response.StatusCode, body)
	}
	w.expectStatus("/pid", 200)
}

func TestApplicationErrorKeepsTheWorker(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	_, pid := w.get("/pid")
	status, body := w.get("/error")
	if status != 500 || strings.Contains(body, "secret") {
		t.Errorf("got %d %q, want 500 without PHP's text", status, body)
	}
	w.logged("secret at /srv/app")
	w.expect("/pid", 200, pid)
}

// TestUnusableAnswers costs the request, and the worker where it cannot be trusted any more.
func TestUnusableAnswers(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.ExecTimeout = 2 * time.Second })
	for path, log := range map[string]string{
		"/junk":         "something is wrong",
		"/codec":        "unknown payload type",
		"/no-option":    "broke the protocol",
		"/long-context": "broke the protocol",
	} {
		w.expectStatus(path, http.StatusBadGateway)
		w.logged(log)
		w.expectStatus("/pid", 200)
	}
	w.expectStatus("/short-junk", http.StatusGatewayTimeout)
	w.expectStatus("/pid", 200)
}

// TestKeepAliveAfterAnswers mixes lengths and chunks on one connection.
func TestKeepAliveAfterAnswers(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	answer := w.raw("GET /status?n=200&body=one HTTP/1.1\r\nHost: h\r\n\r\nGET /stream?n=1 HTTP/1.1\r\nHost: h\r\n\r\n" +
		"GET /status?n=200&body=two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if strings.Count(answer, "HTTP/1.1 200 OK") != 3 || strings.Count(answer, "Transfer-Encoding: chunked") != 1 || !strings.HasSuffix(answer, "two") {
		t.Errorf("three answers on one connection: %q", answer)
	}
}
