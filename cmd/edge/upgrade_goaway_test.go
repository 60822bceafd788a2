//go:build unix

package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestGoAwayComesFirst: a client whose WebSocket or event stream is sent away comes back at once, and by the connection that it has. It has
// to know by then that this one leads nowhere: in an upgrade and in a stop.
func TestGoAwayComesFirst(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t, `
http: {routes: [{respond: {body: hello}}]}
ws:
  pusher: {apps: {main: {id: "1", key: app-key, secret: app-secret}}}
  mercure: {anonymous: true, publisher: {secret: "!ChangeThisMercureHubJWTSecretKey!"}}
`)
	for _, signal := range []syscall.Signal{syscall.SIGUSR2, syscall.SIGTERM} {
		socket, events, idle := u.dialH2(t), u.dialH2(t), u.dialH2(t)
		events.lasts = true
		if status := socket.webSocket(); status != "200" {
			t.Fatalf("WebSocket over HTTP/2: %s", status)
		}
		if status := events.get("/.well-known/mercure?topic=a"); status != "200" {
			t.Fatalf("event stream over HTTP/2: %s", status)
		}
		if status := idle.get("/"); status != "200" {
			t.Fatalf("GET: %s", status)
		}
		pid := u.pid(t)
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*h2Conn{"WebSocket": socket, "event stream": events, "no stream": idle} {
			if first := c.farewell(); first != "GOAWAY" {
				t.Errorf("%s: the connection with a %s hears first: %s", signal, name, first)
			}
		}
		if signal != syscall.SIGUSR2 {
			continue
		}
		if again := u.dialH2(t); again.webSocket() != "200" {
			t.Errorf("who comes back by a new connection: %s", again.status)
		}
		if u.pid(t) == pid {
			t.Error("nothing was upgraded")
		}
		h3 := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: u.roots}}
		if err := getting(&http.Client{Transport: h3}, "https://"+u.secure, "hello")(); err != nil {
			t.Errorf("HTTP/3: %v", err)
		}
		h3.Close()
	}
}

// h2Conn shows the frames of HTTP/2, which clients keep to themselves.
type h2Conn struct {
	*http2.Framer
	t      *testing.T
	lasts  bool   // its stream ends with the server only
	status string // of the last answer
}

func (u *upgradable) dialH2(t *testing.T) *h2Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", u.secure, &tls.Config{RootCAs: u.roots, ServerName: "localhost", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, http2.ClientPreface)
	c := &h2Conn{Framer: http2.NewFramer(conn, conn), t: t}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.WriteSettings()
	c.WriteSettingsAck()
	return c
}

// get asks on the first stream and returns the status.
func (c *h2Conn) get(path string) string {
	return c.ask(true, ":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", path)
}

func (c *h2Conn) webSocket() string {
	return c.ask(false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "localhost", ":path", "/app/app-key?protocol=7", "sec-websocket-version", "13")
}

func (c *h2Conn) ask(end bool, fields ...string) string {
	c.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true})
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		if head, ok := f.(*http2.MetaHeadersFrame); ok {
			c.status = head.PseudoValue("status")
			return c.status
		}
	}
}

// farewell waits until the server says that anything ends, and returns what.
func (c *h2Conn) farewell() string {
	c.t.Helper()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			if f.LastStreamID < 1 || f.ErrCode != http2.ErrCodeNo {
				return f.String()
			}
			return "GOAWAY"
		case *http2.RSTStreamFrame:
			return f.String()
		case *http2.DataFrame:
			if strings.HasPrefix(string(f.Data()), "\x88") {
				return "a close frame"
			}
			if c.lasts && f.StreamEnded() {
				return "the end of the stream"
			}
		}
	}
}
