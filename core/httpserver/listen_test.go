package httpserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
)

func remote(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) }

// overUnix is a client of a unix socket.
func overUnix(t testing.TB, path string, set func(*http.Protocols)) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	set(tr.Protocols)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testenv.Dir(t), "edge.sock")
	stale, err := net.Listen("unix", path) // left by a server that was killed
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	big := filepath.Join(testenv.Dir(t), "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			http.ServeFile(w, r, big)
			return
		}
		remote(w, r)
	}
	s := start(t, handler, func(c *Config) { c.Listen = []httpserver.Listen{{Address: "unix:" + path, H2C: true}} })
	for name, set := range map[string]func(*http.Protocols){
		"h1": func(p *http.Protocols) { p.SetHTTP1(true) }, "h2c": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		client := overUnix(t, path, set)
		if _, body := get(t, client, "http://site/"); !strings.HasPrefix(body, "127.0.0.1:") {
			t.Errorf("%s: the client is %q", name, body)
		}
		if _, body := get(t, client, "http://site/big"); len(body) != 1<<20 {
			t.Errorf("%s: a file came with %d bytes", name, len(body))
		}
	}
	cfg := httpserver.DefaultConfig()
	cfg.Listen = []httpserver.Listen{{Address: "unix:" + path}}
	second, err := httpserver.New(cfg, httpserver.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("a second server at the same path: %v", err)
	}
	s.stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// proxied dials the address with a PROXY header before all else.
func proxied(header []byte, addr *string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", *addr)
		if err != nil {
			return nil, err
		}
		_, err = conn.Write(header)
		return conn, err
	}
}

func header(t testing.TB, version byte, client string) []byte {
	t.Helper()
	src, dst := net.TCPAddrFromAddrPort(mustAddr(t, client)), net.TCPAddrFromAddrPort(mustAddr(t, "192.0.2.1:443"))
	if src.IP.To4() == nil {
		dst = net.TCPAddrFromAddrPort(mustAddr(t, "[2001:db8::1]:443"))
	}
	text, err := proxyproto.HeaderProxyFromAddrs(version, src, dst).Format()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	w := start(t, remote, func(c *Config) {
		for i := range c.Listen {
			c.Listen[i].ProxyProtocol, c.Listen[i].HTTP3 = []string{"127.0.0.0/8", "::1"}, false
		}
	})
	for name, text := range map[string][]byte{
		"v1": header(t, 1, "203.0.113.7:4711"), "v2": header(t, 2, "203.0.113.7:4711"),
		"v1 IPv6": header(t, 1, "[2001:db8::7]:4711"), "v2 IPv6": header(t, 2, "[2001:db8::7]:4711"),
	} {
		want := "203.0.113.7:4711"
		if strings.Contains(name, "6") {
			want = "[2001:db8::7]:4711"
		}
		for _, m := range w.modes()[:4] { // all but HTTP/3
			addr := &w.plain
			if strings.HasPrefix(m.url, "https:") {
				addr = &w.secure
			}
			m.client.Transport.(*http.Transport).DialContext = proxied(text, addr)
			if _, body := get(t, m.client, m.url); body != want {
				t.Errorf("%s over %s: the client is %q, want %s", name, m.name, body, want)
			}
		}
	}

	// The load balancer itself asks whether we are well.
	for _, text := range []string{"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
		c := w.dial(t)
		c.send(text + "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, body := c.response(); body != c.LocalAddr().String() {
			t.Errorf("%q: the client is %q", text, body)
		}
	}
}

func TestProxyProtocolIsStrict(t *testing.T) {
	t.Parallel()
	w := start(t, remote, func(c *Config) {
		c.Listen = []httpserver.Listen{{Address: "127.0.0.1:0", ProxyProtocol: []string{"127.0.0.1"}}}
		c.Limits.ReadHeaderTimeout = time.Second
	})
	request := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, text := range map[string]string{
		"no header":          request,
		"garbage":            strings.Repeat("\x00\xff", 100),
		"a half signature":   "\r\n\r\n\x00\r\nQUI",
		"a half line":        "PROXY TCP4 203.0.113.7",
		"a line without end": "PROXY TCP4 " + strings.Repeat("1", 200) + request,
		"bad addresses":      "PROXY TCP4 203.0.113.700 192.0.2.1 1 2\r\n" + request,
		"a port too large":   "PROXY TCP4 203.0.113.7 192.0.2.1 70000 2\r\n" + request,
		"another family":     "PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n" + request,
		"a line ended by LF": "PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n" + request,
		"version 3":          "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + strings.Repeat("a", 12) + request,
		"a huge length":      "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("a", 1000),
		"a short length":     "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x02ab" + request,
		"nothing":            "",
	} {
		c := w.dial(t)
		_, _ = io.WriteString(c.Conn, text)
		rest, err := io.ReadAll(c.r)
		if err != nil && os.IsTimeout(err) || len(rest) > 0 {
			t.Errorf("%s: the server answers %q, %v; it should close", name, rest, err)
		}
	}
	// Others than the load balancer are not heard at all.
	other := start(t, remote, func(c *Config) {
		c.Listen = []httpserver.Listen{{Address: "127.0.0.1:0", ProxyProtocol: []string{"10.0.0.0/8"}}}
	})
	c := other.dial(t)
	_, _ = io.WriteString(c.Conn, string(header(t, 1, "203.0.113.7:4711"))+request)
	if rest, err := io.ReadAll(c.r); err != nil && os.IsTimeout(err) || len(rest) > 0 {
		t.Errorf("a stranger is answered %q, %v", rest, err)
	}
	if n := other.Stats().Listeners[0].FailedHandshakes; n != 1 {
		t.Errorf("counted %d refused connections, want 1", n)
	}
}

func TestReusePort(t *testing.T) {
	t.Parallel()
	share := func(addr string) func(*Config) {
		return func(c *Config) {
			c.Listen = []httpserver.Listen{{Address: addr, TLS: true, HTTP3: true, ReusePort: true}}
		}
	}
	first := start(t, hello, share("127.0.0.1:0"))
	start(t, hello, share(first.secure))
}

func TestEarlyData(t *testing.T) {
	t.Parallel()
	seen := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, r.Header.Get("Early-Data")) }
	for _, on := range []bool{true, false} {
		w := start(t, seen, func(c *Config) { c.Listen[1].EarlyData = on })
		tr := &http3.Transport{
			TLSClientConfig: &tls.Config{RootCAs: w.roots, ClientSessionCache: tls.NewLRUClientSessionCache(4)},
			QUICConfig: &quic.Config{
				TokenStore: quic.NewLRUTokenStore(4, 4), HandshakeIdleTimeout: time.Minute, MaxIdleTimeout: time.Minute,
			},
		}
		client := &http.Client{Transport: tr}
		early := func(method string) (int, string) {
			tr.CloseIdleConnections() // so that the next request makes a connection with the session of before
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{})
			req, err := http.NewRequestWithContext(ctx, method, "https://"+w.secure, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res.StatusCode, string(body)
		}
		if status, body := early(http.MethodGet); body != "GET" {
			t.Errorf("the first request: %d %q", status, body)
		}
		if !on {
			if _, body := early(http3.MethodGet0RTT); body != "GET" {
				t.Errorf("early data although it is off: %q", body)
			}
			tr.Close()
			continue
		}
		testenv.Eventually(t, "a session ticket to have come", func() bool {
			_, body := early(http3.MethodGet0RTT)
			return body == "GET1"
		})
		if _, body := early(http.MethodPost); body != "POST" { // clients wait by themselves
			t.Errorf("POST: %q", body)
		}
		testenv.Eventually(t, "an early POST to be refused", func() bool { return tooEarly(t, tr, w.secure, http.MethodPost, "") == http.StatusTooEarly })
		testenv.Eventually(t, "an early WebSocket to be refused", func() bool {
			return tooEarly(t, tr, w.secure, http.MethodConnect, "websocket") == http.StatusTooEarly
		})
		tr.Close()
	}
}

// tooEarly does what well-behaved clients do not, and returns the status.
func tooEarly(t *testing.T, tr *http3.Transport, addr, method, protocol string) int {
	t.Helper()
	secure := tr.TLSClientConfig.Clone()
	secure.NextProtos, secure.ServerName = []string{http3.NextProtoH3}, "127.0.0.1"
	conn, err := quic.DialAddrEarly(t.Context(), addr, secure, tr.QUICConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	client := tr.NewClientConn(conn)
	stream, err := client.OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if protocol != "" { // an extended CONNECT
		req.Proto = protocol
	}
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	stream.Close()
	res, err := stream.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// TestInheritedSockets runs itself as systemd would.
func TestInheritedSockets(t *testing.T) {
	if os.Getenv("EDGE_TEST_INHERITED") != "" {
		t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid())) // which the parent cannot know
		w := start(t, hello, func(c *Config) {
			c.Listen = []httpserver.Listen{{Address: "systemd:web"}, {Address: "systemd:secure", TLS: true, HTTP3: true}, {Address: "systemd:3"}}
		})
		fmt.Println("serves", len(w.Addresses()))
		io.Copy(io.Discard, os.Stdin)
		return
	}
	t.Parallel()
	var files []*os.File
	keep := func(f *os.File, err error) {
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	tcp := func() *net.TCPListener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln.(*net.TCPListener)
	}
	web, secure := tcp(), tcp()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(secure.Addr().(*net.TCPAddr).AddrPort()))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	path := filepath.Join(testenv.Dir(t), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	keep(web.File())
	keep(secure.File())
	keep(udp.File())
	keep(unix.(*net.UnixListener).File())
	child := exec.Command(os.Args[0], "-test.run=^TestInheritedSockets$", "-test.v")
	child.Env = append(os.Environ(), "EDGE_TEST_INHERITED=1", "LISTEN_FDS=4", "LISTEN_FDNAMES=web:secure:secure:")
	child.ExtraFiles = files
	log := &testenv.Log{}
	child.Stdout, child.Stderr = log, log
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the child to serve", func() bool {
		return strings.Contains(log.String(), "serves 4") || strings.Contains(log.String(), "FAIL")
	})
	if _, body := get(t, &http.Client{}, "http://"+web.Addr().String()); body != "hello" {
		t.Errorf("web: %q", body)
	}
	if _, body := get(t, overUnix(t, path, func(p *http.Protocols) { p.SetHTTP1(true) }), "http://x/"); body != "hello" {
		t.Errorf("unix: %q", body)
	}
	h3 := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if _, body := get(t, &http.Client{Transport: h3}, "https://"+secure.Addr().String()); body != "hello" {
		t.Errorf("HTTP/3: %q", body)
	}
	h3.Close()
	stdin.Close()
	if err := child.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

func mustAddr(t testing.TB, text string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
