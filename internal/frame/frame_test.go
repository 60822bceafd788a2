package frame_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	goridge "github.com/roadrunner-server/goridge/v3/pkg/frame"
	goridgepipe "github.com/roadrunner-server/goridge/v3/pkg/pipe"

	"github.com/edge-server/edge/internal/frame"
)

// golden are frames as existing PHP packages and servers write them.
var golden = []struct {
	name    string
	flags   byte
	stream  byte
	options []uint32
	payload string
	header  string
}{
	{"server pid", frame.FlagControl | frame.FlagJSON, 0, nil, `{"pid":1}`, "13090900000 06dfc98440000"},
	{"worker pid", frame.FlagControl, 0, nil, `{"pid":42}`, "13010a000000 42185d660000"},
	{"stop", frame.FlagControl | frame.FlagJSON, 0, nil, `{"stop":true}`, "13090d000000 3a6bfacb0000"},
	{"request", frame.FlagProto, 0, []uint32{2}, "\x0a\x00abc", "148005000000 8ea1bdaf0000 02000000"},
	{"response", frame.FlagProto, 0, []uint32{3}, "\x08\xc8\x01hi", "148005000000 8ea1bdaf0000 03000000"},
	{"stream chunk", frame.FlagProto, frame.StreamMore, []uint32{3}, "\x08\xc8\x01hi", "148005000000 8ea1bdaf0100 03000000"},
	{"pong", 0, frame.StreamPong, nil, "", "130000000000 96d180340800"},
	{"stream stop", 0, frame.StreamStop, nil, "", "130000000000 96d180340200"},
	{"error", frame.FlagError, 0, nil, "boom", "134004000000 881e11e30000"},
	{"rpc call", frame.FlagJSON, 0, []uint32{1, 13}, "informer.Listtrue", "150811000000 b0490c3a0000 01000000 0d000000"},
}

func TestGoldenBytes(t *testing.T) {
	t.Parallel()
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			header, err := hex.DecodeString(strings.ReplaceAll(g.header, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			want := append(header, g.payload...)

			got := frame.AppendFrame(nil, g.flags, g.stream, []byte(g.payload), g.options...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("written frame (-want +got):\n%s", diff)
			}
			h, payload, err := frame.NewReader(bytes.NewReader(want), 1<<20).Next()
			if err != nil {
				t.Fatal(err)
			}
			if string(payload) != g.payload || h.Flags != g.flags || h.Stream != g.stream || h.NumOpts != len(g.options) {
				t.Errorf("read %+v %q, want flags %#x, stream %#x, options %v, payload %q", h, payload, g.flags, g.stream, g.options, g.payload)
			}
			for i, o := range g.options {
				if h.Option(i) != o {
					t.Errorf("option %d = %d, want %d", i, h.Option(i), o)
				}
			}
		})
	}
}

// TestSealed builds a frame in place, the way the hot paths do.
func TestSealed(t *testing.T) {
	t.Parallel()
	b := frame.AppendHeader([]byte("kept"), frame.FlagProto, 0, 0, 7)
	b = append(b, "contextbody"...)
	frame.Seal(b[4:], 11)
	want := frame.AppendFrame([]byte("kept"), frame.FlagProto, 0, []byte("contextbody"), 7)
	if !bytes.Equal(b, want) {
		t.Errorf("sealed frame %x, want %x", b, want)
	}
}

// TestAgreesWithGoridge writes random frames with both implementations and reads each with the other, through its own relay.
func TestAgreesWithGoridge(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		want := randomFrame(rng)
		theirs := writeWithGoridge(want)
		ours := frame.AppendFrame(nil, want.flags, want.stream, []byte(want.payload), want.options...)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Fatalf("goridge and we write differently (-goridge +ours):\n%s", diff)
		}
		if diff := cmp.Diff(want, readWithGoridge(t, ours), compareFrames); diff != "" {
			t.Fatalf("goridge reads %x differently (-want +goridge):\n%s", ours, diff)
		}
		if diff := cmp.Diff(want, readOne(t, theirs), compareFrames); diff != "" {
			t.Fatalf("we read %x differently (-want +ours):\n%s", theirs, diff)
		}
	}
}

// plainFrame is a frame by its parts.
type plainFrame struct {
	flags, stream byte
	options       []uint32
	payload       string
}

var compareFrames = cmp.AllowUnexported(plainFrame{})

func randomFrame(rng *rand.Rand) plainFrame {
	f := plainFrame{flags: byte(rng.Uint32()), stream: byte(rng.Uint32()) & 0x0f, options: make([]uint32, rng.IntN(frame.MaxOptions+1))}
	for i := range f.options {
		f.options[i] = rng.Uint32()
	}
	payload := make([]byte, rng.IntN(300))
	for i := range payload {
		payload[i] = byte(rng.Uint32())
	}
	f.payload = string(payload)
	return f
}

func writeWithGoridge(f plainFrame) []byte {
	theirs := goridge.NewFrame()
	theirs.WriteVersion(theirs.Header(), goridge.Version1)
	theirs.WriteFlags(theirs.Header(), f.flags)
	theirs.WriteOptions(theirs.HeaderPtr(), f.options...)
	theirs.WritePayloadLen(theirs.Header(), uint32(len(f.payload)))
	theirs.WriteCRC(theirs.Header())
	for bit, set := range map[byte]func([]byte){
		frame.StreamMore: theirs.SetStreamFlag, frame.StreamStop: theirs.SetStopBit,
		frame.StreamPing: theirs.SetPingBit, frame.StreamPong: theirs.SetPongBit,
	} {
		if f.stream&bit != 0 {
			set(theirs.Header())
		}
	}
	theirs.WritePayload([]byte(f.payload))
	return theirs.Bytes()
}

func readWithGoridge(t *testing.T, wire []byte) plainFrame {
	t.Helper()
	theirs := goridge.NewFrame()
	if err := goridgepipe.NewPipeRelay(io.NopCloser(bytes.NewReader(wire)), nil).Receive(theirs); err != nil {
		t.Fatalf("goridge cannot read %x: %v", wire, err)
	}
	h := theirs.Header()
	f := plainFrame{flags: theirs.ReadFlags(), options: append([]uint32{}, theirs.ReadOptions(h)...), payload: string(theirs.Payload())}
	for bit, is := range map[byte]func([]byte) bool{
		frame.StreamMore: theirs.IsStream, frame.StreamStop: theirs.IsStop, frame.StreamPing: theirs.IsPing, frame.StreamPong: theirs.IsPong,
	} {
		if is(h) {
			f.stream |= bit
		}
	}
	return f
}

func readOne(t *testing.T, wire []byte) plainFrame {
	t.Helper()
	h, payload, err := frame.NewReader(bytes.NewReader(wire), 1<<20).Next()
	if err != nil {
		t.Fatalf("we cannot read %x: %v", wire, err)
	}
	f := plainFrame{flags: h.Flags, stream: h.Stream, options: make([]uint32, h.NumOpts), payload: string(payload)}
	for i := range f.options {
		f.options[i] = h.Option(i)
	}
	return f
}

// FuzzAgainstGoridge reads whatever comes with both: what goridge takes, we take alike.
func FuzzAgainstGoridge(f *testing.F) {
	for _, g := range golden {
		f.Add(frame.AppendFrame(nil, g.flags, g.stream, []byte(g.payload), g.options...))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		if len(wire) < frame.HeaderLen || binary.LittleEndian.Uint32(wire[2:]) > 1<<16 {
			return // goridge would allocate whatever is announced
		}
		h, payload, err := frame.NewReader(bytes.NewReader(wire), 1<<16).Next()
		theirs := goridge.NewFrame()
		theirErr := goridgepipe.NewPipeRelay(io.NopCloser(bytes.NewReader(wire)), nil).Receive(theirs)
		if err == nil && theirErr != nil {
			t.Fatalf("we read %x and goridge does not: %v", wire, theirErr)
		}
		if err != nil {
			// It checks neither the version nor, at the end of a pipe, that the frame is whole.
			if theirErr == nil && !errors.Is(err, frame.ErrHeader) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("goridge reads %x and we do not: %v", wire, err)
			}
			return
		}
		if h.Flags != theirs.ReadFlags() || !bytes.Equal(payload, theirs.Payload()) || h.NumOpts != len(theirs.ReadOptions(theirs.Header())) {
			t.Fatalf("%x: flags %#x, %d options, payload %q; goridge %#x, %v, %q", wire, h.Flags, h.NumOpts, payload,
				theirs.ReadFlags(), theirs.ReadOptions(theirs.Header()), theirs.Payload())
		}
	})
}

func TestFramesInAnyPieces(t *testing.T) {
	t.Parallel()
	var wire []byte
	for _, g := range golden {
		wire = frame.AppendFrame(wire, g.flags, g.stream, []byte(g.payload), g.options...)
	}
	big := strings.Repeat("x", 3<<20)
	wire = frame.AppendFrame(wire, 0, 0, []byte(big))
	for name, src := range map[string]io.Reader{
		"whole":     bytes.NewReader(wire),
		"bytewise":  iotest.OneByteReader(bytes.NewReader(wire)),
		"halves":    iotest.HalfReader(bytes.NewReader(wire)),
		"data+EOF":  iotest.DataErrReader(bytes.NewReader(wire)),
		"time-outs": &flaky{src: bytes.NewReader(wire)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := frame.NewReader(src, 4<<20)
			for _, g := range golden {
				if got := next(t, r); got != g.payload {
					t.Fatalf("%s: payload %q, want %q", g.name, got, g.payload)
				}
			}
			if got := next(t, r); got != big {
				t.Fatalf("the big frame arrived changed, %d bytes", len(got))
			}
			if _, _, err := r.Next(); err != io.EOF && !errors.Is(err, errFlaky) {
				t.Errorf("after the last frame: %v, want EOF", err)
			}
		})
	}
}

// next reads a frame in two steps, repeating each after a time-out.
func next(t *testing.T, r *frame.Reader) string {
	t.Helper()
	h, err := r.Head()
	for errors.Is(err, errFlaky) {
		h, err = r.Head()
	}
	if err != nil {
		t.Fatal(err)
	}
	payload, err := r.Take(int(h.Len))
	for errors.Is(err, errFlaky) {
		payload, err = r.Take(int(h.Len))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

var errFlaky = errors.New("deadline exceeded")

// flaky fails every other read and gives little with the others, as a relay does whose deadline is moved.
type flaky struct {
	src io.Reader
	n   int
}

func (f *flaky) Read(p []byte) (int, error) {
	if f.n++; f.n%2 == 0 {
		return 0, errFlaky
	}
	return f.src.Read(p[:min(len(p), 4096)])
}

// TestOneReadPerFrame is what makes an answer cheap: header, options and payload come with one read.
func TestOneReadPerFrame(t *testing.T) {
	t.Parallel()
	one := frame.AppendFrame(nil, frame.FlagProto, 0, make([]byte, 4000), 10)
	src := &counting{packets: [][]byte{one, one, one}}
	r := frame.NewReader(src, 1<<20)
	for range 3 {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if src.reads != 3 {
		t.Errorf("%d reads for 3 frames", src.reads)
	}
}

type counting struct {
	packets [][]byte
	reads   int
}

func (c *counting) Read(p []byte) (int, error) {
	if len(c.packets) == 0 {
		return 0, io.EOF
	}
	c.reads++
	n := copy(p, c.packets[0])
	c.packets = c.packets[1:]
	return n, nil
}

func TestExchangeKeepsThePayload(t *testing.T) {
	t.Parallel()
	wire := frame.AppendFrame(nil, 0, 0, []byte("first"))
	wire = frame.AppendFrame(wire, 0, 0, []byte("second"))
	r := frame.NewReader(bytes.NewReader(wire), 100)
	_, first, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	r.Exchange(make([]byte, 0, 4)) // too small for what was read ahead
	_, second, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != "first" || string(second) != "second" {
		t.Errorf("payloads %q and %q", first, second)
	}
}

func TestUntakenPayloadIsSkipped(t *testing.T) {
	t.Parallel()
	wire := frame.AppendFrame(nil, 0, 0, make([]byte, 100_000))
	wire = frame.AppendFrame(wire, 0, 0, []byte("second"))
	r := frame.NewReader(bytes.NewReader(wire), 1<<20)
	if _, err := r.Head(); err != nil {
		t.Fatal(err)
	}
	if part, err := r.Take(1000); err != nil || len(part) != 1000 || r.Left() != 99_000 {
		t.Fatalf("Take(1000) = %d bytes, %v; left %d", len(part), err, r.Left())
	}
	if _, payload, err := r.Next(); err != nil || string(payload) != "second" {
		t.Errorf("Next = %q, %v", payload, err)
	}
}

func TestJunk(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"hi\n", "PHP Warning:  something is wrong", "Could not open input file: worker.php\n"} {
		r := frame.NewReader(strings.NewReader(text), 100)
		_, _, err := r.Next()
		var junk *frame.JunkError
		if !errors.As(err, &junk) || string(junk.Junk) != text {
			t.Fatalf("reading %q: %v, want a JunkError with the text", text, err)
		}
		if junk.NotFound() != strings.HasPrefix(text, "Could not") {
			t.Errorf("NotFound() = %v for %q", junk.NotFound(), text)
		}
		if rest := r.Drain(100); string(rest) != text {
			t.Errorf("Drain = %q, want %q", rest, text)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	oversize := frame.AppendHeader(nil, 0, 0, 101)
	var size *frame.SizeError
	if _, _, err := frame.NewReader(bytes.NewReader(oversize), 100).Next(); !errors.As(err, &size) || size.Size != 101 {
		t.Errorf("101 bytes over a limit of 100: %v", err)
	}
	for _, first := range []byte{0x23, 0x12, 0x1e, 0x10} {
		b := frame.AppendHeader(nil, 0, 0, 0)
		b[0] = first
		frame.Seal(b, 0)
		if _, _, err := frame.NewReader(bytes.NewReader(b), 100).Next(); !errors.Is(err, frame.ErrHeader) {
			t.Errorf("first byte %#x: %v, want ErrHeader", first, err)
		}
	}
	cut := frame.AppendFrame(nil, 0, 0, []byte("payload"))
	if _, _, err := frame.NewReader(bytes.NewReader(cut[:len(cut)-1]), 100).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut frame: %v, want unexpected EOF", err)
	}
}

// TestLyingLength sends a header that announces 4 GiB and nothing behind it.
func TestLyingLength(t *testing.T) {
	liar := frame.AppendHeader(nil, 0, 0, 1<<32-1)
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, err := frame.NewReader(bytes.NewReader(liar), 1<<32-1).Next()
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	})
	if got.AllocedBytesPerOp() > 2<<20 {
		t.Errorf("%d bytes allocated for a frame that never came", got.AllocedBytesPerOp())
	}
}

func TestNoAllocations(t *testing.T) {
	payload := make([]byte, 1000)
	var buf []byte
	src := &looping{wire: frame.AppendFrame(nil, frame.FlagProto, 0, payload, 20)}
	r := frame.NewReader(src, 1<<20)
	if n := testing.AllocsPerRun(100, func() {
		buf = frame.AppendFrame(buf[:0], frame.FlagProto, 0, payload, 20)
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame written and read", n)
	}
}

// looping gives the same frame with every read.
type looping struct{ wire []byte }

func (l *looping) Read(p []byte) (int, error) { return copy(p, l.wire), nil }

func FuzzReader(f *testing.F) {
	for _, g := range golden {
		f.Add(frame.AppendFrame(nil, g.flags, g.stream, []byte(g.payload), g.options...))
	}
	f.Add([]byte("Could not open input file: x"))
	f.Add(frame.AppendHeader(nil, 0, 0, 1<<32-1))
	f.Fuzz(func(t *testing.T, wire []byte) {
		whole, pieces := read(bytes.NewReader(wire)), read(iotest.OneByteReader(bytes.NewReader(wire)))
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Fatalf("the frames depend on how they arrive (-whole +bytewise):\n%s", diff)
		}
		if diff := cmp.Diff(whole, read(bytes.NewReader(whole))); diff != "" {
			t.Fatalf("frames that were written again read differently (-first +second):\n%s", diff)
		}
	})
}

// read returns the frames of src, written again.
func read(src io.Reader) []byte {
	var out []byte
	r := frame.NewReader(src, 1<<16)
	for {
		h, payload, err := r.Next()
		if err != nil {
			return out
		}
		options := make([]uint32, h.NumOpts)
		for i := range options {
			options[i] = h.Option(i)
		}
		out = frame.AppendFrame(out, h.Flags, h.Stream, payload, options...)
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := make([]byte, 200)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = frame.AppendFrame(buf[:0], frame.FlagProto, 0, payload, 150)
	}
}

func BenchmarkReader(b *testing.B) {
	r := frame.NewReader(&looping{wire: frame.AppendFrame(nil, frame.FlagProto, 0, make([]byte, 200), 150)}, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
