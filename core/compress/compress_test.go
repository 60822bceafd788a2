package compress_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/edge-server/edge/core/compress"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var text = strings.Repeat("All happy families are alike; each unhappy family is unhappy in its own way. ", 100)

func decoder(t *testing.T, encoding string, r io.Reader) io.Reader {
	t.Helper()
	switch encoding {
	case "":
		return r
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		return z
	case "br":
		return brotli.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	t.Fatalf("the answer is encoded as %q", encoding)
	return nil
}

// serve answers through the middleware, on a real server.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(compress.Middleware(compress.DefaultConfig())(h))
	t.Cleanup(s.Close)
	s.Client().Transport.(*http.Transport).DisableCompression = true
	return s
}

func get(t *testing.T, s *httptest.Server, method, accept string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept-Encoding", accept)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestWhatIsCompressed(t *testing.T) {
	t.Parallel()
	plain := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	with := func(headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			io.WriteString(w, text)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(code)
		}
	}
	for name, tt := range map[string]struct {
		handler        http.HandlerFunc
		method, accept string
		encoding, vary string
	}{
		"zstd is preferred":                     {plain, "GET", "gzip, deflate, br, zstd", "zstd", "Accept-Encoding"},
		"a client's own preference":             {plain, "GET", "gzip;q=1.0, br;q=0.9, zstd;q=0.5", "gzip", "Accept-Encoding"},
		"brotli":                                {plain, "GET", "br", "br", "Accept-Encoding"},
		"gzip":                                  {plain, "GET", "GZIP", "gzip", "Accept-Encoding"},
		"anything":                              {plain, "GET", "*", "zstd", "Accept-Encoding"},
		"anything but":                          {plain, "GET", "zstd;q=0, *;q=0.5", "br", "Accept-Encoding"},
		"nothing said":                          {plain, "GET", "", "", "Accept-Encoding"},
		"refused":                               {plain, "GET", "gzip;q=0, br;q=0, zstd;q=0", "", "Accept-Encoding"},
		"plain is preferred":                    {plain, "GET", "identity, gzip;q=0.5", "", "Accept-Encoding"},
		"a q that is none":                      {plain, "GET", "gzip;q=x", "", "Accept-Encoding"},
		"with its length":                       {with("Content-Length", fmt.Sprint(len(text))), "GET", "gzip", "gzip", "Accept-Encoding"},
		"encoded already":                       {with("Content-Encoding", "x"), "GET", "gzip", "x", ""},
		"no-transform":                          {with("Cache-Control", "public, no-transform"), "GET", "gzip", "", ""},
		"an image":                              {with("Content-Type", "image/png"), "GET", "gzip", "", ""},
		"JSON of a kind":                        {with("Content-Type", "application/problem+json"), "GET", "gzip", "gzip", "Accept-Encoding"},
		"a type that begins like one":           {with("Content-Type", "textual/x"), "GET", "gzip", "", ""},
		"Vary there already":                    {with("Vary", "Origin, accept-encoding"), "GET", "gzip", "gzip", "Origin, accept-encoding"},
		"no content":                            {status(204), "GET", "gzip", "", ""},
		"not modified":                          {status(304), "GET", "gzip", "", ""},
		"HEAD of a long one":                    {with("Content-Length", fmt.Sprint(len(text))), "HEAD", "gzip", "gzip", "Accept-Encoding"},
		"short":                                 {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "short") }, "GET", "gzip", "", "Accept-Encoding"},
		"a type of nobody's, found by sniffing": {func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte("\x89PNG\r\n\x1a\n"), 500)) }, "GET", "gzip", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := get(t, serve(t, tt.handler), tt.method, tt.accept)
			if got := res.Header.Get("Content-Encoding"); got != tt.encoding {
				t.Fatalf("Content-Encoding %q, want %q", got, tt.encoding)
			}
			if got := strings.Join(res.Header["Vary"], ", "); got != tt.vary {
				t.Errorf("Vary %q, want %q", got, tt.vary)
			}
			if tt.encoding == "x" || tt.method == "HEAD" {
				return
			}
			body, err := io.ReadAll(decoder(t, tt.encoding, res.Body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.encoding != "" && (string(body) != text || res.ContentLength == int64(len(text))) {
				t.Errorf("%d bytes of %d came through, Content-Length %d", len(body), len(text), res.ContentLength)
			}
		})
	}
}

func TestETagsBecomeWeak(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader(text))
	})
	res := get(t, s, "GET", "br")
	if tag := res.Header.Get("Etag"); tag != `W/"v1"` || res.Header.Get("Accept-Ranges") != "" {
		t.Errorf("ETag %s, Accept-Ranges %s", tag, res.Header.Get("Accept-Ranges"))
	}
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
	r.Header.Set("If-None-Match", `W/"v1"`)
	again, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("the weak tag is answered with %s", again.Status)
	}
}

// TestStreamsArriveWithTheirFlushes: each part is there before the next one is written.
func TestStreamsArriveWithTheirFlushes(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"zstd", "br", "gzip", ""} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			next := make(chan struct{})
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for i := range 5 {
					fmt.Fprintf(w, "data: %d\n", i)
					if err := http.NewResponseController(w).Flush(); err != nil {
						t.Error(err)
					}
					<-next
				}
			})
			res := get(t, s, "GET", encoding)
			if res.Header.Get("Content-Encoding") != encoding {
				t.Errorf("Content-Encoding %q", res.Header.Get("Content-Encoding"))
			}
			lines := bufio.NewReader(decoder(t, encoding, res.Body))
			for i := range 5 {
				line, err := lines.ReadString('\n')
				if err != nil || line != fmt.Sprintf("data: %d\n", i) {
					t.Fatalf("part %d is %q, %v", i, line, err)
				}
				next <- struct{}{}
			}
			if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
				t.Errorf("behind it %q, %v", rest, err)
			}
		})
	}
}

// TestAnswersThatBreakOffLookBroken: a panic must not leave the client with an answer that seems whole.
func TestAnswersThatBreakOffLookBroken(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, text)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res := get(t, s, "GET", "gzip")
	if _, err := io.ReadAll(decoder(t, "gzip", res.Body)); err == nil {
		t.Error("the client takes the answer for whole")
	}
}

func TestHijackAndUpgradesPass(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	})
	if body, _ := io.ReadAll(get(t, s, "GET", "gzip").Body); string(body) != "hi" {
		t.Errorf("%q", body)
	}
}

// FuzzAcceptEncoding: whatever a client sends, the answer is one that can be read.
func FuzzAcceptEncoding(f *testing.F) {
	for _, seed := range []string{"gzip", "br;q=0.5, *;q=0", "zstd;q=,,;", "identity;q=0", "gzip;q=NaN"} {
		f.Add(seed)
	}
	h := compress.Middleware(compress.DefaultConfig())(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
	f.Fuzz(func(t *testing.T, accept string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Accept-Encoding"] = []string{accept}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, err := io.ReadAll(decoder(t, w.Header().Get("Content-Encoding"), w.Body))
		if err != nil || string(body) != text {
			t.Errorf("%q: %d bytes, %v", accept, len(body), err)
		}
	})
}

func TestBadConfigsAreRefused(t *testing.T) {
	t.Parallel()
	c := compress.Config{Encodings: []string{"gzip", "deflate", "gzip"}, Types: []string{"html", "text/html; charset=utf-8"}, MinSize: 1 << 20}
	err := c.Validate()
	for _, want := range []string{`encodings[1]: "deflate" is not`, `encodings[2]: "gzip" stands there twice`, `types[0]: "html"`, `types[1]`, "min_size: must be 0 to 65536"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v has no %q", err, want)
		}
	}
	d := compress.DefaultConfig()
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}
