package core_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// behind is an application behind a proxy.
func behind(t testing.TB) *httptest.Server {
	t.Helper()
	upgrader := websocket.Upgrader{}
	mux := http.NewServeMux()
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), " ", r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("X-Real-Ip"), " ", r.URL.Path)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n))
	})
	mux.HandleFunc("/half", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", "100")
		}
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			kind, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			_ = conn.WriteMessage(kind, text)
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func TestProxyOverAllProtocols(t *testing.T) {
	t.Parallel()
	app := behind(t)
	s := edgetest.Start(t, fmt.Sprintf("http: {middleware: [access-log, request-id], routes: [{name: app, match: {path: /app/*}, proxy: {upstreams: [%q], strip: /app}}]}\n", app.URL))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		proto := map[bool]string{true: "http", false: "https"}[strings.HasPrefix(m.URL, "http:")]
		if _, text := m.Get(t, "/app/who"); text != proto+" 127.0.0.1 127.0.0.1 /who" {
			t.Errorf("%q", text)
		}
		body := strings.Repeat("0123456789", 50<<10)
		req, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+"/app/echo", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		if res, text := m.Do(t, req); text != body || res.Trailer.Get("X-Sum") != fmt.Sprint(len(body)) {
			t.Errorf("%d bytes, trailer %v", len(text), res.Trailer)
		}
		for _, kind := range []string{"", "?length"} {
			res, err := m.Client.Get(m.URL + "/app/half" + kind)
			if err != nil {
				continue // its head had not been sent
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil {
				t.Errorf("half an answer looks whole: %q", text)
			}
		}
	})
	for _, metric := range []string{`edge_proxy_upstream_requests_total{route="app"`, `edge_proxy_upstream_failures_total{reason="body"`} {
		if text := rawMetrics(t, s); !strings.Contains(text, metric) {
			t.Errorf("no %s in the metrics", metric)
		}
	}
}

// TestProxiedWebSockets: over each protocol; a reload that changes the proxy itself leaves them alone.
func TestProxiedWebSockets(t *testing.T) {
	t.Parallel()
	app := behind(t)
	config := "http: {routes: [{proxy: {upstreams: [%q], timeouts: {tunnel: %s}}}]}\n"
	s := edgetest.Start(t, fmt.Sprintf(config, app.URL, "1h"))
	links := map[string]io.ReadWriter{"h1": wsOverH1(t, s), "h2": wsOverStream(t, s, 2), "h3": wsOverStream(t, s, 3)}
	echo := func(when string) {
		t.Helper()
		for name, link := range links {
			message := []byte("\x82\x84\x00\x00\x00\x00echo") // masked with zeros
			if _, err := link.Write(message); err != nil {
				t.Fatalf("%s, %s: %v", name, when, err)
			}
			got := make([]byte, 6)
			if _, err := io.ReadFull(link, got); err != nil || string(got) != "\x82\x04echo" {
				t.Fatalf("%s, %s: %q, %v", name, when, got, err)
			}
		}
	}
	echo("at first")
	s.WriteConfig(t, fmt.Sprintf(config, app.URL, "2h"))
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo("after a reload")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	for name, link := range links {
		if n, err := link.Read(make([]byte, 10)); err == nil {
			t.Errorf("%s: %d bytes after the stop", name, n)
		}
	}
}

func wsOverH1(t *testing.T, s *edgetest.Server) io.ReadWriter {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.HTTP, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%v, %v", res, err)
	}
	return struct {
		io.Reader
		io.Writer
	}{in, conn}
}

// wsOverStream opens a WebSocket by extended CONNECT.
func wsOverStream(t *testing.T, s *edgetest.Server, version int) io.ReadWriter {
	t.Helper()
	mode := s.Modes(t)[version-1]
	body, in := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, mode.URL+"/ws", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Sec-Websocket-Version": {"13"}}
	var transport http.RoundTripper
	switch own := mode.Client.Transport.(type) {
	case *http3.Transport:
		r.Proto, transport = "websocket", own
	case *http.Transport:
		r.Header[":protocol"] = []string{"websocket"}
		h2 := &http2.Transport{TLSClientConfig: own.TLSClientConfig.Clone()}
		t.Cleanup(h2.CloseIdleConnections)
		transport = h2
	default:
		t.Fatalf("the client of %s is a %T", mode.Name, own)
	}
	res, err := transport.RoundTrip(r)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %v, %v", mode.Name, res, err)
	}
	t.Cleanup(func() {
		cancel()
		in.Close()
		res.Body.Close()
	})
	return struct {
		io.Reader
		io.Writer
	}{res.Body, in}
}

// TestProxyKeepsWhatItKnowsThroughReloads: a route that did not change keeps its upstreams' state, and no request fails.
func TestProxyKeepsWhatItKnowsThroughReloads(t *testing.T) {
	t.Parallel()
	var checks atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			checks.Add(1)
		}
		io.WriteString(w, "ok")
	}))
	defer app.Close()
	config := "http: {routes: [{match: {path: /x}, respond: %q}, {name: p, proxy: {upstreams: [%q], health: {path: /up, interval: 10ms}, max_body: %dB}}]}\n"
	s := edgetest.Start(t, fmt.Sprintf(config, "0", app.URL, 100))
	l := startLoad(s.Modes(t)[0], 4, "/", ok)
	for i := range testenv.Count(10, 100) {
		s.WriteConfig(t, fmt.Sprintf(config, fmt.Sprint(i), app.URL, 100+i/2)) // every other one changes the proxy
		before := l.requests.Load()
		testenv.Eventually(t, "requests are under way", func() bool { return l.requests.Load() > before })
		if err := s.ReloadFile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.end(t)
	testenv.Eventually(t, "checks go on", func() bool { return checks.Load() > 5 })
	app.CloseClientConnections()
}

// TestDocumentedProxies: the examples of docs/proxy.md are configurations.
func TestDocumentedProxies(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "proxy.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(text), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		path := filepath.Join(testenv.Dir(t), "edge.yaml")
		if err := os.WriteFile(path, []byte("version: 1\n"+example), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := core.Load(path, nil)
		if err != nil {
			t.Errorf("example %d: %v", i+1, err)
			continue
		}
		for _, line := range cfg.RouteTable() {
			if !strings.HasPrefix(line.Target, "proxy ") {
				t.Errorf("%s leads to %q", line.Name, line.Target)
			}
		}
	}
}

func TestProxyToPHPFPM(t *testing.T) {
	t.Parallel()
	program := testenv.Tool(t, "php-fpm8.2", "apt install php-fpm")
	dir := testenv.Dir(t)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("index.php", `<?php echo $_SERVER['HTTPS'] ?? 'off', ' ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['REMOTE_ADDR'], ' ', $_POST['a'] ?? '', strlen($_FILES['f']['name'] ?? ''), $_SERVER['REMOTE_USER'] ?? '', $_SERVER['AUTH_TYPE'] ?? '';`)
	pool := fmt.Sprintf("[global]\nerror_log = %[1]s/log\n[www]\nlisten = %[1]s/fpm.sock\npm = static\npm.max_children = 2\n", dir)
	if os.Geteuid() == 0 {
		pool += "user = root\ngroup = root\n"
	}
	write("fpm.conf", pool)
	cmd := exec.Command(program, "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", filepath.Join(dir, "fpm.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()
	target := fmt.Sprintf("proxy: {upstreams: ['fastcgi:%[1]s/fpm.sock'], fastcgi: {root: %[1]s}, retry: {tries: 10}}", dir)
	s := edgetest.Start(t, "http: {basic_auth: {staff: {users: {alice: 'plain:secret'}}}, routes: [{match: {path: /staff}, use: [basic-auth/staff], "+target+"}, {"+target+"}]}\n")
	testenv.Eventually(t, "php-fpm answers", func() bool {
		res, err := http.Get(s.HTTP + "/")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		https := map[bool]string{true: "off", false: "on"}[strings.HasPrefix(m.URL, "http:")]
		if res, text := m.Get(t, "/a/b?c=d"); text != https+" /a/b?c=d 127.0.0.1 0" {
			t.Errorf("%s %q", res.Status, text)
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+"/", strings.NewReader("a=posted"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if _, text := m.Do(t, req); text != https+" / 127.0.0.1 posted0" {
			t.Errorf("%q", text)
		}
		req, _ = http.NewRequestWithContext(t.Context(), "GET", m.URL+"/staff", nil)
		req.SetBasicAuth("alice", "secret")
		if _, text := m.Do(t, req); text != https+" /staff 127.0.0.1 0aliceBasic" {
			t.Errorf("with a password: %q", text)
		}
	})
}
