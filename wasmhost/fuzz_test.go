package wasmhost

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

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

// startLoops is minimal with a start function that does not end.
var startLoops = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x0d\x03\x60\x00\x01\x7e\x60\x02\x7f\x7f\x00\x60\x00\x00" +
	"\x03\x04\x03\x00\x01\x02" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x2d\x03\x06memory\x02\x00\x0ehandle_request\x00\x00\x0fhandle_response\x00\x01" +
	"\x08\x01\x02" +
	"\x0a\x11\x03\x04\x00\x42\x01\x0b\x02\x00\x0b\x07\x00\x03\x40\x0c\x00\x0b\x0b")

// fuzzLoader makes plugins without a compiler's costs on disk.
func fuzzLoader(t testing.TB) (*loader, *Plugin) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cache, err := openCache("", log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoader(cache, &Services{})
	if err != nil {
		t.Fatal(err)
	}
	config := defaultModule()
	config.Limits.Memory, config.Limits.Fuel, config.Limits.Time = 1<<20, 100_000, 50*time.Millisecond
	p, err := newPlugin("fuzz", "fuzz.wasm", true, config, log)
	if err != nil {
		t.Fatal(err)
	}
	return l, p
}

// FuzzModule: whatever the bytes, loading them ends with a plugin that can be closed or with an error. What
// the module does at its start is part of it: fuel ends that.
func FuzzModule(f *testing.F) {
	f.Add(minimal)
	f.Add(minimal[:len(minimal)-3])
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x0a\xff\xff\xff\xff\x0f"))
	f.Add(bytes.Replace(minimal, []byte("\x02\x00\x0b"), []byte("\x02\x00\x00"), 1))
	f.Add(startLoops)
	l, p := fuzzLoader(f)
	f.Fuzz(func(t *testing.T, module []byte) {
		emptyHandleResponse(module)
		g, err := l.load(p, module)
		if err != nil {
			return
		}
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestMinimalModule(t *testing.T) {
	t.Parallel()
	l, p := fuzzLoader(t)
	g, err := l.load(p, minimal)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if _, err := l.load(p, startLoops); err == nil || !strings.Contains(err.Error(), "limits.fuel") {
		t.Errorf("a start without end: %v", err)
	}
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

// FuzzHostFunctions calls every function that a guest may import, in every phase, with numbers that a guest may make up: pointers
// outside of memory, lengths of 4 GiB, handles that were never given. One of http_handler may trap, which is a panic with an error
// that is none of Go's own; one of Edge's own namespaces does not even that. What is returned is a result of its type.
func FuzzHostFunctions(f *testing.F) {
	var functions []fuzzed
	for _, n := range namespaces() {
		for _, fn := range n.functions {
			functions = append(functions, fuzzed{n.name, fn})
		}
	}
	for i := range functions {
		for at := range uint8(phaseWSClose) + 1 {
			f.Add(uint16(i), at, uint64(1), uint64(0), uint64(10), uint64(20), uint64(30), uint64(0), uint64(64), uint64(500))
		}
		f.Add(uint16(i), uint8(phaseRequest), uint64(0), uint64(0), uint64(10), uint64(20), uint64(30), uint64(40), uint64(50), uint64(60))
		f.Add(uint16(i), uint8(phaseResponse), uint64(1), uint64(1<<32-1), uint64(1<<32-1), uint64(65535), uint64(2), uint64(1<<63), uint64(1), uint64(1<<32-1))
		f.Add(uint16(i), uint8(phaseRequest), uint64(1), uint64(1<<32-16), uint64(64), uint64(1<<32-16), uint64(64), uint64(1<<32-1), uint64(1<<32-1), uint64(65535))
		f.Add(uint16(i), uint8(phaseStart), uint64(1<<63|3), uint64(1<<40|65530), uint64(1<<50|6), uint64(0), uint64(1<<32-1), uint64(1<<31), uint64(7), uint64(0))
	}
	gen := fuzzGeneration(f)
	f.Fuzz(func(t *testing.T, function uint16, at uint8, a, b, c, d, e, g, h, k uint64) {
		host := functions[int(function)%len(functions)]
		inst := &instance{Context: t.Context(), gen: gen, names: map[string]headerName{}, stdout: &lineWriter{log: gen.log}, stderr: &lineWriter{log: gen.log}}
		r := httptest.NewRequest("POST", "/path?query", strings.NewReader("the body of the request"))
		r.Header = http.Header{"Accept": {"a", "b"}, "X-Empty": {}}
		inst.begin(httptest.NewRecorder(), r)
		defer inst.end()
		inst.exchange.enable(uint32(e))
		inst.exchange.phase = phase(at) % (phaseWSClose + 1)
		inst.ext.route = &Decision{}
		inst.ext.handles.add(&answered{status: 200, header: r.Header, body: r.Body, cancel: func() {}, ctx: t.Context()})

		mem := wazerotest.NewFixedMemory(65536)
		copy(mem.Bytes, "accept\x00GET\x00/uri?x\x00x-name\x00")
		copy(mem.Bytes[64:], "GET /in\nx: y\n")
		copy(mem.Bytes[500:], abi.AppendOp(nil, abi.Op{Op: abi.OpGet, Key: []byte("k")}))
		stack := []uint64{a, b, c, d, e, g, h, k}
		defer func() {
			switch cause := recover().(type) {
			case nil:
				host.check(t, stack[0])
			case interface{ RuntimeError() }:
				panic(cause)
			case error:
				if host.module != abi.HostModule {
					t.Errorf("%s.%s traps: %v", host.module, host.name, cause)
				}
			default:
				t.Errorf("%s panics with %v, which is no error", host.name, cause)
			}
		}()
		host.call(inst, mem, stack)
	})
}

// FuzzDesk: whatever lies on a desk, the host does it, traps, and stays inside of the guest's memory.
func FuzzDesk(f *testing.F) {
	set := []byte("\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x20\x00\x00\x06\x00\x00\x00\x07\x20\x00\x00\x01\x00\x00\x00")
	f.Add(set, uint8(phaseRequest), "accept")
	f.Add(append(bytes.Clone(set[:4]), 9), uint8(phaseResponse), "host")
	f.Add(bytes.Repeat([]byte{255}, abi.DeskSize), uint8(phaseRequest), "x-empty")
	gen := fuzzGeneration(f)
	f.Fuzz(func(t *testing.T, content []byte, at uint8, asked string) {
		inst := &instance{Context: t.Context(), gen: gen, names: map[string]headerName{}, stdout: &lineWriter{log: gen.log}, stderr: &lineWriter{log: gen.log}}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"Accept": {strings.Repeat(asked, 9)}, "X-Empty": {}, "X-Two": {"a", "b"}}
		inst.begin(httptest.NewRecorder(), r)
		defer inst.end()
		inst.exchange.phase = phase(at) % (phaseWSClose + 1)
		mem := wazerotest.NewFixedMemory(65536)
		copy(mem.Bytes[8192:], "accept\x00v")
		inst.desk = desk{at: 4096, bytes: mem.Bytes[4096:][:abi.DeskSize:abi.DeskSize]}
		copy(inst.desk.bytes, content)
		defer func() {
			if cause := recover(); cause != nil {
				if _, ok := cause.(misuse); !ok {
					panic(cause)
				}
			}
		}()
		inst.desk.want([]byte(asked), http.CanonicalHeaderKey(asked))
		inst.layOut()
		inst.takeChanges(mem)
		inst.clearUp()
	})
}

// fuzzed is a function and where it is from.
type fuzzed struct {
	module string
	importable
}

func (f fuzzed) check(t *testing.T, result uint64) {
	results := f.signature.results
	if len(results) != 1 {
		return
	}
	if results[0] == i32 && result > 1<<32-1 {
		t.Errorf("%s.%s returns %#x as an i32", f.module, f.name, result)
	}
	n := int64(result)
	if results[0] == i32 {
		n = int64(int32(uint32(result)))
	}
	if f.module != abi.HostModule && (n < int64(abi.ErrPhase) || n == int64(abi.ErrInternal)) {
		t.Errorf("%s.%s returns %d, which is no result, or an error of the host's own", f.module, f.name, n)
	}
}

// fuzzGeneration is granted everything, and nothing of it leads anywhere but here.
func fuzzGeneration(f *testing.F) *generation {
	log := newGuestLog(slog.New(slog.DiscardHandler))
	gen := &generation{log: log, limits: defaultModule().Limits, config: "config", responds: true, name: "fuzz"}
	gen.limits.Time = 50 * time.Millisecond
	granted, err := newGrants(Allow{KV: []string{"accept"}, PHP: []string{"accept"}, Net: []string{"tcp://*:*", "http://*:*"}, Publish: []string{"*"}})
	if err != nil {
		f.Fatal(err)
	}
	gen.ext = genExt{plugin: &Plugin{descriptors: newDescriptors(sharePart, maxShare)}, namespaces: namespaces(), grants: granted, kinds: KindCron, services: &Services{
		Store:    func(string) Store { return fuzzStore{} },
		Pool:     func(string) http.Handler { return http.NotFoundHandler() },
		HasRoute: func(string) bool { return true },
		Hub:      fuzzHub{},
	}}
	gen.ext.network = newNetwork(&gen.ext.grants, &gen.ext.plugin.descriptors)
	gen.ext.network.resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, context.DeadlineExceeded }
	return gen
}

type fuzzStore struct{}

func (fuzzStore) Get(context.Context, string) (Entry, error) {
	return Entry{Found: true, Value: make([]byte, 100), Version: 1}, nil
}
func (fuzzStore) Set(context.Context, string, []byte, SetOptions) error             { return nil }
func (fuzzStore) Delete(context.Context, string, int64) error                       { return nil }
func (fuzzStore) Expire(context.Context, string, time.Duration) (bool, error)       { return true, nil }
func (fuzzStore) Incr(context.Context, string, int64, time.Duration) (int64, error) { return 1, nil }
func (fuzzStore) Scan(context.Context, string, []byte, int) ([]string, []byte, error) {
	return []string{"a", "b"}, []byte("next"), nil
}

type fuzzHub struct{}

func (fuzzHub) Send(string, int64, uint32, []byte) error  { return nil }
func (fuzzHub) Publish(string, uint32, []byte) error      { return nil }
func (fuzzHub) Subscribe(string, int64, string) error     { return nil }
func (fuzzHub) Unsubscribe(string, int64, string) error   { return nil }
func (fuzzHub) Close(string, int64, uint32, string) error { return nil }

func (fuzzHub) User(string, int64) (string, error)              { return "anna", nil }
func (fuzzHub) SetUser(string, int64, string) error             { return nil }
func (fuzzHub) Get(_ string, _ int64, n string) (string, error) { return n, nil }
func (fuzzHub) Set(string, int64, string, string) error         { return nil }

// FuzzGrants: a rule never permits a host that it does not name, whatever is written in either.
func FuzzGrants(f *testing.F) {
	f.Add("tcp://redis:6379 private", "redis", "6379")
	f.Add("https://*.example.com/v1/*", "a.example.com", "443")
	f.Add("tcp://10.0.0.0/8:6379", "10.1.2.3", "6379")
	f.Add("tcp://[::1]:1", "::1", "1")
	f.Fuzz(func(t *testing.T, entry, host, port string) {
		rule, err := parseNetRule(entry)
		if err != nil || !rule.meets(host, port) {
			return
		}
		if rule.network.IsValid() || rule.host == "*" {
			return
		}
		if want := strings.TrimPrefix(rule.host, "*"); !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), want) {
			t.Errorf("%q permits %q", entry, host)
		}
	})
}

// FuzzRequestHead: what is read as a request can be sent as one, and has no line that the guest smuggled in.
func FuzzRequestHead(f *testing.F) {
	f.Add("POST https://api.example.com/v1?x=1\ncontent-type: text/plain\n")
	f.Add("GET /\nx: a\rb\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRequestHead(text, "/path")
		if err != nil {
			return
		}
		if r.URL.Host == "" {
			r.URL.Scheme, r.URL.Host, r.Host = "http", "host", "host"
		}
		var out bytes.Buffer
		if r.Write(&out) != nil {
			return
		}
		if lines, most := strings.Count(out.String(), "\n"), strings.Count(text, "\n")+6; lines > most {
			t.Errorf("%q became %q", text, out.String())
		}
	})
}

// FuzzPage and the manifest: what a guest answers is read without a panic.
func FuzzPage(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01\x00\x00\x00a"))
	f.Fuzz(func(t *testing.T, page []byte) {
		keys, _, err := readPage(page)
		if size := 0; err == nil {
			for _, key := range keys {
				size += len(key)
			}
			if size > len(page) {
				t.Errorf("%d bytes of keys out of a page of %d", size, len(page))
			}
		}
		_, _ = ReadManifest(append([]byte("\x00asm\x01\x00\x00\x00"), page...))
	})
}
