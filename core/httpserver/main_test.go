package httpserver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) {
	// Most tests wait for timeouts to run out, which they can do at the same time.
	flag.Parse()
	flag.Set("test.parallel", "16")
	// certmagic keeps one for each authority, for as long as the process lives.
	testenv.Main(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

// Config is short for the tests that change it.
type Config = httpserver.Config

// patience bounds every wait for something that must happen; the machine may be busy.
const patience = 30 * time.Second

// world is a running server with a plain listener and one for TLS and HTTP/3.
type world struct {
	*httpserver.Server
	t             testing.TB
	plain, secure string // host:port
	roots         *x509.CertPool
}

// start serves handler; change may alter the configuration first.
func start(t testing.TB, handler http.HandlerFunc, change ...func(*httpserver.Config)) *world {
	t.Helper()
	cfg := httpserver.DefaultConfig()
	cfg.Listen = []httpserver.Listen{{Address: "127.0.0.1:0", H2C: true}, {Address: "127.0.0.1:0", TLS: true, HTTP3: true}}
	for _, c := range change {
		c(&cfg)
	}
	state := testenv.Dir(t)
	s, err := httpserver.New(cfg, httpserver.Options{Logger: slog.New(slog.DiscardHandler), StateDir: state, Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, t: t, roots: x509.NewCertPool()}
	t.Cleanup(func() { w.stop() })
	for _, a := range s.Addresses() {
		switch {
		case a.Network == "udp":
		case strings.HasPrefix(a.URL, "https:"):
			w.secure = a.Addr
		default:
			w.plain = a.Addr
		}
	}
	if pem, err := os.ReadFile(filepath.Join(httpserver.CADir(state), "ca.crt")); err == nil {
		w.roots.AppendCertsFromPEM(pem)
	}
	return w
}

// stop drains with patience.
func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		w.t.Errorf("stop: %v", err)
	}
}

// mode is one way to talk to the server.
type mode struct {
	name   string
	proto  string
	url    string
	client *http.Client
}

// modes returns one client for each protocol.
func (w *world) modes() []mode {
	transport := func(set func(*http.Protocols)) *http.Transport {
		tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: w.clientTLS()}
		set(tr.Protocols)
		w.t.Cleanup(tr.CloseIdleConnections)
		return tr
	}
	h3 := &http3.Transport{TLSClientConfig: w.clientTLS()}
	w.t.Cleanup(func() { h3.Close() })
	h1 := func(p *http.Protocols) { p.SetHTTP1(true) }
	h2 := func(p *http.Protocols) { p.SetHTTP2(true) }
	h2c := func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }
	plain, secure := "http://"+w.plain, "https://"+w.secure
	return []mode{
		{"h1", "HTTP/1.1", plain, &http.Client{Transport: transport(h1)}},
		{"h1s", "HTTP/1.1", secure, &http.Client{Transport: transport(h1)}},
		{"h2", "HTTP/2.0", secure, &http.Client{Transport: transport(h2)}},
		{"h2c", "HTTP/2.0", plain, &http.Client{Transport: transport(h2c)}},
		{"h3", "HTTP/3.0", secure, &http.Client{Transport: h3}},
	}
}

func (w *world) clientTLS() *tls.Config { return &tls.Config{RootCAs: w.roots} }

// run runs body once for each protocol. Cleanups of the clients run after all of them.
func (w *world) run(t *testing.T, body func(t *testing.T, m mode)) {
	t.Helper()
	for _, m := range w.modes() {
		t.Run(m.name, func(t *testing.T) { body(t, m) })
	}
}

// dial opens a raw connection to the plain listener.
func (w *world) dial(t testing.TB) *rawClient {
	t.Helper()
	return dialRaw(t, w.plain)
}

// rawClient speaks HTTP/1 as badly as a test wants.
type rawClient struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func dialRaw(t testing.TB, addr string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &rawClient{conn, t, bufio.NewReader(conn)}
}

func (c *rawClient) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// response reads one answer with its body.
func (c *rawClient) response() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("read response: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("read body: %v", err)
	}
	return res, string(body)
}

// closed waits until the server has closed the connection and fails if it sends anything before.
func (c *rawClient) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil && os.IsTimeout(err) {
		c.t.Fatalf("the server does not close: %v", err)
	} else if len(rest) > 0 {
		c.t.Fatalf("the server sends %q before it closes", rest)
	}
}

// get makes a request with any client.
func get(t testing.TB, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}
