package proxy_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/internal/testenv"
)

func TestKindsOfUpstreams(t *testing.T) {
	t.Parallel()
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %v", r.Proto, r.Host, r.TLS != nil)
	})
	t.Run("h2c", func(t *testing.T) {
		s := httptest.NewUnstartedServer(hello)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		defer s.Close()
		front, p := serve(t, config("h2c://"+s.Listener.Addr().String()))
		if _, text := do(t, front, "GET", "/", nil, "Host", "app"); text != "HTTP/2.0 app false" {
			t.Errorf("%q, %+v", text, p.Stats())
		}
	})
	t.Run("unix socket", func(t *testing.T) {
		socket := filepath.Join(testenv.Dir(t), "app.sock")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(hello)
		s.Listener.Close()
		s.Listener = l
		s.Start()
		defer s.Close()
		front, _ := serve(t, config("unix:"+socket))
		if _, text := do(t, front, "GET", "/", nil, "Host", "app"); text != "HTTP/1.1 app false" {
			t.Errorf("%q", text)
		}
	})
	t.Run("https", func(t *testing.T) {
		s := httptest.NewUnstartedServer(hello)
		s.EnableHTTP2 = true
		s.Config.ErrorLog = discard
		s.StartTLS()
		defer s.Close()
		front, _ := serve(t, config(s.URL))
		if res, _ := do(t, front, "GET", "/", nil); res.StatusCode != 502 {
			t.Errorf("a certificate of nobody's: %d", res.StatusCode)
		}
		c := config(s.URL)
		c.TLS.CA = filepath.Join(testenv.Dir(t), "ca.pem")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		if err := os.WriteFile(c.TLS.CA, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c.Host = "upstream"
		front, _ = serve(t, c)
		if _, text := do(t, front, "GET", "/", nil); text != "HTTP/2.0 "+s.Listener.Addr().String()+" true" {
			t.Errorf("its own authority: %q", text)
		}
		c.TLS.Name = "another.example"
		front, _ = serve(t, c)
		if res, _ := do(t, front, "GET", "/", nil); res.StatusCode != 502 {
			t.Errorf("another name: %d", res.StatusCode)
		}
		c.TLS = proxy.TLS{Insecure: true}
		front, _ = serve(t, c)
		if res, _ := do(t, front, "GET", "/", nil); res.StatusCode != 200 {
			t.Errorf("anything goes: %d", res.StatusCode)
		}
	})
}

func TestWebSockets(t *testing.T) {
	t.Parallel()
	upgrader := websocket.Upgrader{}
	url, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			http.Error(w, "no", 403)
			return
		}
		conn, err := upgrader.Upgrade(w, r, http.Header{"X-Upstream": {"1"}})
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			kind, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if string(text) == "bye" {
				return
			}
			_ = conn.WriteMessage(kind, append([]byte(r.Header.Get("X-Forwarded-Host")+" "), text...))
		}
	})
	c := config(url)
	s, p := serve(t, c)
	ws := "ws" + strings.TrimPrefix(s.URL, "http")
	conn, res, err := websocket.DefaultDialer.Dial(ws, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if res.Header.Get("X-Upstream") != "1" {
		t.Errorf("%v", res.Header)
	}
	for i := range 20 {
		text := strings.Repeat(fmt.Sprint(i), 1+i*1000)
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
		_, got, err := conn.ReadMessage()
		if want := s.Listener.Addr().String() + " " + text; err != nil || string(got) != want {
			t.Fatalf("%.60q, %v", got, err)
		}
	}
	if n := p.Stats().Upstreams[0].Active; n != 1 {
		t.Errorf("%d active", n)
	}
	_ = conn.WriteMessage(websocket.TextMessage, []byte("bye"))
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the upstream's end does not arrive")
	}
	testenv.Eventually(t, "the place is free", func() bool { return p.Stats().Upstreams[0].Active == 0 })

	if _, res, err = websocket.DefaultDialer.Dial(ws+"/refused", nil); err == nil || res.StatusCode != 403 {
		t.Errorf("%v", err)
	}
	c.Timeouts.Tunnel = 100 * time.Millisecond
	s, _ = serve(t, c)
	silent, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, _, err := silent.ReadMessage(); err == nil { // after timeouts.tunnel
		t.Error("a silent tunnel stays")
	}
}

// TestNginxBehind: a real server of another make, with its keep-alive, ranges, 304 and compressed answers.
func TestNginxBehind(t *testing.T) {
	t.Parallel()
	nginx := testenv.Tool(t, "nginx", "apt install nginx-light")
	dir := testenv.Dir(t)
	if err := os.WriteFile(filepath.Join(dir, "big.txt"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "nginx.sock")
	conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log; events {}
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
types { text/plain txt; } gzip on; gzip_types text/plain; keepalive_requests 3;
server { listen unix:%[2]s; root %[1]s; location /echo { return 200 "$request_method $request_uri $http_x_forwarded_for $host"; } } }`, dir, socket)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command(nginx, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", filepath.Join(dir, "nginx.conf")), socket)
	s, p := serve(t, config("unix:"+socket))
	for range 20 { // over connections that nginx closes after three
		if _, text := do(t, s, "GET", "/echo?x=1", nil, "Host", "app.example"); text != "GET /echo?x=1 127.0.0.1 app.example" {
			t.Fatalf("%q", text)
		}
	}
	res, text := do(t, s, "GET", "/big.txt", nil)
	if len(text) != 1<<20 || res.ContentLength != 1<<20 {
		t.Errorf("%d bytes", len(text))
	}
	if res, _ := do(t, s, "GET", "/big.txt", nil, "If-None-Match", res.Header.Get("Etag")); res.StatusCode != 304 {
		t.Errorf("%d", res.StatusCode)
	}
	if res, text := do(t, s, "GET", "/big.txt", nil, "Range", "bytes=16-31"); res.StatusCode != 206 || text != "0123456789abcdef" {
		t.Errorf("%d %q", res.StatusCode, text)
	}
	if res, _ := do(t, s, "GET", "/big.txt", nil, "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%v", res.Header)
	}
	if res, text := do(t, s, "HEAD", "/big.txt", nil); res.ContentLength != 1<<20 || text != "" {
		t.Errorf("%d %q", res.ContentLength, text)
	}
	if failed := p.Stats().Upstreams[0].Failed; failed["protocol"]+failed["body"]+failed["dial"] != 0 {
		t.Errorf("%v", failed)
	}
}

// run starts a server and waits for its socket.
func run(t *testing.T, cmd *exec.Cmd, socket string) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	testenv.Eventually(t, "the server listens", func() bool {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// FuzzUpstream: whatever an upstream sends, the client gets an answer that ends, and the upstream's place is free afterwards.
func FuzzUpstream(f *testing.F) {
	for _, text := range []string{
		"HTTP/1.1 000 K\r\nTransfer-Encoding: chunked\r\n\r\n2\x00\x02ok\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nx",
		"HTTP/1.0 200\r\n\r\nbody", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "\x00\x00\x12\x04", "HTTP/1.1 200 OK\r\nConnection: X-A\r\nX-A: b\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	answers := make(chan []byte, 1)
	url := raw(f, func(conn net.Conn, _ *http.Request) { conn.Write(<-answers) })
	c := config(url)
	c.Retry.Tries, c.Passive.Failures = 0, 0
	s, p := serve(f, c)
	f.Fuzz(func(t *testing.T, text []byte) {
		select {
		case <-answers: // of one that was not asked
		default:
		}
		answers <- text
		client := *s.Client()
		client.Timeout = patience
		res, err := client.Post(s.URL, "text/plain", http.NoBody)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			for _, name := range []string{"X-A", "Proxy-Connection"} {
				if strings.Contains(string(text), "Connection: X-A") && res.Header.Get(name) != "" {
					t.Errorf("%s passes", name)
				}
			}
		} else if os.IsTimeout(err) {
			t.Fatal(err)
		}
		testenv.Eventually(t, "the place is free", func() bool { return p.Stats().Upstreams[0].Active == 0 })
	})
}

// FuzzClaims: whatever headers a client sends, what the upstream believes about it comes from Edge.
func FuzzClaims(f *testing.F) {
	got := make(chan *http.Request, 1)
	url, _ := upstream(f, func(_ http.ResponseWriter, r *http.Request) { got <- r })
	s, _ := serve(f, config(url))
	f.Add("X-Forwarded-For", "6.6.6.6", "close")
	f.Add("x-real-ip", "6.6.6.6", "X-Real-Ip, X-Forwarded-For")
	f.Add("Upgrade", "h2c", "Upgrade, HTTP2-Settings")
	f.Add("Transfer-Encoding", "chunked", "keep-alive")
	f.Fuzz(func(t *testing.T, name, value, connection string) {
		r, err := http.NewRequest("GET", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(name, value)
		r.Header.Set("Connection", connection)
		res, err := s.Client().Do(r)
		if err != nil {
			return // net/http refuses to send it
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			return
		}
		in := <-got
		if f := in.Header["X-Forwarded-For"]; len(f) != 1 || f[0] != "127.0.0.1" {
			t.Errorf("X-Forwarded-For: %q", f)
		}
		if in.Header.Get("X-Real-Ip") != "127.0.0.1" || in.Header.Get("Upgrade") != "" && !strings.EqualFold(in.Header.Get("Upgrade"), "websocket") {
			t.Errorf("%v", in.Header)
		}
	})
}
