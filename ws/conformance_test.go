package ws_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// The first byte of frames.
const (
	fin   = 0x80
	rsv1  = 0x40
	cont  = 0x0
	text  = 0x1
	bin   = 0x2
	shut  = 0x8
	ping  = 0x9
	pong  = 0xA
	whole = fin | text
)

// conformanceCase is a case of the usual list, whose ids it has: what a client sends to an echo server, and what must come back.
type conformanceCase struct {
	id    string
	send  [][]byte // each in a write of its own
	want  []serverFrame
	code  int  // the server ends the connection with this one; 0: the client ends it with 1000, which the server answers
	early bool // send does not end: what is wrong must be noticed before
	self  bool // send has the client's close frame already, and code is the answer
}

func conformanceCases() []conformanceCase {
	var list []conformanceCase
	add := func(c conformanceCase) { list = append(list, c) }
	for _, group := range []func(func(conformanceCase)){framingCases, pingCases, reservedCases, fragmentCases, textCases, closeCases, bigCases} {
		group(add)
	}
	return list
}

func octets(b []byte) (pieces [][]byte) {
	for i := range b {
		pieces = append(pieces, b[i:i+1])
	}
	return pieces
}

func chop(b []byte, n int) (pieces [][]byte) {
	for len(b) > n {
		pieces, b = append(pieces, b[:n]), b[n:]
	}
	return append(pieces, b)
}

func one(frames ...[]byte) [][]byte { return [][]byte{bytes.Join(frames, nil)} }

func framingCases(add func(conformanceCase)) {
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		letters, noise := bytes.Repeat([]byte("*"), n), bytes.Repeat([]byte{0xfe}, n)
		add(conformanceCase{id: fmt.Sprintf("1.1.%d", i+1), send: one(frame(whole, letters)), want: []serverFrame{{whole, letters}}})
		add(conformanceCase{id: fmt.Sprintf("1.2.%d", i+1), send: one(frame(fin|bin, noise)), want: []serverFrame{{fin | bin, noise}}})
		if n == 65536 {
			add(conformanceCase{id: "1.1.8", send: chop(frame(whole, letters), 997), want: []serverFrame{{whole, letters}}})
			add(conformanceCase{id: "1.2.8", send: chop(frame(fin|bin, noise), 997), want: []serverFrame{{fin | bin, noise}}})
		}
	}
}

func pingCases(add func(conformanceCase)) {
	long := bytes.Repeat([]byte{0xfe}, 125)
	hello := []byte("Hello, world!")
	add(conformanceCase{id: "2.1", send: one(frame(fin|ping, nil)), want: []serverFrame{{fin | pong, []byte{}}}})
	add(conformanceCase{id: "2.2", send: one(frame(fin|ping, hello)), want: []serverFrame{{fin | pong, hello}}})
	add(conformanceCase{id: "2.3", send: one(frame(fin|ping, []byte{0, 255, 254})), want: []serverFrame{{fin | pong, []byte{0, 255, 254}}}})
	add(conformanceCase{id: "2.4", send: one(frame(fin|ping, long)), want: []serverFrame{{fin | pong, long}}})
	add(conformanceCase{id: "2.5", send: one(frame(fin|ping, append(long, 1))), code: 1002})
	add(conformanceCase{id: "2.6", send: octets(frame(fin|ping, long)), want: []serverFrame{{fin | pong, long}}})
	add(conformanceCase{id: "2.7", send: one(frame(fin|pong, nil))})
	add(conformanceCase{id: "2.8", send: one(frame(fin|pong, hello))})
	add(conformanceCase{id: "2.9", send: one(frame(fin|pong, hello), frame(fin|ping, []byte("x"))), want: []serverFrame{{fin | pong, []byte("x")}}})
	var pings [][]byte
	var pongs []serverFrame
	for i := range 10 {
		pings = append(pings, frame(fin|ping, []byte{byte(i)}))
		pongs = append(pongs, serverFrame{fin | pong, []byte{byte(i)}})
	}
	add(conformanceCase{id: "2.10", send: one(pings...), want: pongs})
	add(conformanceCase{id: "2.11", send: octets(bytes.Join(pings, nil)), want: pongs})
}

func reservedCases(add func(conformanceCase)) {
	hello := []byte("Hello, world!")
	for bits := byte(1); bits < 8; bits++ {
		add(conformanceCase{id: fmt.Sprintf("3.%d", bits), send: one(frame(whole, hello), frame(whole|bits<<4, hello), frame(fin|ping, nil)),
			want: []serverFrame{{whole, hello}}, code: 1002})
	}
	for op := byte(3); op < 16; op++ {
		if op >= 8 && op <= 10 {
			continue
		}
		add(conformanceCase{id: fmt.Sprintf("4.%d.%d", 1+op/8, op), send: one(frame(whole, hello), frame(fin|op, hello), frame(fin|ping, nil)),
			want: []serverFrame{{whole, hello}}, code: 1002})
		add(conformanceCase{id: fmt.Sprintf("4.%d.%d empty", 1+op/8, op), send: octets(frame(fin|op, nil)), code: 1002})
	}
	unmasked := append([]byte{whole, 5}, "Hello"...)
	add(conformanceCase{id: "mask", send: one(unmasked), code: 1002})
	add(conformanceCase{id: "length 16", send: one([]byte{whole, 0xfe, 0, 5, 0, 0, 0, 0}), code: 1002})
	add(conformanceCase{id: "length 64", send: one([]byte{whole, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}), code: 1002})
	add(conformanceCase{id: "length 63", send: one([]byte{whole, 0xff, 0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}), code: 1002})
	add(conformanceCase{id: "length huge", send: one([]byte{whole, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), code: 1009, early: true})
}

func fragmentCases(add func(conformanceCase)) {
	a, b, p := []byte("fragment1"), []byte("fragment2"), []byte("ping")
	both := []serverFrame{{whole, []byte("fragment1fragment2")}}
	answered := []serverFrame{{fin | pong, p}, both[0]}
	two := [][]byte{frame(text, a), frame(fin|cont, b)}
	mixed := [][]byte{frame(text, a), frame(fin|ping, p), frame(fin|cont, b)}
	add(conformanceCase{id: "5.1", send: [][]byte{frame(ping, a), frame(fin|cont, b)}, code: 1002})
	add(conformanceCase{id: "5.2", send: [][]byte{frame(pong, a), frame(fin|cont, b)}, code: 1002})
	add(conformanceCase{id: "5.3", send: one(two...), want: both})
	add(conformanceCase{id: "5.4", send: two, want: both})
	add(conformanceCase{id: "5.5", send: octets(bytes.Join(two, nil)), want: both})
	add(conformanceCase{id: "5.6", send: one(mixed...), want: answered})
	add(conformanceCase{id: "5.7", send: mixed, want: answered})
	add(conformanceCase{id: "5.8", send: octets(bytes.Join(mixed, nil)), want: answered})
	for i, first := range []byte{fin | cont, cont} {
		stray := [][]byte{frame(first, a), frame(whole, b)}
		for j, send := range [][][]byte{one(stray...), stray, octets(bytes.Join(stray, nil))} {
			add(conformanceCase{id: fmt.Sprintf("5.%d", 9+3*i+j), send: send, code: 1002})
		}
	}
	add(conformanceCase{id: "5.15", send: one(frame(text, a), frame(fin|cont, b), frame(cont, a), frame(whole, b)), want: both, code: 1002})
	add(conformanceCase{id: "5.16", send: one(frame(cont, a), frame(text, b), frame(fin|cont, a)), code: 1002})
	add(conformanceCase{id: "5.17", send: one(frame(fin|cont, a), frame(text, b), frame(fin|cont, a)), code: 1002})
	add(conformanceCase{id: "5.18", send: one(frame(text, a), frame(whole, b)), code: 1002})
	five := [][]byte{frame(text, a), frame(cont, b), frame(fin|ping, p), frame(cont, a), frame(cont, b), frame(fin|ping, p), frame(fin|cont, a)}
	want := []serverFrame{{fin | pong, p}, {fin | pong, p}, {whole, []byte("fragment1fragment2fragment1fragment2fragment1")}}
	add(conformanceCase{id: "5.19", send: one(five...), want: want})
	add(conformanceCase{id: "5.20", send: five, want: want})
	add(conformanceCase{id: "empty fragments", send: one(frame(text, nil), frame(cont, nil), frame(fin|cont, nil)), want: []serverFrame{{whole, []byte{}}}})
	add(conformanceCase{id: "close within a message", send: one(frame(text, a), frame(fin|shut, []byte{3, 232})), code: 1000, self: true})
}

// validTexts and invalidTexts are of the groups 6.5 to 6.23.
var validTexts = []string{
	"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", "\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80", "\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf",
	"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xef\xbf\xbe", "\xf0\x9f\xbf\xbe", "\xf3\xbf\xbf\xbf", "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
}

var invalidTexts = []string{
	"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf",
	"\xf4\x90\x80\x80", "\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80\xbf\x80\xbf", "\xc0 \xc1 \xdf ", "\xe0 \xef ", "\xf0 \xf7 ", "\xf8 \xfb ", "\xfc \xfd ", "\xc0", "\xe0\x80", "\xf0\x80\x80",
	"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xc0\xe0\x80\xf0\x80\x80", "\xfe", "\xff", "\xfe\xfe\xff\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
	"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80",
}

func textCases(add func(conformanceCase)) {
	for i, s := range validTexts {
		b := []byte(s)
		id := fmt.Sprintf("6.valid.%d", i)
		add(conformanceCase{id: id, send: one(frame(whole, b)), want: []serverFrame{{whole, b}}})
		add(conformanceCase{id: id + " octets", send: octets(frame(whole, b)), want: []serverFrame{{whole, b}}})
		var pieces [][]byte
		for j := range b {
			first := byte(cont)
			if j == 0 {
				first = text
			}
			pieces = append(pieces, frame(first, b[j:j+1]))
		}
		pieces = append(pieces, frame(fin|cont, nil))
		add(conformanceCase{id: id + " fragments", send: one(pieces...), want: []serverFrame{{whole, b}}})
	}
	for i, s := range invalidTexts {
		b := []byte(s)
		id := fmt.Sprintf("6.invalid.%d", i)
		add(conformanceCase{id: id, send: one(frame(whole, b)), code: 1007})
		add(conformanceCase{id: id + " fragments", send: one(frame(text, b[:len(b)/2]), frame(fin|cont, b[len(b)/2:])), code: 1007})
		add(conformanceCase{id: id + " octets", send: octets(frame(whole, b)), code: 1007})
	}
	// 6.4: wrong before the end of the message, of the frame, and of the character.
	begin, wrong := []byte("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"), []byte("\xf4\x90\x80\x80")
	add(conformanceCase{id: "6.4.1", send: [][]byte{frame(text, begin), frame(cont, wrong)}, code: 1007, early: true})
	add(conformanceCase{id: "6.4.2", send: [][]byte{frame(text, append(bytes.Clone(begin), 0xf4)), frame(cont, []byte{0x90})}, code: 1007, early: true})
	long := frame(whole, append(append(bytes.Clone(begin), wrong...), begin...))
	add(conformanceCase{id: "6.4.3", send: [][]byte{long[:6+len(begin)], long[6+len(begin) : 6+len(begin)+4]}, code: 1007, early: true})
	add(conformanceCase{id: "6.4.4", send: [][]byte{long[:6+len(begin)+1], long[6+len(begin)+1 : 6+len(begin)+2]}, code: 1007, early: true})
}

func closing(code int, reason string) []byte {
	return frame(fin|shut, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

func closeCases(add func(conformanceCase)) {
	hello := []byte("Hello World!")
	add(conformanceCase{id: "7.1.1", send: one(frame(whole, hello)), want: []serverFrame{{whole, hello}}})
	add(conformanceCase{id: "7.1.2", send: one(closing(1000, ""), closing(1000, "")), code: 1000, self: true})
	add(conformanceCase{id: "7.1.3", send: one(closing(1000, ""), frame(fin|ping, nil)), code: 1000, self: true})
	add(conformanceCase{id: "7.1.4", send: one(closing(1000, ""), frame(whole, hello)), code: 1000, self: true})
	add(conformanceCase{id: "7.1.5", send: one(frame(text, hello), closing(1000, ""), frame(fin|cont, hello)), code: 1000, self: true})
	large := bytes.Repeat([]byte("BAsd7&jh23"), 26214)
	add(conformanceCase{id: "7.1.6", send: one(frame(whole, large), frame(whole, hello), closing(1000, ""), frame(fin|ping, nil)),
		want: []serverFrame{{whole, large}, {whole, hello}}, code: 1000, self: true})
	add(conformanceCase{id: "7.3.1", send: one(frame(fin|shut, nil)), code: -1, self: true})
	add(conformanceCase{id: "7.3.2", send: one(frame(fin|shut, []byte("a"))), code: 1002})
	add(conformanceCase{id: "7.3.3", send: one(closing(1000, "")), code: 1000, self: true})
	add(conformanceCase{id: "7.3.4", send: one(closing(1000, "Hello World!")), code: 1000, self: true})
	add(conformanceCase{id: "7.3.5", send: one(closing(1000, strings.Repeat("*", 123))), code: 1000, self: true})
	add(conformanceCase{id: "7.3.6", send: one(closing(1000, strings.Repeat("*", 124))), code: 1002})
	add(conformanceCase{id: "7.5.1", send: one(closing(1000, invalidTexts[0])), code: 1007})
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(conformanceCase{id: fmt.Sprintf("7.7.%d", code), send: one(closing(code, "")), code: code, self: true})
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(conformanceCase{id: fmt.Sprintf("7.9.%d", code), send: one(closing(code, "")), code: 1002})
		add(conformanceCase{id: fmt.Sprintf("7.9.%d octets", code), send: octets(closing(code, "x")), code: 1002})
	}
}

const conformanceLimit = 1 << 20

func bigCases(add func(conformanceCase)) {
	noise := make([]byte, conformanceLimit)
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	letters := bytes.Repeat([]byte("*"), conformanceLimit)
	add(conformanceCase{id: "9.1", send: one(frame(whole, letters)), want: []serverFrame{{whole, letters}}})
	add(conformanceCase{id: "9.2", send: one(frame(fin|bin, noise)), want: []serverFrame{{fin | bin, noise}}})
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		add(conformanceCase{id: fmt.Sprintf("9.3.%d", size), send: one(inFragments(text, letters, size)...), want: []serverFrame{{whole, letters}}})
		add(conformanceCase{id: fmt.Sprintf("9.5.%d", size), send: chop(frame(fin|bin, noise), max(size, 1024)), want: []serverFrame{{fin | bin, noise}}})
	}
	add(conformanceCase{id: "10.1.1", send: one(inFragments(text, letters[:65536], 1300)...), want: []serverFrame{{whole, letters[:65536]}}})
	add(conformanceCase{id: "limit", send: one(frame(whole, append(letters, '*'))), code: 1009})
	add(conformanceCase{id: "limit fragments", send: one(frame(text, letters), frame(fin|cont, []byte("*"))), code: 1009})
}

func inFragments(first byte, b []byte, size int) (frames [][]byte) {
	for i, piece := range chop(b, size) {
		op := byte(cont)
		if i == 0 {
			op = first
		}
		if (i+1)*size >= len(b) {
			op |= fin
		}
		frames = append(frames, frame(op, piece))
	}
	return frames
}

// sample is the whole list, or with the race detector, which makes TLS many times slower and finds nothing new in the hundredth case,
// every nth of it.
func sample[T any](list []T, n int) (some []T) {
	if !raceDetector || testenv.Count(0, 1) == 1 {
		return list
	}
	for i := 0; i < len(list); i += n {
		some = append(some, list[i])
	}
	return some
}

func TestConformance(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{}, func(c *ws.EndpointConfig) {
		c.Limits.Message = conformanceLimit
		c.Limits.Queue = 4 * bytesize.MiB
		c.Limits.CloseTimeout = time.Second
	})
	cases := sample(conformanceCases(), 12)
	t.Logf("%d cases on each of %d carriers", len(cases), len(carriers))
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range cases {
				t.Run(c.id, func(t *testing.T) {
					w := *w
					w.t = t
					l := carrier.open(&w, nil)
					if !l.established() {
						t.Fatalf("handshake: %s", l.res.Status)
					}
					c.run(l)
				})
			}
		})
	}
}

// run plays a case.
func (c conformanceCase) run(l *link) {
	l.t.Helper()
	sent := make(chan struct{})
	go func() { // ends when everything is sent, or the connection is gone
		defer close(sent)
		for _, piece := range c.send {
			if _, err := l.Write(piece); err != nil {
				return
			}
		}
		if c.code == 0 {
			l.Write(closing(1000, ""))
		}
	}()
	for _, want := range c.want {
		got, err := l.next()
		if err != nil {
			l.t.Fatalf("waiting for %s: %v", want, err)
		}
		if got.first != want.first || !bytes.Equal(got.payload, want.payload) {
			l.t.Fatalf("got %s, want %s", got, want)
		}
	}
	want := c.code
	if want == 0 {
		want = 1000
	}
	l.expectClose(want)
	l.close()
	<-sent
}

// expectClose reads the server's close frame, with this code (-1: none), and the end of the connection.
func (l *link) expectClose(code int) {
	l.t.Helper()
	got, err := l.next()
	if err != nil {
		l.t.Fatalf("waiting for the close frame: %v", err)
	}
	has := -1
	if len(got.payload) >= 2 {
		has = int(binary.BigEndian.Uint16(got.payload))
	}
	if got.first != fin|shut || has != code {
		l.t.Fatalf("got %s (%d), want a close frame with %d", got, has, code)
	}
	go l.Write(closing(1000, "")) // ends with the connection
	if f, err := l.next(); err == nil {
		l.t.Fatalf("%s came behind the close frame", f)
	}
}

// squeeze compresses a message as a client does.
func squeeze(b []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.DefaultCompression)
	w.Write(b)
	w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 255, 255})
}

func unsqueeze(t testing.TB, b []byte) []byte {
	t.Helper()
	r := flate.NewReader(io.MultiReader(bytes.NewReader(b), bytes.NewReader([]byte{0, 0, 255, 255, 1, 0, 0, 255, 255})))
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("inflate: %v", err)
	}
	return plain
}

// TestCompression has the behaviour of the groups 12 and 13.
func TestCompression(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{}, func(c *ws.EndpointConfig) {
		c.Limits.Message, c.Limits.Queue = conformanceLimit, 4*bytesize.MiB
		c.Limits.CloseTimeout = time.Second
	})
	for _, carrier := range carriers {
		for _, offer := range sample([]string{
			"permessage-deflate", "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_max_window_bits; server_max_window_bits=9",
			"permessage-deflate; server_max_window_bits=8", "permessage-deflate; client_max_window_bits=9", `permessage-deflate; server_max_window_bits="12"`,
			"permessage-deflate; nonsense=1, permessage-deflate; server_no_context_takeover", "x-other, permessage-deflate",
		}, 4) {
			t.Run(carrier.name+"/"+offer, func(t *testing.T) {
				t.Parallel()
				w := *w
				w.t = t
				l := carrier.open(&w, http.Header{"Sec-Websocket-Extensions": {offer}})
				if got := l.res.Header.Get("Sec-Websocket-Extensions"); !strings.HasPrefix(got, "permessage-deflate; server_no_context_takeover; client_no_context_takeover") {
					t.Fatalf("agreed on %q", got)
				}
				for _, size := range sample([]int{0, 16, 64, 256, 1 << 10, 4 << 10, 64 << 10, 512 << 10}, 3) {
					for _, plain := range [][]byte{compressible(size), randomText(size)} {
						l.roundTrip(plain, size)
					}
				}
				l.Write(closing(1000, ""))
				l.expectClose(1000)
			})
		}
	}
}

// roundTrip sends a compressed message, in fragments when it is large, and reads the echo.
func (l *link) roundTrip(plain []byte, size int) {
	l.t.Helper()
	b := squeeze(plain)
	go func() { // ends with the echo
		if len(b) > 1000 {
			half := len(b) / 2
			l.send(frame(rsv1|text, b[:half]), frame(fin|ping, nil), frame(fin|cont, b[half:]))
			return
		}
		l.send(frame(rsv1|whole, b), frame(fin|ping, nil))
	}()
	for pongs := 0; ; {
		got, err := l.next()
		switch {
		case err != nil:
			l.t.Fatalf("%d bytes: %v", size, err)
		case got.first == fin|pong && pongs == 0:
			pongs++
			continue
		case got.first == rsv1|whole:
			got.payload = unsqueeze(l.t, got.payload)
		case got.first != whole:
			l.t.Fatalf("%d bytes: got %s", size, got)
		}
		if !bytes.Equal(got.payload, plain) {
			l.t.Fatalf("%d bytes came back as %d others", size, len(got.payload))
		}
		if pongs == 0 {
			if f, err := l.next(); err != nil || f.first != fin|pong {
				l.t.Fatalf("want a pong, got %s, %v", f, err)
			}
		}
		return
	}
}

func compressible(n int) []byte { return bytes.Repeat([]byte("Hello, world! "), n/14+1)[:n] }

func randomText(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(' ' + rand.IntN(90))
	}
	return b
}

func TestCompressionNotAgreed(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{})
	for _, offer := range []string{
		"permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=09", "permessage-deflate; client_max_window_bits=a", "permessage-deflate; server_no_context_takeover=1",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "permessage-deflate; other", "deflate-frame",
	} {
		l := w.openH1(http.Header{"Sec-Websocket-Extensions": {offer}})
		if !l.established() || l.res.Header.Get("Sec-Websocket-Extensions") != "" {
			t.Errorf("%s: %s, agreed on %q", offer, l.res.Status, l.res.Header.Get("Sec-Websocket-Extensions"))
		}
	}
}

func TestCompressedTrouble(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{}, func(c *ws.EndpointConfig) { c.Limits.CloseTimeout = time.Second })
	limit := int(ws.DefaultLimits().Message)
	bomb := squeeze(make([]byte, 64<<20))
	for _, c := range []struct {
		name string
		send []byte
		code int
	}{
		{"bomb", frame(rsv1|fin|bin, bomb), 1009},
		{"one byte too many", frame(rsv1|fin|bin, squeeze(make([]byte, limit+1))), 1009},
		{"garbage", frame(rsv1|fin|bin, []byte{0xff, 0xff, 0xff, 0xff}), 1007},
		{"not UTF-8", frame(rsv1|whole, squeeze([]byte(invalidTexts[0]))), 1007},
		{"half a character", frame(rsv1|whole, squeeze([]byte("\xe2\x82"))), 1007},
		{"a compressed ping", frame(rsv1|fin|ping, nil), 1002},
		{"a compressed continuation", append(frame(text, []byte("a")), frame(rsv1|fin|cont, []byte("b"))...), 1002},
	} {
		for _, carrier := range carriers {
			t.Run(carrier.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				w := *w
				w.t = t
				l := carrier.open(&w, http.Header{"Sec-Websocket-Extensions": {"permessage-deflate"}})
				go l.Write(c.send) // ends with the connection
				l.expectClose(c.code)
			})
		}
	}
}
