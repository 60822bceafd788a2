package rpc_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// note is a message with one string, the same as google.protobuf.StringValue.
type note struct {
	Text string `json:"text"`
}

func (n *note) AppendProto(dst []byte) []byte {
	if n.Text == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, 1, protowire.BytesType), n.Text)
}

func (n *note) ParseProto(data []byte) error {
	for len(data) > 0 {
		_, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		if kind != protowire.BytesType {
			return errors.New("wrong type")
		}
		text, n2 := protowire.ConsumeString(data[size:])
		if n2 < 0 {
			return protowire.ParseError(n2)
		}
		n.Text, data = text, data[size+n2:]
	}
	return nil
}

type server struct {
	*rpc.Server
	log *lockedBuffer
}

// start runs a server on a unix socket with the service test.
func start(t testing.TB, change ...func(*rpc.Config, rpc.Methods)) *server {
	t.Helper()
	s := prepare(t, change...)
	s.start(t)
	return s
}

// prepare is start without the start.
func prepare(t testing.TB, change ...func(*rpc.Config, rpc.Methods)) *server {
	t.Helper()
	methods := rpc.Methods{
		"Echo":  rpc.Func(func(_ context.Context, n note) (*note, error) { return &n, nil }),
		"Fail":  rpc.Func(func(_ context.Context, n note) (*note, error) { return nil, errors.New(n.Text) }),
		"Upper": rpc.Func(func(_ context.Context, s string) (string, error) { return strings.ToUpper(s), nil }),
		"Bytes": rpc.Func(func(context.Context, int) ([]byte, error) { return []byte{0, 255}, nil }),
		"Nil":   rpc.Func(func(context.Context, int) (any, error) { return nil, nil }),
		"Chan":  rpc.Func(func(context.Context, int) (chan int, error) { return make(chan int), nil }),
		"Panic": rpc.Func(func(context.Context, int) (int, error) { panic("secret of the panic") }),
	}
	cfg := rpc.DefaultConfig()
	cfg.MaxFrame = bytesize.MiB
	for _, f := range change {
		f(&cfg, methods)
	}
	log := new(lockedBuffer)
	s, err := rpc.New(cfg, rpc.Options{
		Logger: slog.New(slog.NewTextHandler(log, nil)), StateDir: testenv.Dir(t), Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Register("test", methods)
	return &server{s, log}
}

func (s *server) start(t testing.TB) {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

func dial(t testing.TB, s *server) net.Conn {
	t.Helper()
	network, target, _ := strings.Cut(s.Addr(), "://")
	nc, err := net.Dial(network, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

func callFrame(seq uint32, method string, codec byte, arg string) []byte {
	return frame.AppendFrame(nil, codec, 0, []byte(method+arg), seq, uint32(len(method)))
}

func send(t testing.TB, nc net.Conn, pieces ...[]byte) {
	t.Helper()
	if _, err := nc.Write(bytes.Join(pieces, nil)); err != nil {
		t.Fatal(err)
	}
}

func echo(t testing.TB, nc net.Conn, text string) {
	t.Helper()
	send(t, nc, callFrame(9, "test.Echo", frame.FlagJSON, `{"text":"`+text+`"}`))
	_, payload, err := frame.NewReader(nc, 1<<20).Next()
	if want := `test.Echo{"text":"` + text + `"}`; err != nil || string(payload) != want {
		t.Errorf("echo gave %q, %v, want %q", payload, err, want)
	}
}

func until(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not so after 20s")
		}
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
