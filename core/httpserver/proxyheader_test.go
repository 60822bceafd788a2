package httpserver

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzProxyHeader reads what a load balancer, or somebody in its place, sends first. Whatever it is, no byte beyond the header is taken.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\nGET / HTTP/1.1\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\nrest"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x01\x12\x67\x01\xbbrest"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00rest"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x31\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		client, err := readProxyHeader(r)
		if err != nil {
			if client != nil {
				t.Error("a client beside an error")
			}
			return
		}
		read := data[:len(data)-r.Len()]
		switch {
		case strings.HasPrefix(string(read), "PROXY "):
			if bytes.IndexByte(read, '\n') != len(read)-1 {
				t.Errorf("read %q", read)
			}
		case strings.HasPrefix(string(read), proxySignature):
			if len(read) != 16+int(read[14])<<8+int(read[15]) {
				t.Errorf("read %d bytes of %q", len(read), read)
			}
		default:
			t.Errorf("took %q for a header", read)
		}
	})
}

func FuzzECH(f *testing.F) {
	f.Add([]byte("-----BEGIN ECHCONFIG-----\nAAA=\n-----END ECHCONFIG-----\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _, _ = parseECH(data)
		_, _ = splitECH(data)
	})
}
