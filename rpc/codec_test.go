package rpc_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	netrpc "net/rpc"
	"strings"
	"testing"

	goridge "github.com/roadrunner-server/goridge/v3/pkg/rpc"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// Thing has a field of every kind that arguments have.
type Thing struct {
	Name   string
	Value  float64
	Count  int64
	On     bool
	Labels []string
	Raw    []byte
	Inner  map[string]int
	Deep   []struct{ Key string }
	Maybe  *int
}

// refService is what RoadRunner's plugins look like: net/rpc methods, which goridge serves.
type refService struct{}

func (refService) Thing(in Thing, out *Thing) error             { *out = in; return nil }
func (refService) Text(in string, out *string) error            { *out = strings.ToUpper(in); return nil }
func (refService) Bytes(in []byte, out *[]byte) error           { *out = append(in, '!'); return nil }
func (refService) Flag(in bool, out *bool) error                { *out = !in; return nil }
func (refService) Number(in int64, out *int64) error            { *out = in + 1; return nil }
func (refService) List(in []string, out *[]string) error        { *out = in; return nil }
func (refService) Fail(string, *string) error                   { return errors.New("it broke") }
func (refService) Proto(in, out *wrapperspb.StringValue) error  { out.Value = in.Value; return nil }
func (refService) FailProto(_, _ *wrapperspb.StringValue) error { return errors.New("it broke") }

func ourService() rpc.Methods {
	return rpc.Methods{
		"Thing":     rpc.Func(func(_ context.Context, in Thing) (Thing, error) { return in, nil }),
		"Text":      rpc.Func(func(_ context.Context, in string) (string, error) { return strings.ToUpper(in), nil }),
		"Bytes":     rpc.Func(func(_ context.Context, in []byte) ([]byte, error) { return append(in, '!'), nil }),
		"Flag":      rpc.Func(func(_ context.Context, in bool) (bool, error) { return !in, nil }),
		"Number":    rpc.Func(func(_ context.Context, in int64) (int64, error) { return in + 1, nil }),
		"List":      rpc.Func(func(_ context.Context, in []string) ([]string, error) { return in, nil }),
		"Fail":      rpc.Func(func(context.Context, string) (string, error) { return "", errors.New("it broke") }),
		"Proto":     rpc.Func(func(_ context.Context, in note) (*note, error) { return &in, nil }),
		"FailProto": rpc.Func(func(context.Context, note) (*note, error) { return nil, errors.New("it broke") }),
	}
}

// both is goridge's server and ours with the same methods.
type both struct {
	theirs, ours           net.Conn
	theirFrames, ourFrames *frame.Reader
	sequence               uint32
}

func startBoth(t testing.TB) *both {
	t.Helper()
	reference := netrpc.NewServer()
	if err := reference.RegisterName("ref", refService{}); err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() { // ends when the client is closed
		defer close(done)
		reference.ServeCodec(goridge.NewCodec(server))
	}()
	t.Cleanup(func() { client.Close(); <-done })
	s := prepare(t)
	s.Register("ref", ourService())
	s.start(t)
	b := &both{theirs: client, ours: dial(t, s)}
	b.theirFrames, b.ourFrames = frame.NewReader(b.theirs, 1<<20), frame.NewReader(b.ours, 1<<20)
	return b
}

type answer struct {
	flags    byte
	seq, len uint32
	payload  quoted
}

func (b *both) call(t testing.TB, method string, codec byte, arg []byte) (theirs, ours answer) {
	t.Helper()
	b.sequence += 7
	request := frame.AppendFrame(nil, codec, 0, append([]byte(method), arg...), b.sequence, uint32(len(method)))
	read := func(nc io.Writer, frames *frame.Reader) answer {
		if _, err := nc.Write(request); err != nil {
			t.Fatalf("%s with %#x: %v", method, codec, err)
		}
		h, payload, err := frames.Next()
		if err != nil {
			t.Fatalf("%s with %#x: %v", method, codec, err)
		}
		return answer{h.Flags, h.Option(0), h.Option(1), quoted(payload)}
	}
	return read(b.theirs, b.theirFrames), read(b.ours, b.ourFrames)
}

// encoders are those of the reference.
var encoders = map[byte]func(v any) ([]byte, error){
	frame.FlagJSON:    json.Marshal,
	frame.FlagMsgpack: msgpack.Marshal,
	frame.FlagGob: func(v any) ([]byte, error) {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(v)
		return b.Bytes(), err
	},
}

// TestAnswersAreGoridges: the same bytes get the same bytes, whatever the codec.
func TestAnswersAreGoridges(t *testing.T) {
	t.Parallel()
	b := startBoth(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for range testenv.Count(40, 20_000) {
		for codec, encode := range encoders {
			for method, v := range map[string]any{
				"ref.Thing": randomThing(rng), "ref.Text": randomText(rng), "ref.Bytes": []byte(randomText(rng)), "ref.Flag": rng.IntN(2) == 0,
				"ref.Number": rng.Int64() - rng.Int64(), "ref.List": randomThing(rng).Labels, "ref.Fail": "x", "ref.Nope": true, "nope.Nope": 1,
				"illformed": "x",
			} {
				arg, err := encode(v)
				if err != nil {
					t.Fatal(err)
				}
				if theirs, ours := b.call(t, method, codec, arg); theirs != ours {
					t.Fatalf("%s of %+v in codec %#x:\ngoridge %+v\nwe      %+v", method, v, codec, theirs, ours)
				}
			}
		}
		text := randomText(rng)
		for _, method := range []string{"ref.Proto", "ref.FailProto"} {
			arg, err := proto.Marshal(wrapperspb.String(text))
			if err != nil {
				t.Fatal(err)
			}
			if theirs, ours := b.call(t, method, frame.FlagProto, arg); theirs != ours {
				t.Fatalf("%s of %q:\ngoridge %+v\nwe      %+v", method, text, theirs, ours)
			}
		}
		if theirs, ours := b.call(t, "ref.Bytes", frame.FlagRaw, []byte(text)); theirs != ours {
			t.Fatalf("raw bytes %q:\ngoridge %+v\nwe      %+v", text, theirs, ours)
		}
	}
}

// TestEmptyArgumentsAndSeveralCodecs: what is not said is empty, and of several codecs the same one is taken.
func TestEmptyArgumentsAndSeveralCodecs(t *testing.T) {
	t.Parallel()
	b := startBoth(t)
	for _, codec := range []byte{frame.FlagJSON, frame.FlagMsgpack, frame.FlagGob} {
		for _, method := range []string{"ref.Thing", "ref.Text", "ref.Bytes", "ref.Flag", "ref.Number"} {
			if theirs, ours := b.call(t, method, codec, nil); theirs != ours {
				t.Errorf("%s of nothing in codec %#x:\ngoridge %+v\nwe      %+v", method, codec, theirs, ours)
			}
		}
	}
	if theirs, ours := b.call(t, "ref.Bytes", frame.FlagRaw, nil); theirs != ours {
		t.Errorf("raw nothing: goridge %+v, we %+v", theirs, ours)
	}
	if theirs, ours := b.call(t, "ref.Proto", frame.FlagProto, nil); theirs != ours {
		t.Errorf("protobuf nothing: goridge %+v, we %+v", theirs, ours)
	}
	for _, codec := range []byte{frame.FlagJSON | frame.FlagGob, frame.FlagJSON | frame.FlagMsgpack, frame.FlagJSON | frame.FlagRaw} {
		if theirs, ours := b.call(t, "ref.Text", codec, []byte(`"x"`)); theirs != ours {
			t.Errorf("codecs %#x: goridge %+v, we %+v", codec, theirs, ours)
		}
	}
}

// TestRefusalsAreGoridges: what it refuses, we refuse, with its words in ours where clients know them.
func TestRefusalsAreGoridges(t *testing.T) {
	t.Parallel()
	b := startBoth(t)
	for _, c := range []struct {
		method string
		codec  byte
		arg    string
		words  string
	}{
		{"ref.Text", frame.FlagProto, "\x0a\x01x", "message type is not a proto"},
		{"ref.Text", frame.FlagRaw, "", "unknown Raw payload type"}, // a text: see below
		{"ref.Number", frame.FlagRaw, "", "unknown Raw payload type"},
		{"ref.Number", frame.FlagJSON, `"x"`, ""},
		{"ref.Thing", frame.FlagJSON, `{`, ""},
		{"ref.Thing", frame.FlagMsgpack, "\xc1", ""},
		{"ref.Thing", frame.FlagGob, "\x01", ""},
		{"ref.Proto", frame.FlagProto, "\xff", ""},
	} {
		theirs, ours := b.call(t, c.method, c.codec, []byte(c.arg))
		if c.method == "ref.Text" && c.codec == frame.FlagRaw {
			// goridge knows bytes only; methods that say a text say it here.
			if ours.flags != frame.FlagRaw || theirs.flags&frame.FlagError == 0 {
				t.Errorf("a raw text: goridge %+v, we %+v", theirs, ours)
			}
			continue
		}
		if theirs.flags != ours.flags || theirs.seq != ours.seq || ours.flags&frame.FlagError == 0 ||
			!strings.Contains(string(theirs.payload), c.words) || !strings.Contains(string(ours.payload), c.words) {
			t.Errorf("%s %q in codec %#x:\ngoridge %+v\nwe      %+v", c.method, c.arg, c.codec, theirs, ours)
		}
	}
}

// TestGoridgeClientGob calls with goridge's client, which sends gob for what is not protobuf.
func TestGoridgeClientGob(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	s.Register("ref", ourService())
	s.start(t)
	client := netrpc.NewClientWithCodec(goridge.NewClientCodec(dial(t, s)))
	defer client.Close()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		want := randomThing(rng)
		var got Thing
		if err := client.Call("ref.Thing", want, &got); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	}
	var text string
	if err := client.Call("ref.Fail", "x", &text); err == nil || err.Error() != "it broke" {
		t.Errorf("error %v", err)
	}
	if err := client.Call("ref.Nope", "x", &text); err == nil || err.Error() != "rpc: can't find method ref.Nope" {
		t.Errorf("error %v", err)
	}
}

func randomText(rng *rand.Rand) string {
	b := make([]rune, rng.IntN(40))
	for i := range b {
		b[i] = []rune("abcäß€<&>\"\\\n\x00 z")[rng.IntN(15)]
	}
	return string(b)
}

func randomThing(rng *rand.Rand) Thing {
	v := Thing{Name: randomText(rng), Value: float64(rng.IntN(1000)) / 8, Count: rng.Int64(), On: rng.IntN(2) == 0}
	for range rng.IntN(4) {
		v.Labels = append(v.Labels, randomText(rng))
		v.Deep = append(v.Deep, struct{ Key string }{randomText(rng)})
	}
	if rng.IntN(2) == 0 {
		v.Raw, v.Inner = []byte(randomText(rng)+"x"), map[string]int{randomText(rng): rng.IntN(99) + 1}
	}
	return v
}

// quoted is bytes that a failure shows readably.
type quoted string

func (q quoted) String() string { return fmt.Sprintf("%.300q", string(q)) }
