package ws_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		childMain(dir)
		return
	}
	testenv.Main(m)
}

// patience bounds every wait for something that must happen; the machine may be busy.
const patience = 30 * time.Second

// echo is a protocol whose parts a test may replace. By itself it sends every message back.
type echo struct {
	accept  func(*http.Request, *ws.Conn) error
	open    func(*ws.Conn)
	message func(*ws.Conn, ws.Kind, []byte)
	close   func(*ws.Conn, ws.CloseCode, string)
}

func (e *echo) Accept(r *http.Request, c *ws.Conn) error {
	if e.accept != nil {
		return e.accept(r, c)
	}
	return nil
}

func (e *echo) OnOpen(c *ws.Conn) {
	if e.open != nil {
		e.open(c)
	}
}

func (e *echo) OnMessage(c *ws.Conn, kind ws.Kind, message []byte) {
	if e.message != nil {
		e.message(c, kind, message)
		return
	}
	c.Send(ws.Prepare(kind, message))
}

func (e *echo) OnClose(c *ws.Conn, code ws.CloseCode, reason string) {
	if e.close != nil {
		e.close(c, code, reason)
	}
}

// world is a hub with one endpoint behind Edge's own HTTP server: HTTP/1.1 and h2c on plain, TLS with HTTP/2 and HTTP/3 on secure.
type world struct {
	t             testing.TB
	hub           *ws.Hub
	space         *ws.Space
	http          *httpserver.Server
	plain, secure string
	roots         *x509.CertPool
	log           *testenv.Log
}

// start runs a world until the test ends.
func start(t testing.TB, p ws.Protocol, change ...func(*ws.EndpointConfig)) *world {
	t.Helper()
	return startWith(t, ws.Options{}, p, change...)
}

// startWith is start with a hub of one's own.
func startWith(t testing.TB, opts ws.Options, p ws.Protocol, change ...func(*ws.EndpointConfig)) *world {
	t.Helper()
	w := &world{t: t, roots: x509.NewCertPool(), log: &testenv.Log{}}
	logger := slog.New(slog.NewTextHandler(w.log, nil))
	opts.Logger = logger
	w.hub = ws.NewHub(opts)
	if err := w.hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.space = w.hub.Space("test")
	cfg := ws.EndpointConfig{Space: w.space, Protocol: p, Limits: ws.DefaultLimits(), Logger: logger}
	for _, c := range change {
		c(&cfg)
	}
	endpoint, err := ws.NewEndpoint(cfg)
	if err != nil {
		t.Fatal(err)
	}
	state := testenv.Dir(t)
	server := httpserver.DefaultConfig()
	server.Listen = []httpserver.Listen{{Address: "127.0.0.1:0", H2C: true}, {Address: "127.0.0.1:0", TLS: true, HTTP3: true}}
	w.http, err = httpserver.New(server, httpserver.Options{Logger: logger, StateDir: state, Handler: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.http.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	for _, a := range w.http.Addresses() {
		switch {
		case a.Network == "udp":
		case strings.HasPrefix(a.URL, "https:"):
			w.secure = a.Addr
		default:
			w.plain = a.Addr
		}
	}
	pem, err := os.ReadFile(filepath.Join(httpserver.CADir(state), "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	w.roots.AppendCertsFromPEM(pem)
	return w
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.hub.Stop(ctx); err != nil {
		w.t.Errorf("stop the hub: %v", err)
	}
	if err := w.http.Stop(ctx); err != nil {
		w.t.Errorf("stop the server: %v", err)
	}
	if strings.Contains(w.log.String(), "panic") {
		w.t.Errorf("something panicked:\n%s", w.log)
	}
}

func (w *world) tls() *tls.Config { return &tls.Config{RootCAs: w.roots, ServerName: "localhost"} }

// dial connects an independent client by HTTP/1.1.
func (w *world) dial(header ...string) *websocket.Conn {
	w.t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	conn, res, err := (&websocket.Dialer{}).Dial("ws://"+w.plain+"/", h)
	if err != nil {
		status := "no answer"
		if res != nil {
			status = res.Status
		}
		w.t.Fatalf("dial: %v (%s)", err, status)
	}
	w.t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(patience))
	return conn
}

func read(t testing.TB, c *websocket.Conn) string {
	t.Helper()
	_, b, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
