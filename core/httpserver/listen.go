package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const (
	unixPrefix    = "unix:"
	systemdPrefix = "systemd:"
)

// open opens the socket of the address: a new one, or one that systemd has opened for this process.
func (l Listen) open(ctx context.Context) (net.Listener, error) {
	if path, ok := strings.CutPrefix(l.Address, unixPrefix); ok {
		return openUnix(ctx, path)
	}
	if name, ok := strings.CutPrefix(l.Address, systemdPrefix); ok {
		return inheritedListener(name)
	}
	var config net.ListenConfig
	if l.ReusePort {
		config.Control = reusePort
	}
	return config.Listen(ctx, "tcp", l.Address)
}

// openUnix listens at path, in place of a socket that nobody listens on any more. Everybody may connect who may enter the folder.
func openUnix(ctx context.Context, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
	case info.Mode()&os.ModeSocket == 0:
		return nil, fmt.Errorf("%s is there already and no socket: remove it, or choose another path", path)
	default:
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s: another process listens there; stop it or choose another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// localPeer stands for the clients of unix sockets, which have no address: whatever reads the address of a client finds this machine.
var localPeer net.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

// tcpListener accepts the connections of one stream socket and counts them. Unix sockets are served alike.
type tcpListener struct {
	net.Listener
	timeout time.Duration // of writes

	counts
}

// Accept returns the next *stallConn.
func (l *tcpListener) Accept() (net.Conn, error) {
	conn, err := l.accept()
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func (l *tcpListener) accept() (*stallConn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.accepted.Add(1)
	l.open.Add(1)
	stall := newStallConn(conn.(socket), l.timeout, func() { l.open.Add(-1) })
	if _, ok := conn.(*net.UnixConn); ok {
		stall.peer = localPeer
	}
	return stall, nil
}

// port is the port of a TCP socket, else 0.
func (l *tcpListener) port() int {
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		return addr.Port
	}
	return 0
}
