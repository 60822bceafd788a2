package httpserver

import (
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a socket in memory, with the time of a test.
type pipe struct{ net.Conn }

func (pipe) SyscallConn() (syscall.RawConn, error) { return nil, os.ErrInvalid }
func (pipe) CloseWrite() error                     { return nil }

// TestStallBegins has a peer that takes a little of a write and nothing more: the timeout begins then, and not when the deadline of the write
// has passed.
func TestStallBegins(t *testing.T) {
	const timeout = 16 * time.Second
	for name, test := range map[string]struct {
		takes []time.Duration // when the peer takes a byte
		most  time.Duration   // that the write may last
	}{
		"nothing": {nil, timeout},
		"once":    {[]time.Duration{0}, timeout * 3 / 2},
		"late":    {[]time.Duration{10 * time.Second}, 10*time.Second + timeout*3/2},
		"slowly":  {[]time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 40 * time.Second}, 40*time.Second + timeout*3/2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				c := newStallConn(pipe{ours}, timeout, func() {})
				began := time.Now()
				go func() {
					for _, at := range test.takes {
						time.Sleep(at - time.Since(began))
						theirs.Read(make([]byte, 1))
					}
				}()
				n, err := c.Write(make([]byte, 100))
				took := time.Since(began)
				least := timeout
				if len(test.takes) > 0 {
					least += test.takes[len(test.takes)-1]
				}
				if n != len(test.takes) || !os.IsTimeout(err) || took < least || took > test.most {
					t.Errorf("%d bytes, %v after %s, want a timeout between %s and %s", n, err, took, least, test.most)
				}
				if _, err := c.Write([]byte("x")); !os.IsTimeout(err) || time.Since(began) != took {
					t.Errorf("what follows is not refused at once: %v", err)
				}
			})
		})
	}
}

// TestWritesAfterAWait has a peer that comes back: each write has the whole timeout again.
func TestWritesAfterAWait(t *testing.T) {
	const timeout = 16 * time.Second
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		c := newStallConn(pipe{ours}, timeout, func() {})
		const writes = 10
		go func() {
			for range writes {
				time.Sleep(timeout - 2*time.Second)
				theirs.Read(make([]byte, 100))
			}
		}()
		for range writes {
			if _, err := c.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
