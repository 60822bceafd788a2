package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// link is a WebSocket as bytes, whatever carries it: tests write frames as they like.
type link struct {
	t testing.TB
	io.Reader
	io.Writer
	res   *http.Response
	close func()
	reset func() // ends the connection with an RST; of HTTP/1.1 without TLS
}

// carriers are the ways in which a WebSocket reaches the server.
var carriers = []struct {
	name string
	open func(*world, http.Header) *link
}{
	{"h1", (*world).openH1},
	{"h1tls", (*world).openH1TLS},
	{"h2", (*world).openH2},
	{"h3", (*world).openH3},
}

func (w *world) openH1(h http.Header) *link {
	conn, err := net.Dial("tcp", w.plain)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.upgrade(conn, h)
}

func (w *world) openH1TLS(h http.Header) *link {
	cfg := w.tls()
	cfg.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", w.secure, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.upgrade(conn, h)
}

// upgrade asks for a WebSocket by HTTP/1.1. A header with an empty value is left out.
func (w *world) upgrade(conn net.Conn, h http.Header) *link {
	conn.SetDeadline(time.Now().Add(patience))
	w.t.Cleanup(func() { conn.Close() })
	header := http.Header{
		"Host": {"localhost"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for name, values := range h {
		header[name] = values
	}
	var head bytes.Buffer
	head.WriteString("GET / HTTP/1.1\r\n")
	header.Write(&head)
	head.WriteString("\r\n")
	if header.Get("Content-Length") == "1" {
		head.WriteByte('x')
	}
	conn.Write(head.Bytes())
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &link{t: w.t, Reader: in, Writer: conn, res: res, close: func() { conn.Close() }, reset: func() {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	}}
}

func (w *world) openH2(h http.Header) *link {
	return w.tunnel(&http2.Transport{TLSClientConfig: w.tls()}, h, func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} })
}

func (w *world) openH3(h http.Header) *link {
	return w.tunnel(&http3.Transport{TLSClientConfig: w.tls()}, h, func(r *http.Request) { r.Proto = "websocket" })
}

// tunnel asks for a WebSocket by extended CONNECT.
func (w *world) tunnel(transport http.RoundTripper, h http.Header, mark func(*http.Request)) *link {
	ctx, cancel := context.WithCancel(context.Background())
	body, in := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+w.secure+"/", body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header = http.Header{"Sec-Websocket-Version": {"13"}}
	for name, values := range h {
		r.Header[name] = values
	}
	mark(r)
	res, err := transport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, cancel)
	end := func() {
		timer.Stop()
		in.Close()
		cancel()
		res.Body.Close()
	}
	w.t.Cleanup(func() {
		end()
		switch transport := transport.(type) {
		case *http2.Transport:
			transport.CloseIdleConnections()
		case *http3.Transport:
			transport.Close()
		}
	})
	return &link{t: w.t, Reader: res.Body, Writer: in, res: res, close: end}
}

// established reports whether the server said yes.
func (l *link) established() bool {
	return l.res.StatusCode == http.StatusSwitchingProtocols && l.res.ProtoMajor == 1 || l.res.StatusCode == http.StatusOK && l.res.ProtoMajor > 1
}

// frame is a masked frame of a client. first is its first byte.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// send writes frames in one go.
func (l *link) send(frames ...[]byte) {
	l.t.Helper()
	l.Write(bytes.Join(frames, nil)) // the server may have ended the connection: that is seen when reading
}

// serverFrame is a frame that came.
type serverFrame struct {
	first   byte
	payload []byte
}

func (f serverFrame) String() string {
	if len(f.payload) > 40 {
		return fmt.Sprintf("%#x %q… (%d bytes)", f.first, f.payload[:40], len(f.payload))
	}
	return fmt.Sprintf("%#x %q", f.first, f.payload)
}

// next reads a frame; an error is the end of the connection.
func (l *link) next() (serverFrame, error) {
	var head [2]byte
	if _, err := io.ReadFull(l, head[:]); err != nil {
		return serverFrame{}, err
	}
	if head[1]&0x80 != 0 {
		return serverFrame{}, errors.New("the server masks its frames")
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var b [2]byte
		io.ReadFull(l, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		io.ReadFull(l, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	if n > 64<<20 {
		return serverFrame{}, fmt.Errorf("a frame of %d bytes", n)
	}
	f := serverFrame{head[0], make([]byte, n)}
	_, err := io.ReadFull(l, f.payload)
	return f, err
}

// ended reads until the server has ended the connection, which it must do in time.
func (l *link) ended() {
	l.t.Helper()
	for {
		_, err := l.next()
		if err == nil {
			continue
		}
		if os.IsTimeout(err) || errors.Is(err, context.Canceled) {
			l.t.Errorf("the server keeps the connection: %v", err)
		}
		return
	}
}
