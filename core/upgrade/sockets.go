package upgrade

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Sockets are those that the process listens on, by name. One that an older process has handed over is used instead of opening it anew.
type Sockets struct {
	gate chan struct{} // closed when this process may accept

	mu        sync.Mutex
	inherited map[string][]*os.File // not used yet; names may repeat
	streams   []*listener
	packets   []*Packets
}

// NewSockets returns Sockets of a process that has no older one.
func NewSockets() *Sockets {
	s := &Sockets{gate: make(chan struct{})}
	close(s.gate)
	return s
}

// Listen returns the stream socket of that name: the one that was handed over, or what open opens.
func (s *Sockets) Listen(name string, open func() (net.Listener, error)) (net.Listener, error) {
	inner, err := adopt(s, name, net.FileListener, open)
	if err != nil {
		return nil, err
	}
	l := &listener{Listener: inner, name: name, sockets: s, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = append(s.streams, l)
	return l, nil
}

// ListenUDP is Listen for packets.
func (s *Sockets) ListenUDP(name string, open func() (*net.UDPConn, error)) (*Packets, error) {
	conn, err := adopt(s, "udp "+name, fileUDP, open)
	if err != nil {
		return nil, err
	}
	p := &Packets{UDPConn: conn, name: "udp " + name, sockets: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets = append(s.packets, p)
	return p, nil
}

func fileUDP(f *os.File) (*net.UDPConn, error) {
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no UDP socket", f.Name()), conn.Close())
	}
	return udp, nil
}

func adopt[T any](s *Sockets, name string, use func(*os.File) (T, error), open func() (T, error)) (T, error) {
	s.mu.Lock()
	files := s.inherited[name]
	if len(files) > 0 {
		s.inherited[name] = files[1:]
	}
	s.mu.Unlock()
	if len(files) == 0 {
		return open()
	}
	defer files[0].Close() // use makes a copy
	socket, err := use(files[0])
	if err != nil {
		err = fmt.Errorf("take over the socket %q: %w", name, err)
	}
	return socket, err
}

// Waiting reports whether this process does not accept yet.
func (s *Sockets) Waiting() bool {
	select {
	case <-s.gate:
		return false
	default:
		return true
	}
}

// Opened is closed when this process may accept.
func (s *Sockets) Opened() <-chan struct{} { return s.gate }

// Open lets this process accept. Sockets that it was given and does not use are closed.
func (s *Sockets) Open() {
	if !s.Waiting() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.streams {
		l.own(true)
	}
	s.dropUnused(true)
	close(s.gate)
}

// dropUnused closes what nobody asked for; gone removes the files of unix sockets among it.
func (s *Sockets) dropUnused(gone bool) {
	for _, files := range s.inherited {
		for _, f := range files {
			if unused, err := net.FileListener(f); err == nil {
				own(unused, gone)
				unused.Close()
			}
			f.Close()
		}
	}
	s.inherited = nil
}

// Release makes this process accept nothing any more, while the sockets live on in another. What waits in Accept goes on waiting until it
// is closed: nothing has failed.
func (s *Sockets) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.streams {
		l.own(false)
		l.released.Store(true)
		l.Listener.Close()
	}
}

// forget takes a socket that was closed from the list.
func (s *Sockets) forget(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = slices.DeleteFunc(s.streams, func(other *listener) bool { return other == l })
}

func (s *Sockets) forgetPackets(p *Packets) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets = slices.DeleteFunc(s.packets, func(other *Packets) bool { return other == p })
}

// listener is a stream socket that accepts when its process may.
type listener struct {
	net.Listener
	name    string
	sockets *Sockets

	released atomic.Bool
	once     sync.Once
	done     chan struct{}
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.sockets.gate:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil && l.released.Load() {
		<-l.done
		return nil, net.ErrClosed
	}
	return conn, err
}

// Close ends Accept.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.done)
		l.sockets.forget(l)
		if err = l.Listener.Close(); l.released.Load() {
			err = nil // it is closed already
		}
	})
	return err
}

// own says whether the file of a unix socket goes when this process closes it.
func (l *listener) own(yes bool) { own(l.Listener, yes) }

func own(l net.Listener, yes bool) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(yes)
	}
}

// Packets is a UDP socket.
type Packets struct {
	*net.UDPConn
	name    string
	sockets *Sockets
}

// Close closes the socket.
func (p *Packets) Close() error {
	p.sockets.forgetPackets(p)
	return p.UDPConn.Close()
}
