package httpserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// TestExtendedConnectIsAnnounced: Go knows no proper switch for it, so a change there must be noticed (see http2xconnect).
func TestExtendedConnectIsAnnounced(t *testing.T) {
	t.Parallel()
	w := start(t, func(http.ResponseWriter, *http.Request) {})
	conn, err := tls.Dial("tcp", w.secure, &tls.Config{RootCAs: w.roots, ServerName: "localhost", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.WriteSettings()
	f, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", f)
	}
	if value, ok := settings.Value(http2.SettingEnableConnectProtocol); !ok || value != 1 {
		t.Errorf("SETTINGS_ENABLE_CONNECT_PROTOCOL is %d, %v", value, ok)
	}
}

// TestTunnel: a handler that hijacks gets both directions, one that does not cannot open the tunnel by accident.
func TestTunnel(t *testing.T) {
	t.Parallel()
	served := make(chan string, 10)
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		served <- r.Method + " " + r.Proto + " " + r.Header.Get("Upgrade")
		switch r.URL.Path {
		case "/says-nothing":
			return
		case "/says-200":
			io.WriteString(w, "a page")
			return
		case "/streams": // to a client that does not listen
			for err := error(nil); err == nil; {
				_, err = io.WriteString(w, "event\n")
			}
			served <- "ended"
			return
		case "/refuses":
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		tunnel := conn.(interface {
			net.Conn
			Begin(http.Header) error
			AfterHandler(func())
		})
		if err := tunnel.Begin(http.Header{"X-Answer": {"yes"}}); err != nil {
			t.Errorf("begin: %v", err)
		}
		tunnel.AfterHandler(func() {
			io.Copy(tunnel, tunnel)
			tunnel.Close()
			if _, err := tunnel.Write([]byte("late")); err == nil {
				t.Error("a write after the end went through")
			}
			tunnel.SetDeadline(time.Now())
		})
	})
	for _, carrier := range []struct {
		name      string
		transport http.RoundTripper
		mark      func(r *http.Request, protocol string)
	}{
		{"HTTP/2.0", &http2.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots, ServerName: "localhost"}}, func(r *http.Request, protocol string) { r.Header[":protocol"] = []string{protocol} }},
		{"HTTP/3.0", &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots, ServerName: "localhost"}}, func(r *http.Request, protocol string) { r.Proto = protocol }},
	} {
		ask := func(path, protocol string) (*http.Response, *io.PipeWriter, error) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			t.Cleanup(cancel)
			body, in := io.Pipe()
			t.Cleanup(func() { in.Close() })
			r, _ := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+w.secure+path, body)
			carrier.mark(r, protocol)
			res, err := carrier.transport.RoundTrip(r)
			return res, in, err
		}
		for path, want := range map[string]int{"/says-nothing": 501, "/says-200": 501, "/refuses": 403} {
			res, _, err := ask(path, "websocket")
			if err != nil {
				t.Errorf("%s %s: %v", carrier.name, path, err)
				continue
			}
			if res.Body.Close(); res.StatusCode != want {
				t.Errorf("%s %s: %s", carrier.name, path, res.Status)
			}
			if got := <-served; got != "GET "+carrier.name+" websocket" {
				t.Errorf("the handler saw %q", got)
			}
		}
		if res, _, err := ask("/streams", "websocket"); err != nil || res.StatusCode != 501 {
			t.Errorf("%s: an answer without end: %v, %v", carrier.name, res, err)
		}
		<-served
		select {
		case <-served: // it is not for the client to end what it has not asked for
		case <-time.After(patience):
			t.Errorf("%s: the answer that nobody reads goes on", carrier.name)
		}
		if res, _, err := ask("/", "connect-udp"); err != nil || res.StatusCode != 501 {
			t.Errorf("%s: another protocol: %v, %v", carrier.name, res, err)
		}
		res, in, err := ask("/", "websocket")
		if err != nil || res.StatusCode != 200 || res.Header.Get("X-Answer") != "yes" {
			t.Fatalf("%s: %v, %v", carrier.name, res, err)
		}
		<-served
		large := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		go func() { in.Write(large); in.Close() }() // ends with the echo
		if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, large) {
			t.Errorf("%s: %d bytes of %d came back, %v", carrier.name, len(got), len(large), err)
		}
		res.Body.Close()
		if c, ok := carrier.transport.(io.Closer); ok {
			c.Close()
		} else {
			carrier.transport.(*http2.Transport).CloseIdleConnections()
		}
	}
}
