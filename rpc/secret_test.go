package rpc_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/rpc"
)

const secret = "correct horse battery staple"

// withSecret is a server on all addresses of the machine. Its socket for workers is beside it.
func withSecret(cfg *rpc.Config, _ rpc.Methods) { cfg.Listen, cfg.Secret = "tcp://0.0.0.0:0", secret }

// TestSecret: who knows it may call over TCP, and who does not may not, whatever they try.
func TestSecret(t *testing.T) {
	t.Parallel()
	s := start(t, withSecret)
	client, err := rpc.Dial(t.Context(), strings.Replace(s.Public(), "[::]", "127.0.0.1", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var version string
	if err := client.Call(t.Context(), "rpc.Version", true, &version); err == nil || !strings.Contains(err.Error(), "rpc.Challenge") {
		t.Errorf("before the handshake: %q, %v", version, err)
	}
	if err := client.Authenticate(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := client.Call(t.Context(), "rpc.Version", true, &version); err != nil || version != "test" {
		t.Errorf("after it: %q, %v", version, err)
	}
	var big note
	if err := client.Call(t.Context(), "test.Echo", note{strings.Repeat("x", 100_000)}, &big); err != nil || len(big.Text) != 100_000 {
		t.Errorf("a large call after it: %d bytes, %v", len(big.Text), err)
	}
	if err := client.Authenticate(t.Context(), "whatever it says"); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// TestWorkersNeedNoSecret: the kernel says who they are.
func TestWorkersNeedNoSecret(t *testing.T) {
	t.Parallel()
	s := start(t, withSecret)
	if !strings.HasPrefix(s.Addr(), "unix://") || !strings.HasPrefix(s.Public(), "tcp://") {
		t.Fatalf("addresses %s and %s", s.Addr(), s.Public())
	}
	echo(t, dial(t, s), "hi")
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	for name, calls := range map[string][]string{
		"wrong":         {"rpc.Challenge true", `rpc.Authenticate "0000"`},
		"the secret":    {"rpc.Challenge true", `rpc.Authenticate "` + secret + `"`},
		"talks on":      {"kv.MGet {}", "kv.MGet {}", "kv.MGet {}", "kv.MGet {}", "rpc.Config true", "informer.List true", "x.y 1", "x.y 1"},
		"large":         {"test.Echo " + strings.Repeat("x", 5000)},
		"no challenge":  {`rpc.Authenticate ""`, `rpc.Authenticate ""`, `rpc.Authenticate "x"`, "a.b 1", "a.b 1", "a.b 1", "a.b 1", "a.b 1"},
		"not a call":    {"x " + strings.Repeat("\x00", 10)},
		"kept silent":   nil,
		"one challenge": {"rpc.Challenge true", `rpc.Authenticate ""`, "rpc.Version true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, withSecret)
			s.SetHurry(3 * time.Second)
			s.start(t)
			nc := dialPublic(t, s)
			frames := frame.NewReader(nc, 1<<20)
			for i, c := range calls {
				method, arg, _ := strings.Cut(c, " ")
				if _, err := nc.Write(callFrame(uint32(i), method, frame.FlagJSON, arg)); err != nil {
					break
				}
				h, payload, err := frames.Next()
				if err != nil {
					break
				}
				if method != "rpc.Challenge" && !h.Is(frame.FlagError) {
					t.Fatalf("%s was answered with %q", c, payload)
				}
			}
			if _, _, err := frames.Next(); err == nil {
				t.Error("the connection lives on")
			}
			until(t, func() bool { return s.Stats().Connections == 0 })
			if st := s.Stats(); st.Calls != 0 {
				t.Errorf("stats %+v, want no call", st)
			}
		})
	}
}

// TestStrangersLeaveRoom: who does not know the secret cannot take every connection.
func TestStrangersLeaveRoom(t *testing.T) {
	t.Parallel()
	s := start(t, withSecret, func(cfg *rpc.Config, _ rpc.Methods) { cfg.Connections = 8 })
	for range 12 {
		dialPublic(t, s)
	}
	until(t, func() bool { return s.Stats().Refused == 10 })
	echo(t, dial(t, s), "a worker")
	if st := s.Stats(); st.Connections != 3 {
		t.Errorf("stats %+v, want two strangers and a worker", st)
	}
}

// TestStopDuringHandshake does not wait for a client that says nothing.
func TestStopDuringHandshake(t *testing.T) {
	t.Parallel()
	s := start(t, withSecret)
	nc := dialPublic(t, s)
	until(t, func() bool { return s.Stats().Connections == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection: %v", err)
	}
}

// TestCallerIsKnown: the process of a unix socket, and the trace that sdk/php sends.
func TestCallerIsKnown(t *testing.T) {
	t.Parallel()
	type caller struct {
		PID    int
		Trace  rpc.Trace
		Traced bool
	}
	s := start(t, func(_ *rpc.Config, m rpc.Methods) {
		m["Who"] = rpc.Func(func(ctx context.Context, _ bool) (caller, error) {
			trace, traced := rpc.CallerTrace(ctx)
			return caller{rpc.CallerPID(ctx), trace, traced}, nil
		})
	})
	client, err := rpc.Dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var who caller
	if err := client.Call(t.Context(), "test.Who", true, &who); err != nil || who != (caller{PID: os.Getpid()}) {
		t.Errorf("%+v, %v; want pid %d and no trace", who, err, os.Getpid())
	}

	want := rpc.Trace{TraceID: [16]byte{1, 2, 3, 15: 0}, SpanID: [8]byte{9, 8}, Flags: 1}
	want.TraceID[15], want.SpanID[7] = 0xfe, 0xfd
	words := []uint32{7, 8}
	for b := append(want.TraceID[:], want.SpanID[:]...); len(b) > 0; b = b[4:] {
		words = append(words, binary.LittleEndian.Uint32(b))
	}
	nc := dial(t, s)
	send(t, nc, frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("test.Whotrue"), append(words, 1)...))
	frames := frame.NewReader(nc, 1<<20)
	for i, want := range []caller{{os.Getpid(), want, true}, {PID: os.Getpid()}} {
		if i > 0 {
			send(t, nc, callFrame(8, "test.Who", frame.FlagJSON, "true"))
		}
		h, payload, err := frames.Next()
		if err != nil || h.NumOpts != 2 {
			t.Fatalf("answer with %d options, %v", h.NumOpts, err)
		}
		var got caller
		if err := json.Unmarshal(payload[len("test.Who"):], &got); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// TestClientThatLeaves ends what waits for it, and nothing else.
func TestClientThatLeaves(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := start(t, func(_ *rpc.Config, m rpc.Methods) {
		m["Wait"] = rpc.Func(func(ctx context.Context, _ bool) (bool, error) {
			ctx, cancel := rpc.UntilGone(ctx)
			defer cancel()
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return true, nil
		})
	})
	nc := dial(t, s)
	send(t, nc, callFrame(1, "test.Wait", frame.FlagJSON, "true"), callFrame(2, "test.Echo", frame.FlagJSON, "{}"))
	if h, _, err := frame.NewReader(nc, 1<<20).Next(); err != nil || h.Option(0) != 2 {
		t.Fatalf("answer to %d, %v", h.Option(0), err)
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended with its client there: %v", err)
	default:
	}
	nc.Close()
	if err := <-ended; !errors.Is(err, rpc.ErrClientGone) {
		t.Errorf("it ended with %v", err)
	}
	if ctx, cancel := rpc.UntilGone(t.Context()); ctx != t.Context() {
		t.Error("a context of no call was changed")
		cancel()
	}
}

// dialPublic connects to the address that asks for the secret.
func dialPublic(t testing.TB, s *server) net.Conn {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.Public(), "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}
