//go:build unix

package upgrade

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// channels are the two ends of a channel.
func channels(t *testing.T) (a, b *channel) {
	t.Helper()
	fa, fb, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = newChannel(fa); err != nil {
		t.Fatal(err)
	}
	if b, err = newChannel(fb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestSocketsGoOver: a client that comes while nobody accepts is answered by the newer process, and nothing is refused on the way.
func TestSocketsGoOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testenv.Dir(t), "s")
	older := NewSockets()
	ln, err := older.Listen("one", func() (net.Listener, error) { return net.Listen("unix", path) })
	if err != nil {
		t.Fatal(err)
	}
	packets, err := older.ListenUDP("one", func() (*net.UDPConn, error) {
		return net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := channels(t)
	if err := older.send(a); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(KindBegin, map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	p := &Predecessor{channel: b, sockets: &Sockets{gate: make(chan struct{}), inherited: map[string][]*os.File{}}}
	if err := p.takeSockets(t.Context()); err != nil {
		t.Fatal(err)
	}
	opens := func() (net.Listener, error) { return nil, errors.New("it was opened anew") }
	next, err := p.Sockets().Listen("one", opens)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sockets().Listen("other", opens); err == nil {
		t.Error("a socket that was not handed over is there")
	}
	nextPackets, err := p.Sockets().ListenUDP("one", func() (*net.UDPConn, error) { return nil, errors.New("it was opened anew") })
	if err != nil || nextPackets.LocalAddr().String() != packets.LocalAddr().String() {
		t.Fatalf("UDP: %v", err)
	}

	accepted := make(chan string, 2)
	accept := func(name string, l net.Listener) {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
		} else if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
		accepted <- name
	}
	go accept("newer", next) // ends when a client comes
	go accept("older", ln)   // ends with the first client
	client(t, path)
	if who := <-accepted; who != "older" {
		t.Fatalf("the %s process accepts before it may", who)
	}
	older.Release()
	go accept("older", ln) // ends with Close
	p.Sockets().Open()
	client(t, path)
	if who := <-accepted; who != "newer" {
		t.Errorf("the %s process accepts", who)
	}
	if err := ln.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-accepted
	packets.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the older process has removed the file: %v", err)
	}
	next.Close()
	nextPackets.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the newer process leaves the file: %v", err)
	}
}

func client(t *testing.T, path string) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
}

func TestChannelSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	a, b := channels(t)
	p := &Predecessor{channel: b}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("its time is over"))
	defer cancel()
	if _, err := a.Receive(ctx, KindReady, nil); err == nil || err.Error() != "its time is over" {
		t.Errorf("a channel that nothing comes by: %v", err)
	}
	p.Failed(errors.New("no workers"))
	if _, err := a.Receive(t.Context(), KindReady, nil); err == nil || err.Error() != "no workers" {
		t.Errorf("a process that fails: %v", err)
	}
	if _, err := a.Receive(t.Context(), KindReady, nil); !errors.Is(err, io.EOF) {
		t.Errorf("a process that has gone: %v", err)
	}
}
