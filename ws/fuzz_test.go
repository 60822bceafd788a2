package ws

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"unicode/utf8"
)

// pieces is a connection whose client has sent everything already; what is written to it is lost.
type pieces struct {
	net.Conn
	in io.Reader
}

func (p *pieces) Read(b []byte) (int, error) { return p.in.Read(b) }

type fuzzProtocol struct{ t *testing.T }

func (fuzzProtocol) Accept(*http.Request, *Conn) error { return nil }
func (fuzzProtocol) OnOpen(*Conn)                      {}
func (p fuzzProtocol) OnMessage(c *Conn, kind Kind, message []byte) {
	if kind == Text && !utf8.Valid(message) {
		p.t.Errorf("a text that is not UTF-8: %q", message)
	}
	if kind != Text && kind != Binary || len(message) > int(c.endpoint.limits.Message) {
		p.t.Errorf("kind %d, %d bytes", kind, len(message))
	}
	c.Send(Prepare(kind, message))
}
func (p fuzzProtocol) OnClose(_ *Conn, code CloseCode, _ string) {
	if !closable(code) && code != CloseAbnormal && code != CloseNoStatus {
		p.t.Errorf("closed with %d", code)
	}
}

// FuzzFrames reads what a client might send, also in pieces of one byte, as compressed or not.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 1, 2, 3, 4, 'h' ^ 1, 'e' ^ 2, 'l' ^ 3, 'l' ^ 4, 'o' ^ 1}, false)
	f.Add([]byte{0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, true)
	f.Add([]byte{0x01, 0xfe, 0, 126, 0, 0, 0, 0, 0x89, 0x80, 0, 0, 0, 0}, false)
	f.Add([]byte{0x88, 0x82, 0, 0, 0, 0, 3, 0xe8}, true)
	f.Fuzz(func(t *testing.T, sent []byte, slowly bool) {
		hub := NewHub(Options{Logger: slog.New(slog.DiscardHandler)})
		limits := DefaultLimits()
		limits.Message = 4 << 10
		e, err := NewEndpoint(EndpointConfig{Space: hub.Space("fuzz"), Protocol: fuzzProtocol{t}, Limits: limits, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		var in io.Reader = bytes.NewReader(sent)
		if slowly {
			in = oneByte{in}
		}
		client, server := net.Pipe()
		go io.Copy(io.Discard, client) // ends with the connection
		defer client.Close()
		c := &Conn{id: 1, endpoint: e, conn: &pieces{server, in}, writing: true, deflate: deflateMode{on: true, window: fullWindow}}
		hub.enter()
		c.serve(nil, false)
		<-c.flush()
	})
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(1, len(p))]) }

// FuzzHandshake asks with headers as a client might send them. Whatever is accepted must be answered as RFC 6455 wants it.
func FuzzHandshake(f *testing.F) {
	f.Add("websocket", "Upgrade", "13", "dGhlIHNhbXBsZSBub25jZQ==", "a, b", "permessage-deflate; client_max_window_bits", "https://example.com")
	f.Add("WebSocket, h2c", "keep-alive, upgrade", "13", "", "", "permessage-deflate; server_max_window_bits=10; x=\"1\"", "null")
	f.Fuzz(func(t *testing.T, upgrade, connection, version, key, protocols, extensions, origin string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{"Upgrade": {upgrade}, "Connection": {connection}, "Sec-Websocket-Version": {version}, "Sec-Websocket-Key": {key}, "Sec-Websocket-Protocol": {protocols}, "Origin": {origin}}
		if got, refused := checkHandshake(r); refused == nil && (version != "13" || !validKey(got)) {
			t.Errorf("accepted version %q, key %q", version, key)
		}
		if mode, answer := negotiate([]string{extensions}); mode.on != (answer != "") || mode.on && (mode.window < 8 || mode.window > 15) {
			t.Errorf("%q: %+v, %q", extensions, mode, answer)
		}
		p, err := parseOrigin(origin)
		if err == nil && p.any != (origin == "*") {
			t.Errorf("%q became %+v", origin, p)
		}
		(&Endpoint{}).originAllowed(r)
	})
}
