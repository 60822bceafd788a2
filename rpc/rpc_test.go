package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	netrpc "net/rpc"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goridge "github.com/roadrunner-server/goridge/v3/pkg/rpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestGoldenCall is a call byte by byte.
func TestGoldenCall(t *testing.T) {
	t.Parallel()
	nc := dial(t, start(t))
	send(t, nc, unhex("1508 0f000000 1c69ca8a 0000 07000000 0b000000"), []byte("rpc.Versiontrue"))

	want := append(frame.AppendHeader(nil, frame.FlagJSON, 0, 17, 7, 11), `rpc.Version"test"`...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("answer %q (%v), want %q", got, err, want)
	}
}

// TestGoClient calls with goridge's own client, which speaks protobuf and gob.
func TestGoClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := netrpc.NewClientWithCodec(goridge.NewClientCodec(dial(t, s)))
	defer client.Close()

	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			want := strings.Repeat("x", i*100)
			var got wrapperspb.StringValue
			if err := client.Call("test.Echo", wrapperspb.String(want), &got); err != nil || got.Value != want {
				t.Errorf("echo of %d bytes: %d bytes, %v", len(want), len(got.Value), err)
			}
		})
	}
	wg.Wait()

	var got wrapperspb.StringValue
	err := client.Call("test.Fail", wrapperspb.String("broke"), &got)
	if err == nil || err.Error() != "broke" {
		t.Errorf("error came back as %v", err)
	}
	var version string
	if err := client.Call("rpc.Version", true, &version); err != nil || version != "test" {
		t.Errorf("gob call: %q, %v", version, err)
	}
	if err := client.Call("test.Echo", wrapperspb.String("still here"), &got); err != nil || got.Value != "still here" {
		t.Errorf("after errors: %v %v", &got, err)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const (
		jsonCodec, proto = frame.FlagJSON, frame.FlagProto
		failed           = frame.FlagError
	)
	nc := dial(t, start(t))
	frames := frame.NewReader(nc, 1<<20)
	cases := []struct {
		method     string
		codec      byte
		arg        string
		flags      byte
		wantAnswer string
	}{
		{"test.Echo", jsonCodec, `{"text":"hi"}`, jsonCodec, `{"text":"hi"}`},
		{"test.Echo", jsonCodec, `{"TEXT":"any case"}`, jsonCodec, `{"text":"any case"}`},
		{"test.Echo", jsonCodec, ``, jsonCodec, `{"text":""}`},
		{"test.Echo", proto, "\x0a\x02hi", proto, "\x0a\x02hi"},
		{"test.Echo", proto, "", proto, ""},
		{"test.Upper", jsonCodec, `"abc"`, jsonCodec, `"ABC"`},
		{"test.Bytes", jsonCodec, `1`, jsonCodec, `"AP8="`},
		{"test.Nil", jsonCodec, `1`, jsonCodec, `null`},

		{"test.Fail", jsonCodec, `{"text":"no such storage: x"}`, jsonCodec | failed, "no such storage: x"},
		{"test.Nope", jsonCodec, `1`, jsonCodec | failed, "rpc: can't find method test.Nope"},
		{"kv.Clear", proto, ``, proto | failed, "rpc: can't find service kv.Clear"},
		{"Echo", proto, ``, proto | failed, "rpc: service/method request ill-formed: Echo"},
		{"", jsonCodec, ``, jsonCodec | failed, "rpc: service/method request ill-formed: "},
		{"test.", jsonCodec, ``, jsonCodec | failed, "rpc: can't find method test."},
		{"a.b.c", jsonCodec, ``, jsonCodec | failed, "rpc: can't find service a.b.c"},
		{"test.Upper", proto, "\x0a\x02hi", proto | failed, "message type is not a proto"},
		{"test.Upper", frame.FlagRaw, "x", frame.FlagRaw, "X"},
		{"test.Bytes", frame.FlagRaw, "", frame.FlagRaw, "\x00\xff"},
		{"rpc.Version", frame.FlagRaw, "true", frame.FlagRaw, "test"},
		{"test.Echo", frame.FlagRaw, "x", frame.FlagRaw | failed, "decode argument of test.Echo: unknown Raw payload type"},
		{"test.Echo", frame.FlagRaw, "", frame.FlagRaw | failed, "unknown Raw payload type"},
		{"test.Upper", frame.FlagMsgpack, "\xa3abc", frame.FlagMsgpack, "\xa3ABC"},
		{"test.Echo", frame.FlagMsgpack, "\x81\xa4Text\xa2hi", frame.FlagMsgpack, "\x81\xa4Text\xa2hi"},
		{"test.Echo", frame.FlagMsgpack, "\x81", frame.FlagMsgpack | failed, "decode argument of test.Echo: msgpack: the message ends too early"},
		{"test.Upper", 0, "\x06\x0c\x00\x03abc", frame.FlagGob, "\x06\x0c\x00\x03ABC"},
		{"test.Upper", frame.FlagGob, "x", frame.FlagGob | failed, "decode argument of test.Upper: unexpected EOF"},
		{"test.Nil", frame.FlagGob, "", frame.FlagGob | failed, "encode answer of test.Nil: the answer is nothing, which GOB has no way to say: call with JSON"},
		{"test.Echo", jsonCodec, `{`, jsonCodec | failed, "decode argument of test.Echo: unexpected end of JSON input"},
		{"test.Echo", proto, "\xff", proto | failed, "decode argument of test.Echo: unexpected EOF"},
		{"test.Echo", jsonCodec | proto, "\x0a\x02hi", proto, "\x0a\x02hi"},
		{"test.Chan", jsonCodec, `1`, jsonCodec | failed, "encode answer of test.Chan: json: unsupported type: chan int"},
		{"test.Panic", jsonCodec, `1`, jsonCodec | failed, "test.Panic: internal error, see the log of the server"},
		{"test.Echo", jsonCodec, `{"text":"still here"}`, jsonCodec, `{"text":"still here"}`},
	}
	for i, c := range cases {
		seq := uint32(i) * 0x01010101
		send(t, nc, callFrame(seq, c.method, c.codec, c.arg))
		h, payload, err := frames.Next()
		if err != nil {
			t.Fatalf("%s %q: %v", c.method, c.arg, err)
		}
		if h.Flags != c.flags || h.NumOpts != 2 || h.Option(0) != seq || int(h.Option(1)) != len(c.method) {
			t.Errorf("%s %q: answer has flags %#x and options %d %d, want %#x, %d %d",
				c.method, c.arg, h.Flags, h.Option(0), h.Option(1), c.flags, seq, len(c.method))
		}
		if got := string(payload); got != c.method+c.wantAnswer {
			t.Errorf("%s %q: answer %q, want %q", c.method, c.arg, got, c.method+c.wantAnswer)
		}
	}
}

// TestCallsOfOneConnectionOvertake: a call that waits does not hold up the next one, up to the bound.
func TestCallsOfOneConnectionOvertake(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	s := start(t, func(cfg *rpc.Config, m rpc.Methods) {
		cfg.Concurrency = 3
		m["Wait"] = rpc.Func(func(ctx context.Context, n int) (int, error) {
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return n, nil
		})
	})
	nc := dial(t, s)
	frames := frame.NewReader(nc, 1<<20)
	send(t, nc, callFrame(1, "test.Wait", frame.FlagJSON, "1"), callFrame(2, "test.Wait", frame.FlagJSON, "2"),
		callFrame(3, "test.Echo", frame.FlagJSON, "{}"))
	if h, _, err := frames.Next(); err != nil || h.Option(0) != 3 {
		t.Fatalf("first answer is for call %d (%v), want 3", h.Option(0), err)
	}

	// Three wait now; a fourth is read when one of them ends.
	send(t, nc, callFrame(4, "test.Wait", frame.FlagJSON, "4"), callFrame(5, "test.Echo", frame.FlagJSON, "{}"))
	until(t, func() bool { return s.Stats().Calls == 4 })
	if got := s.Stats(); got.InFlight != 3 {
		t.Errorf("%d calls run, want 3", got.InFlight)
	}
	close(gate)
	for range 4 {
		if _, _, err := frames.Next(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return s.Stats().InFlight == 0 })
}

// TestBrokenFramesEndOneConnection, with a log line that names the process.
func TestBrokenFramesEndOneConnection(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string][]byte{
		"text":         []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"checksum":     unhex("1508 0f000000 00000000 0000 07000000 0b000000"),
		"no options":   frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("test.Echo{}")),
		"one option":   frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("test.Echo{}"), 1),
		"three":        frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("test.Echo{}"), 1, 9, 3),
		"name beyond":  frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("test.Echo"), 1, 10),
		"name huge":    frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("test.Echo"), 1, 1<<32-1),
		"name long":    callFrame(1, strings.Repeat("x", 600), frame.FlagJSON, ""),
		"over maximum": frame.AppendHeader(nil, frame.FlagJSON, 0, 1<<30, 1, 9),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			other := dial(t, s)
			nc := dial(t, s)
			send(t, nc, bad)
			if n, err := nc.Read(make([]byte, 1)); err == nil {
				t.Errorf("%d bytes came back", n)
			}
			until(t, func() bool { return strings.Contains(s.log.String(), fmt.Sprintf("peer=\"pid %d\"", os.Getpid())) })
			if st := s.Stats(); st.BadFrames != 1 {
				t.Errorf("stats %+v, want one bad frame", st)
			}
			echo(t, other, "the other connection")
		})
	}
}

// TestClientsThatLeaveAreNotLogged: ending a connection is no event, also in the middle of a frame's answer.
func TestClientsThatLeaveAreNotLogged(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 10 {
		nc := dial(t, s)
		send(t, nc, callFrame(1, "test.Echo", frame.FlagJSON, `{"text":"x"}`))
		nc.Close()
	}
	until(t, func() bool { return s.Stats().Connections == 0 && s.Stats().Accepted == 10 })
	if log := s.log.String(); strings.Contains(log, "WARN") || strings.Contains(log, "ERROR") {
		t.Errorf("log:\n%s", log)
	}
}

// TestClientThatDoesNotRead loses its connection, and until then at most one of its answers takes memory.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	var encoded atomic.Int64
	s := prepare(t, func(_ *rpc.Config, m rpc.Methods) {
		m["Large"] = rpc.Func(func(context.Context, note) (*large, error) { return &large{&encoded}, nil })
	})
	s.SetPatience(time.Second)
	s.start(t)
	nc, other := dial(t, s), dial(t, s)
	for i := range 32 {
		send(t, nc, callFrame(uint32(i), "test.Large", frame.FlagProto, ""))
	}
	until(t, func() bool { return s.Stats().Calls == 32 })
	echo(t, other, "the other connection")
	if n := encoded.Load(); n > 1 {
		t.Errorf("%d answers were made for a client that reads none", n)
	}
	until(t, func() bool { return s.Stats().Connections == 1 && s.Stats().InFlight == 0 })
	if n := encoded.Load(); n > 1 {
		t.Errorf("%d answers were made for a client that was gone", n)
	}
	if log := s.log.String(); !strings.Contains(log, "does not take its answers") {
		t.Errorf("log:\n%s", log)
	}
	echo(t, other, "the other connection")
}

// large is an answer that no socket buffer takes.
type large struct{ encoded *atomic.Int64 }

func (l *large) ParseProto([]byte) error { return nil }
func (l *large) AppendProto(dst []byte) []byte {
	l.encoded.Add(1)
	return append(dst, make([]byte, 8<<20)...)
}

func TestPanicIsLogged(t *testing.T) {
	t.Parallel()
	s := start(t)
	nc := dial(t, s)
	send(t, nc, callFrame(1, "test.Panic", frame.FlagJSON, "1"))
	if _, _, err := frame.NewReader(nc, 1<<20).Next(); err != nil {
		t.Fatal(err)
	}
	if log := s.log.String(); !strings.Contains(log, "method=test.Panic") || !strings.Contains(log, "secret of the panic") {
		t.Errorf("log:\n%s", log)
	}
}

func TestStopLetsCallsFinish(t *testing.T) {
	t.Parallel()
	entered, gate := make(chan struct{}), make(chan struct{})
	s := start(t, func(_ *rpc.Config, m rpc.Methods) {
		m["Wait"] = rpc.Func(func(context.Context, int) (int, error) {
			close(entered)
			<-gate
			return 7, nil
		})
	})
	idle, busy := dial(t, s), dial(t, s)
	send(t, busy, callFrame(1, "test.Wait", frame.FlagJSON, "1"))
	<-entered

	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	if n, err := idle.Read(make([]byte, 1)); err == nil {
		t.Errorf("the idle connection got %d bytes, want it closed", n)
	}
	select {
	case err := <-stopped:
		t.Fatalf("Stop returned before the call ended: %v", err)
	default:
	}
	close(gate)
	if _, payload, err := frame.NewReader(busy, 1<<20).Next(); err != nil || string(payload) != "test.Wait7" {
		t.Errorf("the call that ran got %q, %v", payload, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop: %v", err)
	}
	if _, err := net.Dial("unix", strings.TrimPrefix(s.Addr(), "unix://")); err == nil {
		t.Error("the socket answers after Stop")
	}
}

// TestStopGivesUpOnTime: a call that does not end takes the context of the stop, and its own context ends then.
func TestStopGivesUpOnTime(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s := start(t, func(_ *rpc.Config, m rpc.Methods) {
		m["Wait"] = rpc.Func(func(ctx context.Context, _ int) (int, error) {
			close(entered)
			<-ctx.Done()
			return 0, ctx.Err()
		})
	})
	nc := dial(t, s)
	send(t, nc, callFrame(1, "test.Wait", frame.FlagJSON, "1"))
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 calls in flight") {
		t.Errorf("Stop: %v, want %v and how many calls ran", err, context.DeadlineExceeded)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	s, err := rpc.New(rpc.DefaultConfig(), rpc.Options{Logger: slog.New(slog.DiscardHandler), StateDir: testenv.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *rpc.Config, _ rpc.Methods) { cfg.Connections = 2 })
	first, second := dial(t, s), dial(t, s)
	echo(t, first, "1")
	echo(t, second, "2")
	for range 3 {
		if n, err := dial(t, s).Read(make([]byte, 1)); err == nil {
			t.Errorf("a third connection got %d bytes", n)
		}
	}
	if n := strings.Count(s.log.String(), "connections are refused"); n != 1 {
		t.Errorf("%d log lines about it, want 1", n)
	}
	second.Close()
	until(t, func() bool { return s.Stats().Connections == 1 })
	echo(t, dial(t, s), "after one left")
	if st := s.Stats(); st.Refused != 3 {
		t.Errorf("stats %+v, want 3 refused", st)
	}
}

// TestHammer has many connections with many calls each while the server stops.
func TestHammer(t *testing.T) {
	t.Parallel()
	s := start(t)
	var wg sync.WaitGroup
	for range 8 {
		client := netrpc.NewClientWithCodec(goridge.NewClientCodec(dial(t, s)))
		defer client.Close()
		for range 4 {
			wg.Go(func() {
				for i := range testenv.Count(200, 20_000) {
					want := strings.Repeat("y", i*37%5000)
					var got wrapperspb.StringValue
					if err := client.Call("test.Echo", wrapperspb.String(want), &got); err != nil || got.Value != want {
						t.Errorf("call %d: %d bytes, %v", i, len(got.Value), err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.InFlight != 0 || st.Connections != 0 || st.Failed != 0 {
		t.Errorf("after the stop: %+v", st)
	}
}

func BenchmarkCall(b *testing.B) {
	for name, c := range map[string]struct {
		codec byte
		arg   string
	}{"proto": {frame.FlagProto, "\x0a\x06cart:7"}, "json": {frame.FlagJSON, `{"text":"cart:7"}`}} {
		b.Run(name, func(b *testing.B) {
			nc := dial(b, start(b))
			frames := frame.NewReader(nc, 1<<20)
			request := callFrame(1, "test.Echo", c.codec, c.arg)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := nc.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, _, err := frames.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
