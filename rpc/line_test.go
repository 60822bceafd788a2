package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// quickly is a service whose calls never wait, but for the method Slow.
type quickly struct{ rpc.Methods }

func (quickly) Quick(method string, _ any) bool { return method != "Slow" }

// keen starts a server whose lines are eager after a few calls.
func keen(t *testing.T, pause time.Duration) *server {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Log("lines are never eager here; the calls have to work all the same")
	}
	s := prepare(t)
	s.MakeKeen(pause)
	echo := rpc.Func(func(_ context.Context, n note) (*note, error) { return &n, nil })
	s.Register("test", quickly{rpc.Methods{
		"Echo": echo, "Slow": echo,
		"Large": rpc.Func(func(context.Context, int) (string, error) { return strings.Repeat("x", 8<<20), nil }),
	}})
	s.start(t)
	return s
}

// rouse calls until a line more is eager.
func rouse(t *testing.T, s *server, nc net.Conn) {
	t.Helper()
	before := s.Eager()
	for range 10 {
		echo(t, nc, "rapid")
	}
	if s.Eager() != before+1 && runtime.GOOS == "linux" {
		t.Fatalf("%d lines are eager, want %d", s.Eager(), before+1)
	}
}

// TestEagerLine is patient again when its client pauses, and when a call runs that waits; no call is lost on the way.
func TestEagerLine(t *testing.T) {
	s := keen(t, time.Millisecond)
	nc := dial(t, s)
	for range testenv.Count(5, 200) {
		for range 10 {
			echo(t, nc, "rapid")
		}
		send(t, nc, callFrame(1, "test.Slow", frame.FlagJSON, `{}`), callFrame(2, "test.Slow", frame.FlagJSON, `{}`))
		frames := frame.NewReader(nc, 1<<20)
		for range 2 {
			if _, _, err := frames.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.Eager(); n != 0 {
			t.Fatalf("%d lines are eager during calls that wait", n)
		}
		for range 10 {
			echo(t, nc, "rapid")
		}
		until(t, func() bool { return s.Eager() == 0 }) // the pause
	}
}

// TestEagerSeats are few, come back, and who has none is served as well.
func TestEagerSeats(t *testing.T) {
	s := keen(t, time.Minute)
	first, second, third := dial(t, s), dial(t, s), dial(t, s)
	rouse(t, s, first)
	rouse(t, s, second)
	for range 20 {
		echo(t, third, "patient")
	}
	if runtime.GOOS == "linux" && s.Eager() != 2 {
		t.Errorf("%d lines are eager, want 2", s.Eager())
	}
	first.Close()
	until(t, func() bool { return s.Eager() <= 1 })
	rouse(t, s, third)
}

// TestStopOfEagerLine does not wait for the pause.
func TestStopOfEagerLine(t *testing.T) {
	s := keen(t, time.Hour)
	nc := dial(t, s)
	rouse(t, s, nc)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection gave %v, want EOF", err)
	}
	if n := s.Eager(); n != 0 {
		t.Errorf("%d lines are eager after the stop", n)
	}
}

// TestEagerLineWithLargeAnswers writes what the socket takes, and the rest when there is room.
func TestEagerLineWithLargeAnswers(t *testing.T) {
	s := keen(t, time.Minute)
	nc := dial(t, s)
	rouse(t, s, nc)
	for range 3 {
		send(t, nc, callFrame(1, "test.Large", frame.FlagJSON, `1`))
		until(t, func() bool { return s.Eager() == 0 }) // it waits for the client
		_, payload, err := frame.NewReader(nc, 16<<20).Next()
		if want := len("test.Large") + 8<<20 + 2; err != nil || len(payload) != want {
			t.Fatalf("the answer has %d bytes, %v, want %d", len(payload), err, want)
		}
		rouse(t, s, nc)
	}
}

// TestEagerLineOfClientThatDoesNotRead ends like another one.
func TestEagerLineOfClientThatDoesNotRead(t *testing.T) {
	s := prepare(t)
	s.MakeKeen(time.Minute)
	s.SetPatience(50 * time.Millisecond)
	s.Register("test", quickly{rpc.Methods{
		"Echo":  rpc.Func(func(_ context.Context, n note) (*note, error) { return &n, nil }),
		"Large": rpc.Func(func(context.Context, int) (string, error) { return strings.Repeat("x", 8<<20), nil }),
	}})
	s.start(t)
	nc := dial(t, s)
	rouse(t, s, nc)
	send(t, nc, callFrame(1, "test.Large", frame.FlagJSON, `1`))
	until(t, func() bool { return s.Stats().Connections == 0 })
	if n := s.Eager(); n != 0 {
		t.Errorf("%d lines are eager without a connection", n)
	}
}

// TestClientThatLeavesBehindFullSlots is noticed though nobody reads: its calls wait for something that may never come.
func TestClientThatLeavesBehindFullSlots(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("only Linux says who has hung up before it is read from")
		return
	}
	var mu sync.Mutex
	running, ended := 0, 0
	s := start(t, func(cfg *rpc.Config, m rpc.Methods) {
		cfg.Concurrency = 4
		m["Wait"] = rpc.Func(func(ctx context.Context, _ int) (bool, error) {
			ctx, cancel := rpc.UntilGone(ctx)
			defer cancel()
			mu.Lock()
			running++
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			ended++
			mu.Unlock()
			return false, context.Cause(ctx)
		})
	})
	for _, network := range []string{"closed", "half closed"} {
		running, ended = 0, 0
		nc := dial(t, s)
		for i := range 10 {
			send(t, nc, callFrame(uint32(i), "test.Wait", frame.FlagJSON, `1`))
		}
		until(t, func() bool { mu.Lock(); defer mu.Unlock(); return running == 4 })
		if network == "closed" {
			nc.Close()
		} else if err := nc.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { mu.Lock(); defer mu.Unlock(); return ended == 10 })
		nc.Close()
		until(t, func() bool { return s.Stats().Connections == 0 })
	}
}

// TestFullSlots are taken again when they are free, and the line waits without a deadline then.
func TestFullSlots(t *testing.T) {
	var running atomic.Int32
	open := make(chan struct{})
	s := start(t, func(cfg *rpc.Config, m rpc.Methods) {
		cfg.Concurrency = 4
		m["Gate"] = rpc.Func(func(context.Context, int) (bool, error) {
			running.Add(1)
			<-open
			return true, nil
		})
	})
	nc := dial(t, s)
	for i := range 20 {
		send(t, nc, callFrame(uint32(i), "test.Gate", frame.FlagJSON, `1`))
	}
	until(t, func() bool { return running.Load() == 4 })
	close(open)
	frames := frame.NewReader(nc, 1<<20)
	for range 20 {
		if _, payload, err := frames.Next(); err != nil || string(payload) != "test.Gatetrue" {
			t.Fatalf("answer %q, %v", payload, err)
		}
	}
	for range 3 {
		echo(t, nc, "still here")
	}
}
