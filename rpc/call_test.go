package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
)

// FuzzCalls feeds a byte stream to the reader of a connection. Whatever is taken as a call gets an answer that is a frame with
// its sequence number and method.
func FuzzCalls(f *testing.F) {
	valid := frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("rpc.Versiontrue"), 1, 11)
	f.Add(valid)
	f.Add(append(valid, valid...))
	f.Add(frame.AppendFrame(nil, frame.FlagProto, 0, []byte("rpc.Version\x0a\x00"), 1<<32-1, 11))
	f.Add(frame.AppendFrame(nil, frame.FlagGob, 0, []byte("rpc"), 1, 3))
	f.Add(frame.AppendFrame(nil, frame.FlagJSON, 0, []byte("rpc.x"), 1, 6))
	f.Add(frame.AppendFrame(nil, frame.FlagJSON, 0, nil, 1))
	f.Add([]byte("Could not open input file: x.php"))

	s, err := New(DefaultConfig(), Options{Logger: slog.New(slog.DiscardHandler), StateDir: "."})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		frames := frame.NewReader(bytes.NewReader(stream), 1<<20)
		for {
			h, payload, err := frames.Next()
			if err != nil {
				return
			}
			c := getCall()
			if c.parse(&h, payload) != nil {
				return
			}
			c.run(s, context.Background(), new(turn))
			answer, got, err := frame.NewReader(bytes.NewReader(c.out), 1<<20).Next()
			if err != nil {
				t.Fatalf("answer %x: %v", c.out, err)
			}
			if answer.Option(0) != h.Option(0) || !bytes.HasPrefix(got, payload[:h.Option(1)]) {
				t.Fatalf("answer %x to %x", c.out, stream)
			}
			if codecOf(answer.Flags) != codecOf(h.Flags) {
				t.Fatalf("answer has flags %#x, the call %#x", answer.Flags, h.Flags)
			}
			putCall(c)
		}
	})
}

// TestStranger: a process of a user that was not named is refused before it can say a word.
func TestStranger(t *testing.T) {
	t.Parallel()
	if !knowsPeers {
		return // the mode of the socket alone decides there
	}
	var log bytes.Buffer
	s, err := New(DefaultConfig(), Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), StateDir: testenv.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	delete(s.uids, os.Geteuid())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("unix", filepath.Clean(strings.TrimPrefix(s.Addr(), "unix://")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if n, err := nc.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came", n)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Refused != 1 || st.Accepted != 0 {
		t.Errorf("stats %+v, want one refused", st)
	}
	if !strings.Contains(log.String(), "may not connect") {
		t.Errorf("log:\n%s", &log)
	}
}

// quietMessage is an argument that decodes and encodes without allocating.
type quietMessage struct{ data []byte }

func (m *quietMessage) AppendProto(dst []byte) []byte { return append(dst, m.data...) }
func (m *quietMessage) ParseProto(data []byte) error  { m.data = data; return nil }

type quietHandler struct{ m quietMessage }

func (h *quietHandler) NewRequest(string) (any, bool)                          { return &h.m, true }
func (h *quietHandler) Call(_ context.Context, _ string, req any) (any, error) { return req, nil }

// TestCallDoesNotAllocate between the frame that was read and the one to be written.
func TestCallDoesNotAllocate(t *testing.T) {
	s, err := New(DefaultConfig(), Options{Logger: slog.New(slog.DiscardHandler), StateDir: "."})
	if err != nil {
		t.Fatal(err)
	}
	s.Register("kv", &quietHandler{})
	h, payload, err := frame.NewReader(bytes.NewReader(frame.AppendFrame(nil, frame.FlagProto, 0, []byte("kv.MGetabc"), 1, 7)), 100).Next()
	if err != nil {
		t.Fatal(err)
	}
	c, sending := new(call), new(turn)
	if n := testing.AllocsPerRun(1000, func() {
		if err := c.parse(&h, payload); err != nil {
			t.Fatal(err)
		}
		c.run(s, context.Background(), sending)
		sending.Unlock()
	}); n > 0 {
		t.Errorf("a call allocates %v times", n)
	}
}
