package wasmhost

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/experimental/wazerotest"

	"github.com/edge-server/edge/sdk/abi"
)

// minimal is the smallest plugin: memory, handle_request that passes on, handle_response that does nothing.
var minimal = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x0a\x02\x60\x00\x01\x7e\x60\x02\x7f\x7f\x00" + // types: () -> i64, (i32, i32) -> ()
	"\x03\x03\x02\x00\x01" + // functions
	"\x05\x03\x01\x00\x01" + // one page of memory
	"\x07\x2d\x03\x06memory\x02\x00\x0ehandle_request\x00\x00\x0fhandle_response\x00\x01" +
	"\x0a\x09\x02\x04\x00\x42\x01\x0b\x02\x00\x0b") // code: i64.const 1; nothing

// fuzzLoader makes plugins without a compiler's costs on disk.
func fuzzLoader(t testing.TB) (*loader, *Plugin) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cache, err := openCache("", log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoader(cache)
	if err != nil {
		t.Fatal(err)
	}
	config := defaultModule()
	config.Limits.Memory = 1 << 20
	p, err := newPlugin("fuzz", "fuzz.wasm", true, config, log)
	if err != nil {
		t.Fatal(err)
	}
	return l, p
}

// FuzzModule: whatever the bytes, loading them ends with a plugin that can be closed or with an error. Start functions are
// left out, since nothing bounds how long a guest computes.
func FuzzModule(f *testing.F) {
	f.Add(minimal)
	f.Add(minimal[:len(minimal)-3])
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x0a\xff\xff\xff\xff\x0f"))
	f.Add(bytes.Replace(minimal, []byte("\x02\x00\x0b"), []byte("\x02\x00\x00"), 1))
	l, p := fuzzLoader(f)
	f.Fuzz(func(t *testing.T, module []byte) {
		emptyHandleResponse(module)
		if bytes.Contains(module, []byte(abi.Start)) || bytes.Contains(module, []byte(abi.Initialize)) ||
			bytes.Contains(module, []byte(abi.NoResponse)) || hasSection(module, 8) {
			return
		}
		g, err := l.load(p, module)
		if err != nil {
			return
		}
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
}

func hasSection(module []byte, want byte) bool {
	if len(module) < 8 {
		return false
	}
	for rest := reader(module[8:]); len(rest) > 0; {
		id, err := rest.byte()
		if err != nil || id == want {
			return true
		}
		if _, err := rest.bytes(); err != nil {
			return true
		}
	}
	return false
}

func TestMinimalModule(t *testing.T) {
	t.Parallel()
	l, p := fuzzLoader(t)
	g, err := l.load(p, minimal)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if g.responds {
		t.Error("an empty handle_response counts as one that does something")
	}
}

// FuzzList: a packed list gives the same items back, and never writes outside of its place.
func FuzzList(f *testing.F) {
	f.Add("accept,host", uint32(8), uint32(100))
	f.Add("", uint32(0), uint32(0))
	f.Add("a\x00b,,C", uint32(65530), uint32(6))
	f.Add("x", uint32(1<<32-1), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, joined string, buf, limit uint32) {
		items := strings.Split(joined, ",")
		mem := wazerotest.NewFixedMemory(65536)
		packed, trapped := func() (packed abi.CountLen, trapped bool) {
			defer func() { trapped = recover() != nil }()
			return abi.CountLen(writeList(mem, buf, limit, items, false)), false
		}()
		length := uint32(len(joined) + 1)
		fits, inside := length <= limit, uint64(buf)+uint64(length) <= 65536
		switch {
		case trapped != (fits && !inside):
			t.Fatalf("trapped = %v with %d bytes at %d, limit %d", trapped, length, buf, limit)
		case trapped:
			return
		case packed != abi.PackCountLen(uint32(len(items)), length):
			t.Fatalf("result = %d<<32 | %d, want %d<<32 | %d", packed.Count(), packed.Len(), len(items), length)
		}
		var got []string
		if fits {
			abi.SplitList(mem.Bytes[buf:buf+length], func(item []byte) bool {
				got = append(got, string(item))
				return true
			})
		}
		if want := strings.Split(strings.ReplaceAll(joined, "\x00", " "), ","); fits && !slices.Equal(got, want) {
			t.Errorf("items = %q, want %q", got, want)
		}
		for i, b := range mem.Bytes {
			if b != 0 && (!fits || uint32(i) < buf || uint32(i) >= buf+length) {
				t.Fatalf("byte %d outside of the list was written", i)
			}
		}
	})
}

// FuzzHostFunctions calls every function of http_handler with numbers a guest may make up. It may trap, which is a panic
// with an error that is none of Go's own, and nothing else.
func FuzzHostFunctions(f *testing.F) {
	for i := range httpHandler {
		f.Add(uint8(i), uint8(phaseRequest), uint64(0), uint64(0), uint64(10), uint64(20), uint64(30))
		f.Add(uint8(i), uint8(phaseResponse), uint64(1), uint64(1<<32-1), uint64(1<<32-1), uint64(65535), uint64(2))
		f.Add(uint8(i), uint8(phaseStart), uint64(1<<63|3), uint64(1<<40|65530), uint64(1<<50|6), uint64(0), uint64(1<<32-1))
	}
	log := newGuestLog(slog.New(slog.DiscardHandler))
	limits := defaultModule().Limits
	f.Fuzz(func(t *testing.T, function, at uint8, a, b, c, d, e uint64) {
		host := httpHandler[int(function)%len(httpHandler)]
		gen := &generation{log: log, limits: limits, config: "config", responds: true}
		inst := &instance{Context: context.Background(), gen: gen, names: map[string]string{}, stderr: &lineWriter{log: log}}
		r := httptest.NewRequest("POST", "/path?query", strings.NewReader("the body of the request"))
		r.Header = http.Header{"Accept": {"a", "b"}, "X-Empty": {}}
		inst.begin(httptest.NewRecorder(), r)
		inst.exchange.enable(uint32(e))
		inst.exchange.phase = []phase{phaseStart, phaseRequest, phaseResponse}[int(at)%3]

		mem := wazerotest.NewFixedMemory(65536)
		copy(mem.Bytes, "accept\x00GET\x00/uri?x\x00x-name\x00")
		stack := []uint64{a, b, c, d, e}
		defer func() {
			switch cause := recover().(type) {
			case nil, errBodyTooLarge, errClientBody:
			case interface{ RuntimeError() }:
				panic(cause)
			case error:
			default:
				t.Errorf("%s panics with %v, which is no error", host.name, cause)
			}
		}()
		host.call(inst, mem, stack)
		if len(host.results) == 1 && host.results[0] == i32 && stack[0] > 1<<32-1 {
			t.Errorf("%s returns %#x as an i32", host.name, stack[0])
		}
	})
}
