package ws

import (
	"net"
	"syscall"
	"testing"
	"time"
)

func TestProbesOfTCP(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ping time.Duration
		want int
	}{"pings ask": {30 * time.Second, 0}, "pings are rare": {time.Hour, 1}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		limits := DefaultLimits()
		limits.PingInterval = c.ping
		(&Conn{endpoint: &Endpoint{limits: limits}}).stopProbes(conn)
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		got := -1
		if err := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) }); err != nil || got != c.want {
			t.Errorf("%s: SO_KEEPALIVE is %d, %v, want %d", name, got, err, c.want)
		}
	}
}
