package httpserver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
)

func TestOneHandlerForEveryProtocol(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%s %s %s tls=%t %s", r.Proto, r.Method, r.RequestURI, r.TLS != nil, body)
	})
	w.run(t, func(t *testing.T, m mode) {
		res, err := m.client.Post(m.url+"/a?b=c", "text/plain", strings.NewReader("the body"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s POST /a?b=c tls=%t the body", m.proto, strings.HasPrefix(m.url, "https"))
		if string(got) != want || res.Proto != m.proto {
			t.Errorf("got %q over %s, want %q over %s", got, res.Proto, want, m.proto)
		}
		altSvc := res.Header.Get("Alt-Svc")
		_, port, _ := net.SplitHostPort(w.secure)
		if want := `h3=":` + port + `"; ma=86400`; (strings.HasPrefix(m.url, "https") && res.ProtoMajor < 3) != (altSvc == want) {
			t.Errorf("Alt-Svc is %q on %s", altSvc, m.url)
		}
	})
	stats := w.Stats()
	if stats.HTTP1 != 2 || stats.HTTP2 != 2 || stats.HTTP3 != 1 {
		t.Errorf("counted %d, %d, %d requests of HTTP/1, 2, 3; want 2, 2, 1", stats.HTTP1, stats.HTTP2, stats.HTTP3)
	}
	if len(stats.Listeners) != 3 || stats.Listeners[0].Accepted != 2 || stats.Listeners[1].Accepted != 2 || stats.Listeners[2].Accepted != 1 {
		t.Errorf("listeners are %+v, want 2, 2 and 1 connections", stats.Listeners)
	}
}

// TestConnectionHeadersOfTheHandler: HTTP/2 and HTTP/3 clients take an answer with such a header as malformed.
func TestConnectionHeadersOfTheHandler(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Upgrade"} {
			w.Header().Set(name, "x")
		}
		w.Header().Set("X-Kept", "yes")
		switch r.URL.Path {
		case "/status":
			w.WriteHeader(http.StatusAccepted)
		case "/body":
			io.WriteString(w, "text")
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Connection", "x")
			io.WriteString(w, "text")
		case "/flush":
			http.NewResponseController(w).Flush()
		}
	})
	w.run(t, func(t *testing.T, m mode) {
		for _, path := range []string{"/nothing", "/status", "/body", "/hints", "/flush"} {
			res, _ := get(t, m.client, m.url+path)
			if res.Header.Get("X-Kept") != "yes" {
				t.Errorf("%s: headers are %v, want X-Kept among them", path, res.Header)
			}
			if res.ProtoMajor > 1 && (res.Header.Get("Keep-Alive") != "" || res.Header.Get("Upgrade") != "") {
				t.Errorf("%s: %v has headers of HTTP/1 connections", path, res.Header)
			}
		}
	})
}

// TestForgedQUICHandshakes: first packets that nothing follows make the server ask for proof, and cost it a bounded number of
// connections for a bounded time.
func TestForgedQUICHandshakes(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {}, func(c *httpserver.Config) { c.Limits.ReadHeaderTimeout = 4 * time.Second })
	var flood sync.WaitGroup
	for range 300 {
		flood.Go(func() { w.dialAndVanish(t) })
	}
	pending := func() int { return w.Stats().Listeners[2].HandshakesPending }
	testenv.Eventually(t, "the server sees handshakes", func() bool { return pending() > 0 }) // on a slow machine the flood outlasts them
	flood.Wait()
	if n := pending(); n > 200 {
		t.Errorf("%d handshakes are open for forged packets, want about 128 at most", n)
	}
	for _, m := range w.modes() {
		if m.name == "h3" {
			if res, _ := get(t, m.client, m.url); res.StatusCode != http.StatusOK {
				t.Errorf("an honest client got %s", res.Status)
			}
		}
	}
	testenv.Eventually(t, "the forged handshakes are given up", func() bool { return pending() == 0 })
}

// dialAndVanish sends the first packet of a QUIC connection and nothing else, like a client with a forged address.
func (w *world) dialAndVanish(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Error(err)
		return
	}
	transport := &quic.Transport{Conn: &onePacketConn{PacketConn: socket}}
	defer socket.Close()
	defer transport.Close()
	server, err := net.ResolveUDPAddr("udp", w.secure)
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	config := w.clientTLS()
	config.NextProtos, config.ServerName = []string{"h3"}, "localhost"
	if _, err := transport.Dial(ctx, server, config, nil); err == nil {
		t.Error("a handshake was finished with one packet")
	}
}

// onePacketConn sends one packet and receives none.
type onePacketConn struct {
	net.PacketConn
	sent atomic.Int32
}

func (c *onePacketConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if c.sent.Add(1) > 1 {
		return len(p), nil
	}
	return c.PacketConn.WriteTo(p, addr)
}

func (c *onePacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if _, addr, err := c.PacketConn.ReadFrom(p); err != nil {
			return 0, addr, err
		}
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {})
	for _, m := range w.modes() {
		get(t, m.client, m.url)
		m.client.CloseIdleConnections()
		if c, ok := m.client.Transport.(io.Closer); ok {
			c.Close()
		}
	}
	testenv.Eventually(t, "all connections count as closed", func() bool {
		for _, l := range w.Stats().Listeners {
			if l.Open != 0 || l.Accepted == 0 {
				return false
			}
		}
		return true
	})
}

func TestHeaderNamesThatCollide(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.Contains(name, "_") || name == "Proxy" || name == "Host" {
				http.Error(w, "the handler sees "+name, http.StatusBadRequest)
			}
		}
		io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	})
	w.run(t, func(t *testing.T, m mode) {
		before := w.Stats().DroppedHeaders
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"X_Forwarded_For": {"6.6.6.6"}, "X-Forwarded-For": {"1.2.3.4"}, "Proxy": {"evil:80"}, "A_": {"x", "y"}}
		res, err := m.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if string(body) != "1.2.3.4" {
			t.Errorf("got %s %q", res.Status, body)
		}
		if got := w.Stats().DroppedHeaders - before; got != 3 {
			t.Errorf("%d headers were counted as dropped, want 3", got)
		}
	})
}

// TestTrailersReachCopies: middleware passes copies of a request on, and its trailers come after those were made.
func TestTrailersReachCopies(t *testing.T) {
	t.Parallel()
	type key struct{}
	w := start(t, func(w http.ResponseWriter, original *http.Request) {
		r := original.WithContext(context.WithValue(original.Context(), key{}, 1))
		_, err := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Trailer, err)
	})
	w.run(t, func(t *testing.T, m mode) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url, io.MultiReader(strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Sum": {"1", "2"}, "X-Other": nil}
		res, err := m.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); string(body) != "map[X-Other:[] X-Sum:[1 2]] <nil>" {
			t.Errorf("the handler sees the trailers %s", body)
		}
	})
}

func TestTrailersThatCollide(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, r.Trailer)
	})
	w.run(t, func(t *testing.T, m mode) {
		if m.proto == "HTTP/1.1" {
			t.Log("HTTP/1 refuses such a trailer: see the table of malformed requests")
			return
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url, io.MultiReader(strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X_Sum": {"evil"}, "X-Sum": {"good"}}
		res, err := m.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); string(body) != "map[X-Sum:[good]]" {
			t.Errorf("the handler sees the trailers %s", body)
		}
	})
}

func TestMethodsForTheServerItself(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the handler sees %s %s", r.Method, r.RequestURI)
	})

	c := w.dial(t)
	c.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, body := c.response(); res.StatusCode != http.StatusOK || body != "" {
		t.Errorf("OPTIONS * got %s %q", res.Status, body)
	}
	c.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	if res, _ := c.response(); res.StatusCode != http.StatusNotImplemented {
		t.Errorf("CONNECT got %s", res.Status)
	}
	c.closed()
}

func TestAbsoluteFormReachesTheHandlerAsAPath(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s %s", r.Host, r.RequestURI, r.URL) })
	for target, want := range map[string]string{
		"http://example.com/a?b": "example.com /a?b /a?b",
		"http://example.com":     "example.com / /",
		"https://example.com:9/": "example.com:9 / /",
	} {
		c := w.dial(t)
		c.send("GET " + target + " HTTP/1.1\r\nHost: other\r\n\r\n")
		if _, got := c.response(); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}

func TestPlainHTTPToATLSPort(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {})
	c := dialRaw(t, w.secure)
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, body := c.response()
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "HTTPS") {
		t.Errorf("got %s %q", res.Status, body)
	}
	testenv.Eventually(t, "the handshake counts as failed", func() bool { return w.Stats().Listeners[1].FailedHandshakes == 1 })
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {})
	c := w.clientTLS()
	c.MaxVersion = tls.VersionTLS11
	if conn, err := tls.Dial("tcp", w.secure, c); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close() // very likely still free below

	cfg := httpserver.DefaultConfig()
	cfg.Listen = []httpserver.Listen{{Address: free.Addr().String()}, {Address: taken.Addr().String()}}
	s, err := httpserver.New(cfg, httpserver.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Start(t.Context())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "http.listen[1]: address: ") || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("start says %v", err)
	}
	again, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Fatalf("the first address was not released: %v", err)
	}
	again.Close()
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestUDPPortInUse(t *testing.T) {
	t.Parallel()
	for attempt := 0; ; attempt++ {
		err := startOnTakenUDP(t)
		if errors.Is(err, syscall.EADDRINUSE) && strings.Contains(err.Error(), "listen tcp") && attempt < 10 {
			continue // the TCP port of that number was another test's
		}
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "http.listen[0]: http3: ") {
			t.Errorf("start says %v", err)
		}
		return
	}
}

// startOnTakenUDP starts a server whose port is taken for UDP.
func startOnTakenUDP(t *testing.T) error {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	cfg := httpserver.DefaultConfig()
	cfg.Listen = []httpserver.Listen{{Address: udp.LocalAddr().String(), TLS: true, HTTP3: true}}
	s, err := httpserver.New(cfg, httpserver.Options{Logger: slog.New(slog.DiscardHandler), StateDir: testenv.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Start(t.Context())
}

func TestStopIsForgiving(t *testing.T) {
	t.Parallel()
	s, err := httpserver.New(httpserver.DefaultConfig(), httpserver.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("a stopped server starts")
	}
}

func TestGivenCertificate(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	missing := httpserver.TLS{Cert: dir + "/none.crt", Key: dir + "/none.key"}
	for name, c := range map[string]struct {
		tls  httpserver.TLS
		want string
	}{
		"missing": {missing, "http.tls.cert: open " + missing.Cert},
		"half":    {httpserver.TLS{Cert: missing.Cert}, "tls: cert and key belong together"},
		"garbage": {httpserver.TLS{Cert: "server_test.go", Key: "server_test.go"}, "http.tls: load server_test.go with the key server_test.go"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := httpserver.DefaultConfig()
			cfg.Listen[0].TLS = true
			cfg.TLS = c.tls
			_, err := httpserver.New(cfg, httpserver.Options{Logger: slog.New(slog.DiscardHandler), StateDir: dir})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Cleanup(func() {
		if _, err := os.Stat(httpserver.CADir(dir)); err == nil {
			t.Error("a CA was made though certificates were given")
		}
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := httpserver.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*httpserver.Config)
		want   string
	}{
		"no listener":  {func(c *httpserver.Config) { c.Listen = nil }, "listen: name at least one address"},
		"no port":      {func(c *httpserver.Config) { c.Listen[0].Address = "8080" }, "listen[0].address: \"8080\" is not host:port"},
		"named port":   {func(c *httpserver.Config) { c.Listen[0].Address = ":http" }, "listen[0].address: \":http\": the port must be a number"},
		"empty":        {func(c *httpserver.Config) { c.Listen[0].Address = "" }, "listen[0].address: must be host:port"},
		"twice":        {func(c *httpserver.Config) { c.Listen = append(c.Listen, c.Listen[0]) }, "listen[1].address: \":8080\" is the address of listen[0] already"},
		"http3":        {func(c *httpserver.Config) { c.Listen[0].HTTP3 = true }, "listen[0].http3: "},
		"half of tls":  {func(c *httpserver.Config) { c.TLS.Key = "k" }, "tls: cert and key belong together"},
		"body":         {func(c *httpserver.Config) { c.Limits.Body = -1 }, "limits.body: "},
		"header":       {func(c *httpserver.Config) { c.Limits.Header = 10 }, "limits.header: "},
		"read header":  {func(c *httpserver.Config) { c.Limits.ReadHeaderTimeout = 0 }, "limits.read_header_timeout: "},
		"body timeout": {func(c *httpserver.Config) { c.Limits.BodyTimeout = -1 }, "limits.body_timeout: "},
		"write":        {func(c *httpserver.Config) { c.Limits.WriteTimeout = -1 }, "limits.write_timeout: "},
		"idle":         {func(c *httpserver.Config) { c.Limits.IdleTimeout = 0 }, "limits.idle_timeout: "},
		"streams":      {func(c *httpserver.Config) { c.Limits.Streams = 0 }, "limits.streams: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := httpserver.DefaultConfig()
			c.change(&cfg)
			err := cfg.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestHandlersPanicEndsItsRequestOnly(t *testing.T) {
	t.Parallel()
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("of the test")
		}
	})
	w.run(t, func(t *testing.T, m mode) {
		if res, err := m.client.Get(m.url + "/panic"); err == nil {
			res.Body.Close()
			t.Errorf("got %s from a handler that panicked", res.Status)
		}
		get(t, m.client, m.url)
	})
}

func TestFileIsSentWhole(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	path := testenv.Dir(t) + "/file"
	if err := os.WriteFile(path, []byte(strings.Repeat("0123456789abcdef", size/16)), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	w.run(t, func(t *testing.T, m mode) {
		if _, body := get(t, m.client, m.url); len(body) != size || body[size-16:] != "0123456789abcdef" {
			t.Errorf("got %d bytes, want %d", len(body), size)
		}
	})
}

func TestHijackedConnectionBelongsToItsOwner(t *testing.T) {
	t.Parallel()
	owned := make(chan net.Conn, 1)
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		early := make([]byte, 12)
		if _, err := io.ReadFull(rw, early); err != nil {
			t.Error(err)
		}
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n")
		rw.Write(early)
		rw.Flush()
		owned <- conn
	})
	c := w.dial(t)
	// Bytes that no HTTP/1 parser would let pass, sent ahead with the request.
	early := "\n\x81\x00\x00\nGET \n: \n"[:12]
	c.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n" + early)
	answer := "HTTP/1.1 101 Switching Protocols\r\n\r\n" + early
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != answer {
		t.Fatalf("got %q, %v", got, err)
	}
	conn := <-owned
	defer conn.Close()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	c.send("after the stop\n\x00")
	buf := make([]byte, 16)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "after the stop\n\x00" {
		t.Errorf("the owner reads %q, %v", buf, err)
	}
	if _, err := conn.Write([]byte("still here")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c.r, buf[:10]); err != nil || string(buf[:10]) != "still here" {
		t.Errorf("the client reads %q, %v", buf[:10], err)
	}
}

func TestRedirectToTLS(t *testing.T) {
	t.Parallel()
	w := start(t, httpserver.Redirect, func(cfg *httpserver.Config) { cfg.Listen[0].Redirect = true })
	_, port, _ := net.SplitHostPort(w.secure)
	for head, want := range map[string]string{
		"GET /a/b%2Fc?d=1 HTTP/1.1\r\nHost: shop.example:81\r\n":     "https://shop.example:" + port + "/a/b%2Fc?d=1",
		"POST //evil.example/ HTTP/1.1\r\nHost: [::1]\r\n":           "https://[::1]:" + port + "//evil.example/",
		"GET http://other.example/x HTTP/1.1\r\nHost: a.example\r\n": "https://other.example:" + port + "/x",
	} {
		c := w.dial(t)
		c.send(head + "Connection: close\r\n\r\n")
		if res, _ := c.response(); res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != want {
			t.Errorf("%q: %s to %q, want %s", head, res.Status, res.Header.Get("Location"), want)
		}
	}
	c := w.dial(t)
	c.send("GET / HTTP/1.0\r\n\r\n")
	if res, _ := c.response(); res.StatusCode != http.StatusBadRequest {
		t.Errorf("without a host: %s", res.Status)
	}

	cfg := httpserver.DefaultConfig()
	for _, listen := range [][]httpserver.Listen{{{Address: ":1", Redirect: true}}, {{Address: ":1", TLS: true, Redirect: true}}} {
		cfg.Listen = listen
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "listen[0].redirect: ") {
			t.Errorf("%+v: %v", listen, err)
		}
	}
}
