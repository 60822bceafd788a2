package httpserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// firstInherited is the first descriptor that systemd passes (sd_listen_fds).
const firstInherited = 3

// inheritedSocket is a socket that systemd has opened for this process.
type inheritedSocket struct {
	name string // FileDescriptorName= of the socket unit
	fd   int
}

// inheritedSockets lists them.
func inheritedSockets(env func(string) string) ([]inheritedSocket, error) {
	if env("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, errors.New("systemd has passed no sockets to this process (LISTEN_PID): start it by a socket unit, or write an address")
	}
	n, err := strconv.Atoi(env("LISTEN_FDS"))
	if err != nil || n < 1 || n > 1024 {
		return nil, fmt.Errorf("LISTEN_FDS: %q is no count of sockets", env("LISTEN_FDS"))
	}
	names := strings.Split(env("LISTEN_FDNAMES"), ":")
	sockets := make([]inheritedSocket, n)
	for i := range sockets {
		sockets[i].fd = firstInherited + i
		if i < len(names) {
			sockets[i].name = names[i]
		}
	}
	return sockets, nil
}

// inherited finds sockets by the name of their unit, or one by its number, and tries open on each until one fits.
func inherited[T any](name string, open func(*os.File) (T, error)) (fit T, err error) {
	sockets, err := inheritedSockets(os.Getenv)
	if err != nil {
		return fit, err
	}
	err = fmt.Errorf("systemd has passed no socket called %q", name)
	for i, s := range sockets {
		if s.name != name && strconv.Itoa(i) != name {
			continue
		}
		copied, dupErr := dupInherited(s.fd)
		if dupErr != nil {
			return fit, fmt.Errorf("socket %d of systemd: %w", i, dupErr)
		}
		file := os.NewFile(uintptr(copied), name)
		fit, err = open(file)
		file.Close() // open has made a copy of its own
		if err == nil {
			return fit, nil
		}
	}
	return fit, err
}

// inheritedListener returns a stream socket.
func inheritedListener(name string) (net.Listener, error) { return inherited(name, net.FileListener) }

// inheritedUDP returns the UDP socket of the same name, for HTTP/3.
func inheritedUDP(name string) (*net.UDPConn, error) {
	conn, err := inherited(name, net.FilePacketConn)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the socket %q of systemd is not UDP", name), conn.Close())
	}
	return udp, nil
}
