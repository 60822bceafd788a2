//go:build linux && !race

package wasmhost_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// The tests of this file look at the whole process and therefore do not run beside others, nor with the race detector, which
// takes memory of its own: `make test` runs them without it.

// footprint returns the heap that is in use and the memory the process takes, in bytes, after a cleanup.
func footprint(t testing.TB) (heap, resident int64) {
	t.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), status(t, "VmRSS") << 10
}

// status reads a number of /proc/self/status.
func status(t testing.TB, field string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("this platform does not tell: %v", err)
	}
	_, after, _ := strings.Cut(string(text), "\n"+field+":")
	n, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDensityOfInstances: a thousand instances of a small guest take at most 100 MB, and those of a Go guest share what they
// do not write to.
func TestDensityOfInstances(t *testing.T) {
	for name, tt := range map[string]struct {
		module []byte
		count  int
		most   int64 // bytes for each
	}{
		"c":  {guest(t, "header.c"), testenv.Count(200, 1000), 100 << 10},
		"go": {goGuest(t, "./wasmhost/testdata/goheader"), testenv.Count(20, 100), 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := moduleConfig()
			cfg.Instances.Max = tt.count + 1
			p := plugin(t, tt.module, cfg, wasmhost.Options{})
			run := func(n int) {
				var wg sync.WaitGroup
				next := newBlocked()
				next.entered = make(chan struct{}, n)
				h := p.Middleware(next)
				for range n {
					wg.Go(func() { h.ServeHTTP(nullWriter{http.Header{}}, benchRequest()) })
					<-next.entered
				}
				close(next.release)
				wg.Wait()
			}
			run(1)
			heap, before := footprint(t)
			run(tt.count + 1)
			heapAfter, after := footprint(t)
			if st := p.Stats(); st.Idle != tt.count+1 || st.Errors != 0 {
				t.Fatalf("stats = %+v, want %d idle instances", st, tt.count+1)
			}
			each := (after - before) / int64(tt.count)
			t.Logf("%d instances take %d KiB each after one request, %d of it the host's own", tt.count, each>>10,
				(heapAfter-heap)/int64(tt.count)>>10)
			if each > tt.most {
				t.Errorf("an instance takes %d bytes, want at most %d", each, tt.most)
			}
		})
	}
}

// TestDensityOfBlockedGuests: guests that wait for the bodies of their requests are goroutines that wait for sockets.
func TestDensityOfBlockedGuests(t *testing.T) {
	n := testenv.Count(100, 500)
	cfg := moduleConfig()
	cfg.Instances.Max = n
	p := plugin(t, wat{request: `(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 100)))` + pass}.compile(t), cfg, wasmhost.Options{})
	s := serve(t, p.Middleware(nothing))
	do(t, s, "POST", "/", strings.NewReader("warm"))
	before := status(t, "Threads")

	var wg sync.WaitGroup
	var failed atomic.Int64
	bodies := make([]*io.PipeWriter, n)
	for i := range n {
		var body *io.PipeReader
		body, bodies[i] = io.Pipe()
		wg.Go(func() {
			res, err := s.Client().Post(s.URL, "text/plain", body)
			if err != nil || res.StatusCode != 200 {
				failed.Add(1)
			}
			if err == nil {
				res.Body.Close()
			}
		})
	}
	testenv.Eventually(t, "all guests wait", func() bool { return p.Stats().Busy == n })
	if added := status(t, "Threads") - before; added > int64(runtime.NumCPU()) {
		t.Errorf("%d guests that wait added %d threads", n, added)
	}
	for _, body := range bodies {
		body.Close()
	}
	wg.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d requests failed: %s", failed.Load(), p.Stats().LastError)
	}
}

// TestDensityOfSwapsUnderLoad: twenty plugins in one chain are replaced again and again. No request fails, and nothing is left of
// what was replaced.
func TestDensityOfSwapsUnderLoad(t *testing.T) {
	const plugins = 20
	rounds := testenv.Count(6, 500)
	dir := testenv.Dir(t)
	module := func(plugin, version int) []byte {
		return wat{
			request: fmt.Sprintf(`(call $add_header_value (i32.const 0) (str "x-seen") (str "%d"))`, plugin) + pass,
			start:   fmt.Sprintf(`(i32.store (i32.const 0) (i32.const %d))`, version),
		}.compile(t)
	}
	modules := map[string]wasmhost.ModuleConfig{}
	var versions [plugins][2][]byte
	file := func(i int) string { return filepath.Join(dir, fmt.Sprintf("p%d.wasm", i)) }
	for i := range plugins {
		versions[i] = [2][]byte{module(i, 1), module(i, 2)}
		write(t, file(i), versions[i][0])
		cfg := moduleConfig()
		cfg.File = file(i)
		modules[fmt.Sprintf("p%d", i)] = cfg
	}
	h := host(t, wasmhost.Config{Modules: modules}, wasmhost.Options{CacheDir: filepath.Join(dir, "cache")})
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strconv.Itoa(len(r.Header["X-Seen"])))
	})
	for name := range modules {
		p, _ := h.Plugin(name)
		handler = p.Middleware(handler)
	}
	s := serve(t, handler)

	var wg sync.WaitGroup
	var requests atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := do(t, s, "GET", "/", nil); got.StatusCode != 200 || got.body != strconv.Itoa(plugins) {
					t.Errorf("answer = %d %q, want %d plugins", got.StatusCode, got.body, plugins)
					return
				}
				requests.Add(1)
			}
		})
	}
	var heap, resident int64
	for round := range rounds {
		for i := range plugins {
			write(t, file(i), versions[i][(round+1)%2])
		}
		if err := h.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		if round == rounds/10+1 {
			heap, resident = footprint(t)
		}
	}
	close(stop)
	wg.Wait()
	for _, st := range h.Stats() {
		if st.Generation != uint64(rounds)+1 || st.Errors != 0 || st.Refused != 0 {
			t.Errorf("stats = %+v, want generation %d and no error", st, rounds+1)
		}
	}
	time.Sleep(100 * time.Millisecond) // the last generations are being closed
	heapAfter, residentAfter := footprint(t)
	t.Logf("%d requests during %d swaps; heap %d → %d KiB, resident %d → %d KiB", requests.Load(), rounds*plugins,
		heap>>10, heapAfter>>10, resident>>10, residentAfter>>10)
	const slack = 4 << 20 // of a small process, in short runs
	if heapAfter > heap*11/10+slack || residentAfter > resident*11/10+slack {
		t.Error("memory grew by more than a tenth")
	}
}

// BenchmarkLoadMany loads a hundred small plugins from a warm cache: what a restart takes.
func BenchmarkLoadMany(b *testing.B) {
	const plugins = 100
	dir := testenv.Dir(b)
	cache := filepath.Join(testenv.Dir(b), "cache")
	base := guest(b, "header.c")
	for i := range plugins { // another header makes each another module
		module := bytes.ReplaceAll(base, []byte("x-seen"), fmt.Appendf(nil, "x-%04d", i))
		write(b, filepath.Join(dir, fmt.Sprintf("p%03d.wasm", i)), module)
	}
	load := func() {
		cfg := wasmhost.DefaultConfig()
		cfg.Dir = dir
		h := host(b, cfg, wasmhost.Options{CacheDir: cache})
		if n := len(h.Unnamed()); n != plugins {
			b.Fatalf("%d plugins were loaded, want %d", n, plugins)
		}
	}
	load()
	for b.Loop() {
		load()
	}
}
