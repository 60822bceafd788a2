package httpserver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

const (
	// proxyLine is the longest header of version 1, proxyHeader of version 2, whose length field allows 64 KiB.
	proxyLine, proxyHeader = 107, 4096

	// proxyBegin is read first; all headers are longer.
	proxyBegin = 12
)

// proxySignature begins headers of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

var (
	errNoProxyHeader = errors.New("the connection does not begin with a PROXY header")
	errNotAProxy     = errors.New("the peer is not one of proxy_protocol")
)

// proxies are the load balancers of a listener.
type proxies []netip.Prefix

// parseProxies reads addresses and networks.
func parseProxies(list []string) (p proxies, err error) {
	for i, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("proxy_protocol[%d]: %q is no address and no network such as 10.0.0.0/8", i, text)
		}
		p = append(p, prefix.Masked())
	}
	return p, nil
}

func (p proxies) has(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// learn reads the PROXY header of a connection, which says who the client is.
func (p proxies) learn(conn *stallConn) error {
	if !p.has(conn.RemoteAddr()) {
		return errNotAProxy
	}
	client, err := readProxyHeader(conn)
	if err == nil && client != nil {
		conn.peer = client
	}
	return err
}

// readProxyHeader reads the header and no byte more. Without a client, the load balancer itself speaks, to see whether we are well.
func readProxyHeader(r io.Reader) (client net.Addr, err error) {
	head := make([]byte, proxyBegin, 16+216)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, errors.Join(errNoProxyHeader, err)
	}
	switch {
	case string(head) == proxySignature:
		head, err = readProxyBinary(r, head)
	case string(head[:6]) == "PROXY ":
		head, err = readProxyLine(r, head)
	default:
		return nil, errNoProxyHeader
	}
	if err != nil {
		return nil, err
	}
	header, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(head), len(head)))
	if err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	if tcp, ok := header.SourceAddr.(*net.TCPAddr); ok && header.Command.IsProxy() {
		return tcp, nil
	}
	return nil, nil
}

// readProxyBinary reads the rest of a header of version 2.
func readProxyBinary(r io.Reader, head []byte) ([]byte, error) {
	head = head[:16]
	if _, err := io.ReadFull(r, head[proxyBegin:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(head[14:]))
	if 16+size > proxyHeader {
		return nil, fmt.Errorf("PROXY header: %d bytes are more than %d", 16+size, proxyHeader)
	}
	head = append(head, make([]byte, size)...)
	_, err := io.ReadFull(r, head[16:])
	return head, err
}

// readProxyLine reads the rest of a header of version 1, byte by byte: what follows the line is the client's.
func readProxyLine(r io.Reader, head []byte) ([]byte, error) {
	var b [1]byte
	for len(head) < proxyLine {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return nil, err
		}
		if head = append(head, b[0]); b[0] == '\n' {
			return head, nil
		}
	}
	return nil, fmt.Errorf("PROXY header: the line has more than %d bytes", proxyLine)
}
