package wasmhost_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// together sends n requests that are all with the handler inside of p at one moment, so that each has an instance of its
// own, and returns the answers.
func together(t *testing.T, p *wasmhost.Plugin, n int) []answer {
	t.Helper()
	next := newBlocked()
	s := httptest.NewServer(p.Middleware(next))
	defer s.Close() // not at the end of the test, which may do this as often as the machine allows
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		answered := make(chan struct{})
		wg.Go(func() {
			answers[i] = do(t, s, "GET", "/", nil)
			close(answered)
		})
		select {
		case <-next.entered:
		case <-answered:
			t.Errorf("request %d was answered with %d before it came through: %s", i, answers[i].StatusCode, p.Stats().LastError)
		}
	}
	close(next.release)
	wg.Wait()
	return answers
}

// counting is a guest with state in a global and in memory; the answer's status is 200 + what it finds there.
var counting = wat{
	start: bufferResponse + `(call $log (i32.const 0) (str "started")) (i32.store (i32.const 100) (i32.const 3)) (global.set $g (i32.const 4))`,
	request: `(i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (i32.const 1)))
		(global.set $g (i32.add (global.get $g) (i32.const 1)))` + pass,
	response: `(call $set_status_code (i32.add (i32.const 200) (i32.mul (i32.load (i32.const 100)) (global.get $g))))
		(i32.store (i32.const 100) (i32.const 50)) (global.set $g (i32.const 9))`,
	more: `(global $g (mut i32) (i32.const 0))`,
}

// TestStartRunsOnce: instances are copies of one that started, and what one does no other sees.
func TestStartRunsOnce(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	cfg := moduleConfig()
	cfg.Instances.Min = 3
	p := plugin(t, counting.compile(t), cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	for i, got := range together(t, p, 6) {
		if got.StatusCode != 200+4*5 {
			t.Errorf("instance %d: status = %d, want the first request's: %s", i, got.StatusCode, p.Stats().LastError)
		}
	}
	if n := strings.Count(log.String(), "msg=started"); n != 1 {
		t.Errorf("the start function ran %d times, want once:\n%s", n, log.String())
	}
	if st := p.Stats(); st.Idle != 6 {
		t.Errorf("stats = %+v, want six instances", st)
	}
}

// TestIsolatedRequests: with `isolation: request` nothing of a request is left for the next one, and without it is.
func TestIsolatedRequests(t *testing.T) {
	t.Parallel()
	for isolation, want := range map[string]string{
		wasmhost.IsolateRequest:  "[220 220 220 220]",
		wasmhost.IsolateInstance: "[220 710 710 710]", // (50+1)*(9+1)
	} {
		cfg := moduleConfig()
		cfg.Isolation = isolation
		cfg.Instances.Max = 1
		p := plugin(t, counting.compile(t), cfg, wasmhost.Options{})
		s := serve(t, p.Middleware(echo))
		var statuses []int
		for range 4 {
			statuses = append(statuses, do(t, s, "GET", "/", nil).StatusCode)
		}
		if got := fmt.Sprint(statuses); got != want {
			t.Errorf("isolation %s: statuses = %s, want %s (%s)", isolation, got, want, p.Stats().LastError)
		}
	}
}

// TestIsolationWithoutTemplate: a guest that cannot be copied is started for each request instead.
func TestIsolationWithoutTemplate(t *testing.T) {
	t.Parallel()
	const random = `(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))`
	for name, tt := range map[string]struct {
		imports, start, more string
		started              int // of three requests one after the other
	}{
		"copied":        {started: 1},
		"says so":       {more: `(func (export "edge_no_clone"))`, started: 4},
		"drew":          {imports: random, start: `(drop (call $random (i32.const 0) (i32.const 8)))`, started: 4},
		"drew, reseeds": {imports: random, start: `(drop (call $random (i32.const 0) (i32.const 8)))`, more: `(func (export "edge_after_clone"))`, started: 1},
		"changes tables": {more: `(table $t 2 funcref) (elem declare func $f)
			(func $f) (func (export "f") (table.set $t (i32.const 0) (ref.func $f)))`, started: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := counting
			g.imports, g.start, g.more = tt.imports, g.start+tt.start, g.more+tt.more
			var log testenv.Log
			cfg := moduleConfig()
			cfg.Isolation = wasmhost.IsolateRequest
			p := plugin(t, g.compile(t), cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
			s := serve(t, p.Middleware(echo))
			for range 3 {
				if got := do(t, s, "GET", "/", nil).StatusCode; got != 220 {
					t.Errorf("status = %d, want 220 (%s)", got, p.Stats().LastError)
				}
			}
			if why := p.Stats().NotCloned; (why == "") != (tt.started == 1) {
				t.Errorf("stats say %q about copies", why)
			}
			// The instance of the last request is not replaced before somebody needs it.
			if n := strings.Count(log.String(), "msg=started"); n != tt.started && n != tt.started-1 {
				t.Errorf("it started %d times, want %d", n, tt.started)
			}
		})
	}
}

// TestGrownInstancesAreDiscarded: a memory cannot shrink, so an instance that grew is not used again, and requests do not
// come nearer to limits.memory one by one.
func TestGrownInstancesAreDiscarded(t *testing.T) {
	t.Parallel()
	g := wat{request: `(if (i32.ne (memory.grow (i32.const 4)) (i32.const 2)) (then unreachable))
		(i32.store (i32.mul (i32.const 65536) (i32.const 5)) (i32.const 1))` + done}
	cfg := moduleConfig()
	cfg.Isolation = wasmhost.IsolateRequest
	cfg.Limits.Memory = 8 * 64 * bytesize.KiB
	p := plugin(t, g.compile(t), cfg, wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	for range 50 {
		if got := do(t, s, "GET", "/", nil); got.StatusCode != 200 {
			t.Fatalf("status = %d: %s", got.StatusCode, p.Stats().LastError)
		}
	}
	if st := p.Stats(); st.Idle != 0 || st.Busy != 0 {
		t.Errorf("stats = %+v, want no instance kept", st)
	}
}

// TestWarmUpIsInTheTemplate: what edge_warm_up does is there in every instance, and grows no instance afterwards.
func TestWarmUpIsInTheTemplate(t *testing.T) {
	t.Parallel()
	g := counting
	g.more += `(func (export "edge_warm_up") (drop (memory.grow (i32.const 3))) (i32.store (i32.const 200000) (i32.const 77)))`
	g.request = `(if (i32.ne (i32.load (i32.const 200000)) (i32.const 77)) (then unreachable)) (i32.store (i32.const 200000) (i32.const 1))` + g.request
	cfg := moduleConfig()
	cfg.Isolation = wasmhost.IsolateRequest
	p := plugin(t, g.compile(t), cfg, wasmhost.Options{})
	for range 2 {
		for _, got := range together(t, p, 3) {
			if got.StatusCode != 220 {
				t.Errorf("status = %d: %s", got.StatusCode, p.Stats().LastError)
			}
		}
	}
	if st := p.Stats(); st.Idle != 3 {
		t.Errorf("stats = %+v, want the three instances kept", st)
	}
}

// TestAfterClone runs in each copy, and before each request that is to find a fresh one; a trap in it costs the instance.
func TestAfterClone(t *testing.T) {
	t.Parallel()
	g := counting
	g.more += `(func (export "edge_after_clone") (call $log (i32.const 0) (str "cloned")) (global.set $g (i32.const 7)))`
	var log testenv.Log
	cfg := moduleConfig()
	cfg.Isolation = wasmhost.IsolateRequest
	p := plugin(t, g.compile(t), cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	s := serve(t, p.Middleware(echo))
	for range 3 {
		if got := do(t, s, "GET", "/", nil); got.StatusCode != 200+4*8 {
			t.Errorf("status = %d, want what edge_after_clone set: %s", got.StatusCode, p.Stats().LastError)
		}
	}
	if n := strings.Count(log.String(), "msg=cloned"); n != 4 {
		t.Errorf("edge_after_clone ran %d times, want once for the instance and once after each request", n)
	}
}

// TestGoRandomnessIsNotShared: copies of a Go guest draw different numbers, and so does one instance in each request.
func TestGoRandomnessIsNotShared(t *testing.T) {
	t.Parallel()
	checkRandomness(t, goGuest(t, "./wasmhost/testdata/gorandom"), true)
}

// TestTinyGoRandomnessIsNotShared: its generator, crypto/rand's too, is that of wasi-libc, whose state nobody can seed anew. So there
// are no copies.
func TestTinyGoRandomnessIsNotShared(t *testing.T) {
	t.Parallel()
	checkRandomness(t, read(t, testenv.TinyGoGuest(t, "./wasmhost/testdata/gorandom")), false)
}

func checkRandomness(t *testing.T, module []byte, cloned bool) {
	t.Helper()
	for _, isolation := range []string{wasmhost.IsolateInstance, wasmhost.IsolateRequest} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			var log testenv.Log
			cfg := moduleConfig()
			cfg.Isolation = isolation
			p := plugin(t, module, cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
			seen := map[string]bool{}
			for range 3 {
				for _, got := range together(t, p, 4) {
					random := got.Header.Get("X-Random")
					if random == "" || seen[random] {
						t.Errorf("random = %q after %d others: %s", random, len(seen), p.Stats().LastError)
					}
					seen[random] = true
				}
			}
			if n := strings.Count(log.String(), "msg=started"); (n == 1) != cloned {
				t.Errorf("the guest started %d times; are there copies of it? want %t", n, cloned)
			}
		})
	}
}

// TestTrappedInstanceIsHealed: a guest that traps every other request keeps one instance, which is as new each time.
func TestTrappedInstanceIsHealed(t *testing.T) {
	t.Parallel()
	g := counting
	g.start += `(call $log (i32.const 0) (str "started"))`
	g.request += `(drop)
		(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (str "x-trap") (i32.const 0) (i32.const 99))) (then unreachable))` + pass
	cfg := moduleConfig()
	cfg.Instances.Max = 1
	cfg.Limits.Wait = time.Second
	p := plugin(t, g.compile(t), cfg, wasmhost.Options{})
	s := serve(t, p.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	for range 20 {
		if got := do(t, s, "GET", "/", nil, "X-Trap", "1"); got.StatusCode != 500 {
			t.Fatalf("status = %d, want 500", got.StatusCode)
		}
		if got := do(t, s, "GET", "/", nil); got.StatusCode != 220 {
			t.Fatalf("status = %d, want that of a fresh instance", got.StatusCode)
		}
	}
	if st := p.Stats(); st.Traps != 20 || st.Idle != 1 {
		t.Errorf("stats = %+v, want 20 traps and the instance", st)
	}
}

// TestServingDoesNotWaitForCompiling: while a large module is being compiled, requests go on with what was there.
func TestServingDoesNotWaitForCompiling(t *testing.T) {
	t.Parallel()
	large := goGuest(t, "./wasmhost/testdata/goguest")
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, wat{}.compile(t))
	cfg := moduleConfig()
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
	p, _ := h.Plugin("p")

	write(t, file, large)
	var loaded atomic.Bool
	done := make(chan error, 1)
	go func() {
		err := h.Reload(context.Background())
		loaded.Store(true)
		done <- err
	}()
	served := 0
	for !loaded.Load() {
		// New instances are needed, too: several requests at once.
		for _, got := range together(t, p, 2) {
			if got.StatusCode != 200 {
				t.Fatalf("status = %d: %s", got.StatusCode, p.Stats().LastError)
			}
		}
		if p.Stats().Generation == 1 {
			served++
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if served < 2 {
		t.Errorf("%d rounds of requests were served during the compiling", served)
	}
	t.Logf("%d rounds during the compiling", served)
}

// TestIsolationUnderLoad: with few instances, traps among the requests and the plugin being replaced, every request finds the
// template.
func TestIsolationUnderLoad(t *testing.T) {
	t.Parallel()
	g := counting
	g.request += `(drop)
		(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (str "x-trap") (i32.const 0) (i32.const 99))) (then unreachable))
		(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (str "x-grow") (i32.const 0) (i32.const 99))) (then (drop (memory.grow (i32.const 1)))))` + pass
	modules := [2][]byte{g.compile(t), nil}
	g.more += `(func (export "edge_after_clone"))`
	modules[1] = g.compile(t)
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, modules[0])
	cfg := moduleConfig()
	cfg.File = file
	cfg.Isolation = wasmhost.IsolateRequest
	cfg.Instances.Max = 3
	cfg.Limits.Wait = 30 * time.Second
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
	p, _ := h.Plugin("p")
	s := serve(t, p.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				header, want := "X-None", 220
				switch (i + worker) % 5 {
				case 0:
					header, want = "X-Trap", 500
				case 1:
					header = "X-Grow"
				}
				if got := do(t, s, "GET", "/", nil, header, "1").StatusCode; got != want {
					t.Errorf("status = %d with %s, want %d: %s", got, header, want, p.Stats().LastError)
					return
				}
			}
		})
	}
	for i := range testenv.Count(10, 500) {
		write(t, file, modules[(i+1)%2])
		if err := h.Reload(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if st := p.Stats(); st.Refused != 0 || st.Busy != 0 || st.Idle > 3 {
		t.Errorf("stats = %+v, want nobody refused and all instances back", st)
	}
}
