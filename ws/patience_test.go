package ws_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// ending is what OnClose was told.
type ending struct {
	code   ws.CloseCode
	reason string
}

func endings() (*echo, chan ending) {
	ends := make(chan ending, 1)
	return &echo{close: func(_ *ws.Conn, code ws.CloseCode, reason string) { ends <- ending{code, reason} }}, ends
}

// TestReadTimeout: the limit holds for a message, not for its frames, and both sides are told.
func TestReadTimeout(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		for name, piece := range map[string]func(i int) []byte{
			"octets": func(i int) []byte { return frame(whole, bytes.Repeat([]byte("x"), 4000))[i : i+1] },
			"fragments": func(i int) []byte {
				if i == 0 {
					return frame(text, []byte("x"))
				}
				return frame(cont, []byte("x"))
			},
			"pings behind a fragment": func(i int) []byte {
				if i == 0 {
					return frame(text, []byte("x"))
				}
				return frame(fin|ping, nil)
			},
			"silence behind a fragment": func(i int) []byte {
				if i == 0 {
					return frame(text, nil)
				}
				return nil
			},
		} {
			t.Run(carrier.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				p, ends := endings()
				w := start(t, p, func(c *ws.EndpointConfig) {
					c.Limits.ReadTimeout, c.Limits.CloseTimeout = 500*time.Millisecond, 500*time.Millisecond
				})
				l := carrier.open(w, nil)
				done := make(chan ending, 1)
				go func() { // ends with the connection
					for {
						f, err := l.next()
						if err != nil {
							close(done)
							return
						}
						if f.first == fin|shut {
							done <- ending{ws.CloseCode(binary.BigEndian.Uint16(f.payload)), string(f.payload[2:])}
							return
						}
					}
				}()
				want := ending{ws.ClosePolicy, "a message took too long"}
				for i := range 100 {
					select {
					case got := <-done:
						if got != want {
							t.Errorf("the client was told %v", got)
						}
						l.close()
						if got := <-ends; got != want {
							t.Errorf("the protocol was told %v", got)
						}
						return
					case <-time.After(50 * time.Millisecond): // what the attack is
						l.Write(piece(i))
					}
				}
				t.Error("it could go on")
			})
		}
	}
}

// TestPatientWithWhole: the limit is gone with the message.
func TestPatientWithWhole(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, &echo{}, func(c *ws.EndpointConfig) { c.Limits.ReadTimeout = 300 * time.Millisecond })
			l := carrier.open(w, nil)
			for range 3 {
				l.Write(frame(text, []byte("a")))
				time.Sleep(20 * time.Millisecond)
				l.Write(frame(fin|cont, []byte("b")))
				if f, err := l.next(); err != nil || string(f.payload) != "ab" {
					t.Fatalf("got %s, %v", f, err)
				}
				time.Sleep(400 * time.Millisecond) // longer than a message may take
			}
		})
	}
}

// TestDeafClient: who takes nothing is lost, and has not broken a rule.
func TestDeafClient(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers[2:] { // streams: they have a direction that can end by itself
		t.Run(carrier.name, func(t *testing.T) {
			t.Parallel()
			p, ends := endings()
			w := start(t, p)
			l := carrier.open(w, nil)
			l.res.Body.Close() // STOP_SENDING in HTTP/3
			l.Write(frame(whole, []byte("hello")))
			if got := <-ends; got.code != ws.CloseAbnormal {
				t.Errorf("the protocol was told %v", got)
			}
			if n := w.space.Stats().Malformed; n != 0 {
				t.Errorf("%d counted as malformed", n)
			}
		})
	}
}

// TestGoodbyeHearsOut: the server's half of a connection stays open until the client has answered an error.
func TestGoodbyeHearsOut(t *testing.T) {
	t.Parallel()
	tooBig := frame(whole, bytes.Repeat([]byte("x"), 200_000))
	for _, carrier := range carriers[:2] {
		for name, c := range map[string]struct {
			send []byte
			code int
		}{
			"too big":           {tooBig, 1009},
			"too big, and more": {append(bytes.Clone(tooBig), frame(fin|ping, []byte("x"))...), 1009},
			"unmasked":          {append([]byte{whole, 5}, "Hello"...), 1002},
			"not UTF-8":         {frame(whole, append([]byte{0xff}, bytes.Repeat([]byte("x"), 5000)...)), 1007},
			"a fragmented ping": {frame(ping, []byte("x")), 1002},
		} {
			t.Run(carrier.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := start(t, &echo{}, func(c *ws.EndpointConfig) { c.Limits.CloseTimeout = 2 * patience })
				l := carrier.open(w, nil)
				l.Write(c.send)
				f, err := l.next()
				if err != nil || f.first != fin|shut || int(binary.BigEndian.Uint16(f.payload)) != c.code {
					t.Fatalf("got %s, %v", f, err)
				}
				end := make(chan error, 1)
				go func() { // ends with the connection
					_, err := l.next()
					end <- err
				}()
				select {
				case err := <-end:
					t.Fatalf("the server has not waited for the answer: %v", err)
				case <-time.After(200 * time.Millisecond):
				}
				l.Write(closing(c.code, ""))
				if err := <-end; !errors.Is(err, io.EOF) {
					t.Errorf("the connection ended with %v", err)
				}
			})
		}
	}
}

// TestGoodbyeIsBounded: nobody is heard out for ever.
func TestGoodbyeIsBounded(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers[:2] {
		for name, goOn := range map[string]func(l *link) error{
			"floods":    func(l *link) error { _, err := l.Write(frame(bin, make([]byte, 64<<10))); return err },
			"one frame": func(l *link) error { _, err := l.Write(make([]byte, 64<<10)); return err },
			"octets":    func(l *link) error { time.Sleep(50 * time.Millisecond); _, err := l.Write([]byte{0}); return err },
		} {
			t.Run(carrier.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := start(t, &echo{}, func(c *ws.EndpointConfig) { c.Limits.CloseTimeout = time.Second })
				l := carrier.open(w, nil)
				l.Write([]byte{whole, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}) // 4 GiB
				gone := make(chan struct{})
				go func() { // ends with the connection
					defer close(gone)
					for goOn(l) == nil {
					}
				}()
				l.expectCloseAnyEnd(1009)
				testenv.Eventually(t, "it is gone", func() bool { return w.space.Len() == 0 })
				l.close()
				<-gone
			})
		}
	}
}

// expectCloseAnyEnd reads the server's close frame and the end, which may be a reset.
func (l *link) expectCloseAnyEnd(code int) {
	l.t.Helper()
	f, err := l.next()
	if err != nil || f.first != fin|shut || int(binary.BigEndian.Uint16(f.payload)) != code {
		l.t.Fatalf("got %s, %v", f, err)
	}
	var late net.Error
	if _, err := l.next(); err == nil || errors.As(err, &late) && late.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Errorf("the connection goes on: %v", err)
	}
}
