package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const patience = 40 * time.Second

var discard = log.New(io.Discard, "", 0)

// config is one with these upstreams.
func config(urls ...string) proxy.Config {
	c := proxy.Config{}.Defaults().(proxy.Config)
	for _, u := range urls {
		c.Upstreams = append(c.Upstreams, proxy.Upstream{URL: u, Weight: 1})
	}
	return c
}

// serve starts the proxy behind a server of its own.
func serve(t testing.TB, c proxy.Config) (*httptest.Server, *proxy.Proxy) {
	t.Helper()
	tunnels := proxy.NewTunnels()
	p, err := proxy.New(c, proxy.Options{Name: "test", Logger: slog.New(slog.DiscardHandler), Tunnels: tunnels})
	if err != nil {
		t.Fatal(err)
	}
	p.Start()
	s := httptest.NewServer(p)
	s.Client().Transport.(*http.Transport).DisableCompression = true
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := tunnels.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, p
}

// upstream is a server that says its name, and how often it was asked.
func upstream(t testing.TB, h http.HandlerFunc) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL, asked
}

// raw is a server that does with each connection what handle does.
func raw(t testing.TB, handle func(net.Conn, *http.Request)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				handle(conn, r)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// dead is an address at which nobody listens.
func dead(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func do(t testing.TB, s *httptest.Server, method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	client := *s.Client()
	client.Timeout = patience
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		text = append(text, "!"+err.Error()...)
	}
	return res, string(text)
}

func named(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }
}

func TestWhatUpstreamsAreTold(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	url, _ := upstream(t, func(_ http.ResponseWriter, r *http.Request) { got <- r })
	c := config(url)
	c.Headers.Request = map[string]string{"X-Set": "1", "X-Gone": ""}
	s, _ := serve(t, c)
	do(t, s, "GET", "/a%2Fb/../c?x=1;y", nil, "Host", "app.example.com", "X-Gone", "x", "X-Forwarded-For", "6.6.6.6", "Forwarded", "for=6.6.6.6",
		"X-Real-Ip", "6.6.6.6", "X-Forwarded-Port", "1", "Connection", "X-Hop", "X-Hop", "1", "Keep-Alive", "x", "Upgrade", "h2c", "Http2-Settings", "AAA",
		"Proxy-Authorization", "secret", "X-Original-Url", "/admin", "Te", "trailers", "X-Kept", "a")
	r := <-got
	for name, want := range map[string]string{
		"X-Set": "1", "X-Gone": "", "X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "Forwarded": "", "X-Forwarded-Port": "", "X-Hop": "", "Keep-Alive": "",
		"Upgrade": "", "Http2-Settings": "", "X-Original-Url": "", "X-Kept": "a", "X-Forwarded-Host": "app.example.com", "X-Forwarded-Proto": "http", "Proxy-Authorization": "",
	} {
		if have := strings.Join(r.Header[name], "|"); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	if r.Host != "app.example.com" || r.URL.Path != "/a/c" || r.URL.RawQuery != "x=1;y" {
		t.Errorf("host %q, path %q, query %q", r.Host, r.URL.Path, r.URL.RawQuery)
	}
}

func TestPathsAreThoseTheRouteWasChosenBy(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	url, _ := upstream(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.RequestURI })
	c := config(url)
	c.Strip = "/api"
	s, _ := serve(t, c)
	for path, want := range map[string]string{
		"/api/x": "/x", "/api": "/", "/apix": "/apix", "/api/a%2Fb": "/a%2Fb", "/api/%2e%2e/admin": "/admin", "//api//x": "/x", "/api/a%20b?q=%zz": "/a%20b?q=%zz",
		"/api/é": "/%C3%A9", "/api/..%2f..%2fadmin": "/",
	} {
		if path == "/api/..%2f..%2fadmin" {
			continue // it climbs above the root: the router refuses it
		}
		do(t, s, "GET", path, nil)
		if have := <-got; have != want {
			t.Errorf("%s reaches the upstream as %s, want %s", path, have, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	a, _ := upstream(t, named("a"))
	b, _ := upstream(t, named("b"))
	t.Run("in turns, by weight", func(t *testing.T) {
		c := config(a, b)
		c.Upstreams[0].Weight = 3
		s, _ := serve(t, c)
		count := map[string]int{}
		for range 40 {
			_, text := do(t, s, "GET", "/", nil)
			count[text]++
		}
		if count["a"] != 30 || count["b"] != 10 {
			t.Error(count)
		}
	})
	t.Run("hash", func(t *testing.T) {
		c := config(a, b)
		c.Policy, c.Hash = "hash", "header:X-User"
		s, _ := serve(t, c)
		count := map[string]int{}
		for i := range 60 {
			user := fmt.Sprint("user", i)
			_, first := do(t, s, "GET", "/", nil, "X-User", user)
			if _, again := do(t, s, "GET", "/", nil, "X-User", user); again != first {
				t.Errorf("%s: %s, then %s", user, first, again)
			}
			count[first]++
		}
		if count["a"] < 10 || count["b"] < 10 {
			t.Error(count)
		}
	})
	t.Run("sticky", func(t *testing.T) {
		c := config(a, b)
		c.Sticky = "at"
		s, _ := serve(t, c)
		res, first := do(t, s, "GET", "/", nil)
		cookie := res.Cookies()[0]
		if strings.Contains(cookie.Value, "127") || !cookie.HttpOnly {
			t.Errorf("cookie %v", cookie)
		}
		for range 5 {
			if res, again := do(t, s, "GET", "/", nil, "Cookie", "at="+cookie.Value); again != first || len(res.Cookies()) != 0 {
				t.Errorf("%s, then %s with %v", first, again, res.Cookies())
			}
		}
		if res, _ := do(t, s, "GET", "/", nil, "Cookie", "at=nobody"); len(res.Cookies()) != 1 {
			t.Error("a cookie that names nobody stays")
		}
	})
	t.Run("the one with the least to do", func(t *testing.T) {
		release, began := make(chan struct{}), make(chan struct{})
		slow, asked := upstream(t, func(http.ResponseWriter, *http.Request) { began <- struct{}{}; <-release })
		c := config(slow, b)
		c.Policy = "least_conn"
		s, _ := serve(t, c)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for asked.Load() == 0 {
				res, err := s.Client().Get(s.URL)
				if err == nil {
					res.Body.Close()
				}
			}
		}()
		<-began
		for range 10 {
			if _, text := do(t, s, "GET", "/", nil); text != "b" {
				t.Errorf("%q while the other is busy", text)
			}
		}
		close(release)
		<-done
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	reset := raw(t, func(conn net.Conn, _ *http.Request) { conn.(*net.TCPConn).SetLinger(0) })
	for name, tt := range map[string]struct {
		broken, method string
		body           io.Reader
		want           int
	}{
		"GET, dead":                     {dead(t), "GET", nil, 200},
		"POST, dead":                    {dead(t), "POST", strings.NewReader("x"), 200},
		"a large POST, dead":            {dead(t), "POST", strings.NewReader(strings.Repeat("x", 1<<20)), 200},
		"GET, reset":                    {reset, "GET", nil, 200},
		"PUT, reset":                    {reset, "PUT", strings.NewReader("x"), 200},
		"POST, reset: it may have come": {reset, "POST", strings.NewReader("x"), 502},
		"a large PUT, reset":            {reset, "PUT", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20))), 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good, asked := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n)
			})
			c := config(tt.broken, good)
			c.Passive.Failures = 0
			s, _ := serve(t, c)
			// Whose turn is first is not said: of two requests one begins at the broken one.
			worst := 200
			for range 2 {
				body := tt.body
				if seeker, ok := body.(io.Seeker); ok {
					seeker.Seek(0, io.SeekStart)
				}
				res, text := do(t, s, tt.method, "/", body)
				worst = max(worst, res.StatusCode)
				if res.StatusCode == 502 && text != "502 bad gateway\n" {
					t.Errorf("the client is told %q", text)
				}
			}
			if worst != tt.want {
				t.Errorf("%d, want %d; the good one was asked %d times", worst, tt.want, asked.Load())
			}
		})
	}
}

func TestStatusesThatAreRetried(t *testing.T) {
	t.Parallel()
	bad, asked := upstream(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sorry", 503) })
	good, _ := upstream(t, named("good"))
	c := config(bad, good)
	c.Retry.Statuses = []int{503}
	c.Passive.Failures = 0
	s, _ := serve(t, c)
	for range 4 {
		if res, text := do(t, s, "GET", "/", nil); res.StatusCode != 200 || text != "good" {
			t.Errorf("%d %q", res.StatusCode, text)
		}
	}
	if asked.Load() < 2 {
		t.Errorf("the bad one was asked %d times", asked.Load())
	}
	c.Upstreams = c.Upstreams[:1]
	s, _ = serve(t, c)
	if res, text := do(t, s, "GET", "/", nil); res.StatusCode != 503 || text != "sorry\n" {
		t.Errorf("its last word was %d %q", res.StatusCode, text)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	hang := raw(t, func(conn net.Conn, _ *http.Request) { io.Copy(io.Discard, conn) })
	for name, tt := range map[string]struct {
		url  string
		want int
	}{
		"nobody listens": {dead(t), 502},
		"no answer":      {hang, 504},
		"nonsense":       {raw(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "SSH-2.0-x\r\n\r\n") }), 502},
		"half a head":    {raw(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\nA: b\r\n") }), 502},
		"a head without end": {raw(t, func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("b", 1<<20))
		}), 502},
		"status 000": {raw(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 000 K\r\nContent-Length: 0\r\n\r\n") }), 502},
		"two lengths": {raw(t, func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
		}), 502},
		"a protocol unasked": {raw(t, func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		}), 502},
		"a header of a space": {raw(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n") }), 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(tt.url)
			if tt.want == http.StatusGatewayTimeout {
				c.Timeouts.Header = 200 * time.Millisecond
			}
			s, p := serve(t, c)
			res, text := do(t, s, "GET", "/", nil)
			if want := fmt.Sprintf("%d %s\n", tt.want, strings.ToLower(http.StatusText(tt.want))); res.StatusCode != tt.want || text != want {
				t.Errorf("%d %q", res.StatusCode, text)
			}
			if s := p.Stats().Upstreams[0]; s.Active != 0 {
				t.Errorf("%d requests are left", s.Active)
			}
		})
	}
}

// TestHalfAnAnswerDoesNotLookWhole: the client must see that something is missing.
func TestHalfAnAnswerDoesNotLookWhole(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"with its length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"in chunks":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		for _, silent := range []bool{false, true} {
			c := config(raw(t, func(conn net.Conn, _ *http.Request) {
				io.WriteString(conn, answer)
				if silent {
					io.Copy(io.Discard, conn)
				}
			}))
			c.Timeouts.Idle = 200 * time.Millisecond
			s, p := serve(t, c)
			if res, err := s.Client().Get(s.URL); err == nil {
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err == nil {
					t.Errorf("%s: %q and no error", name, text)
				}
			}
			testenv.Eventually(t, "the failure is counted", func() bool { return p.Stats().Upstreams[0].Failed["body"] == 1 })
		}
	}
}

func TestEjection(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	flaky := raw(t, func(conn net.Conn, _ *http.Request) {
		if !broken.Load() {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nflaky")
		}
	})
	good, _ := upstream(t, named("good"))
	c := config(flaky, good)
	c.Passive.Eject = 100 * time.Millisecond
	s, p := serve(t, c)
	for range 20 {
		if res, text := do(t, s, "GET", "/", nil); res.StatusCode != 200 || text != "good" {
			t.Fatalf("%d %q", res.StatusCode, text)
		}
	}
	if one := p.Stats().Upstreams[0]; one.Ejections == 0 || one.Failed["protocol"] < 3 {
		t.Errorf("%+v", one)
	}
	broken.Store(false)
	testenv.Eventually(t, "it serves again", func() bool {
		_, text := do(t, s, "GET", "/", nil)
		return text == "flaky"
	})
	// The only one is asked in spite of everything.
	c = config(dead(t))
	c.Passive.Eject = time.Hour
	c.Passive.Max = time.Hour
	s, p = serve(t, c)
	for range 6 {
		if res, _ := do(t, s, "GET", "/", nil); res.StatusCode != 502 {
			t.Errorf("%d", res.StatusCode)
		}
	}
	if n := p.Stats().Upstreams[0].Requests; n != 6 {
		t.Errorf("%d requests", n)
	}
}

func TestHealthChecks(t *testing.T) {
	t.Parallel()
	var ill atomic.Bool
	checked, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() == "/healthz?deep=1" && ill.Load() {
			w.WriteHeader(500)
			return
		}
		io.WriteString(w, "checked")
	})
	c := config(checked)
	c.Health.Path, c.Health.Interval = "/healthz?deep=1", 20*time.Millisecond
	s, p := serve(t, c)
	if res, _ := do(t, s, "GET", "/", nil); res.StatusCode != 200 {
		t.Errorf("%d before the first check", res.StatusCode)
	}
	ill.Store(true)
	testenv.Eventually(t, "it is found ill", func() bool { return !p.Stats().Upstreams[0].Healthy })
	res, text := do(t, s, "GET", "/", nil)
	if res.StatusCode != 503 || text != "503 service unavailable\n" || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %q", res.StatusCode, text)
	}
	ill.Store(false)
	testenv.Eventually(t, "it is found well", func() bool { return p.Stats().Upstreams[0].Healthy })
	if res, _ := do(t, s, "GET", "/", nil); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestMaxRequests(t *testing.T) {
	t.Parallel()
	release, began := make(chan struct{}), make(chan struct{})
	url, _ := upstream(t, func(http.ResponseWriter, *http.Request) { began <- struct{}{}; <-release })
	c := config(url)
	c.Upstreams[0].MaxRequests = 1
	s, p := serve(t, c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(t, s, "GET", "/", nil)
	}()
	<-began
	if res, _ := do(t, s, "GET", "/", nil); res.StatusCode != 503 || p.Stats().Unavailable != 1 {
		t.Errorf("%d, %+v", res.StatusCode, p.Stats())
	}
	close(release)
	<-done
}

func TestBodies(t *testing.T) {
	t.Parallel()
	url, asked := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err, r.Trailer)
	})
	c := config(url)
	c.MaxBody = 100 << 10
	s, p := serve(t, c)
	for _, n := range []int{0, 1, 64 << 10, 64<<10 + 1, 100 << 10} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", n))
			if chunked {
				body = io.MultiReader(body)
			}
			if res, text := do(t, s, "POST", "/", body); res.StatusCode != 200 || !strings.HasPrefix(text, fmt.Sprint(n)+" <nil>") {
				t.Errorf("%d bytes: %d %q", n, res.StatusCode, text)
			}
		}
	}
	before := asked.Load()
	if res, _ := do(t, s, "POST", "/", strings.NewReader(strings.Repeat("x", 100<<10+1))); res.StatusCode != 413 {
		t.Errorf("too long: %d", res.StatusCode)
	}
	if asked.Load() != before {
		t.Error("the upstream has heard of it")
	}
	if res, _ := do(t, s, "POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 200<<10)))); res.StatusCode != 413 {
		t.Errorf("too long, in chunks: %d", res.StatusCode)
	}
	if failed := p.Stats().Upstreams[0].Failed; failed["protocol"]+failed["body"] != 0 {
		t.Errorf("the upstream is blamed: %v", failed)
	}
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	url, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "of "+r.Trailer.Get("X-Client"))
	})
	s, _ := serve(t, config(url))
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"X-Client": {"client"}}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != "body" || res.Trailer.Get("X-Sum") != "of client" {
		t.Errorf("%q, %v, %v", text, err, res.Trailer)
	}
}

func TestStreamsArriveAsTheyCome(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	url, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n", i)
			w.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	s, _ := serve(t, config(url))
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 3 {
		if line, err := lines.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
		next <- struct{}{} // the upstream goes on only after that was read
	}
}

func TestInformationalAnswers(t *testing.T) {
	t.Parallel()
	url := raw(t, func(c net.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nAlt-Svc: h3\r\n\r\nok")
	})
	s, _ := serve(t, config(url))
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	all, _ := io.ReadAll(conn)
	if text := string(all); !strings.HasPrefix(text, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload") || !strings.HasSuffix(text, "ok") || strings.Contains(text, "Alt-Svc") {
		t.Errorf("%q", text)
	}
}

func TestMirror(t *testing.T) {
	t.Parallel()
	copies, release := make(chan string, 10), make(chan struct{})
	to, _ := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		copies <- r.Method + " " + r.RequestURI + " " + string(text)
		<-release
	})
	url, _ := upstream(t, named("real"))
	c := config(url)
	m := proxy.Mirror{}.Defaults().(proxy.Mirror)
	m.URL, m.Max = to, 1
	c.Mirror = &m
	s, p := serve(t, c)
	if _, text := do(t, s, "POST", "/x?y", strings.NewReader("body")); text != "real" {
		t.Error(text)
	}
	if got := <-copies; got != "POST /x?y body" {
		t.Errorf("the copy is %q", got)
	}
	if _, text := do(t, s, "GET", "/", nil); text != "real" { // the copy before still hangs
		t.Error(text)
	}
	if stats := p.Stats(); stats.Mirrored != 1 || stats.MirrorDropped != 1 {
		t.Errorf("%+v", stats)
	}
	close(release)
}
