package wasmhost_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// blocked is a handler that holds its requests until release is closed.
type blocked struct {
	entered chan struct{}
	release chan struct{}
}

func newBlocked() *blocked { return &blocked{make(chan struct{}, 100), make(chan struct{})} }

func (b *blocked) ServeHTTP(http.ResponseWriter, *http.Request) {
	b.entered <- struct{}{}
	<-b.release
}

// TestInstancesAreBounded: with all of them busy, a request waits for limits.wait and gets 503, never more instances.
func TestInstancesAreBounded(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Instances.Max = 2
	cfg.Limits.Wait = 20 * time.Millisecond
	p := plugin(t, wat{}.compile(t), cfg, wasmhost.Options{})
	next := newBlocked()
	s := serve(t, p.Middleware(next))

	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { do(t, s, "GET", "/", nil) })
	}
	<-next.entered
	<-next.entered
	got := do(t, s, "GET", "/", nil)
	if got.StatusCode != 503 || got.Header.Get("Retry-After") != "1" {
		t.Errorf("answer = %d, Retry-After %q; want 503 and 1", got.StatusCode, got.Header.Get("Retry-After"))
	}
	if st := p.Stats(); st.Busy != 2 || st.Idle != 0 || st.Waits != 1 || st.Refused != 1 {
		t.Errorf("stats = %+v, want 2 busy, 1 wait, 1 refused", st)
	}
	close(next.release)
	wg.Wait()
	testenv.Eventually(t, "both are idle", func() bool { return p.Stats().Idle == 2 })
}

// TestWaitersAreServed: a request that waits gets the instance that is given back, and one in whose turn an instance was
// thrown away makes a new one.
func TestWaitersAreServed(t *testing.T) {
	t.Parallel()
	g := wat{response: `(if (local.get $err) (then unreachable))`}
	cfg := moduleConfig()
	cfg.Instances.Max = 1
	cfg.Limits.Wait = 20 * time.Second
	p := plugin(t, g.compile(t), cfg, wasmhost.Options{})
	turn := make(chan struct{})
	s := serve(t, p.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-turn
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler) // the guest traps on it, and its instance goes
		}
	})))
	var wg sync.WaitGroup
	const requests = 6
	for i := range requests {
		path := "/"
		if i%3 == 0 {
			path = "/abort"
		}
		wg.Go(func() {
			if res, err := s.Client().Get(s.URL + path); err == nil {
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("status = %d", res.StatusCode)
				}
			} else if path == "/" {
				t.Error(err)
			}
		})
	}
	testenv.Eventually(t, "five wait", func() bool { return p.Stats().Waits == requests-1 })
	for range requests {
		turn <- struct{}{}
	}
	// net/http sends a GET again on a new connection when a kept one broke off; let such requests through.
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case turn <- struct{}{}:
			case <-stop:
				return
			}
		}
	}()
	wg.Wait()
	close(stop)
	if st := p.Stats(); st.Refused != 0 || st.Busy != 0 {
		t.Errorf("stats = %+v, want nobody refused", st)
	}
}

// TestWaitEndsWithTheClient: a client that goes away does not keep its place in the queue.
func TestWaitEndsWithTheClient(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Instances.Max = 1
	cfg.Limits.Wait = time.Hour
	p := plugin(t, wat{}.compile(t), cfg, wasmhost.Options{})
	next := newBlocked()
	s := serve(t, p.Middleware(next))
	var wg sync.WaitGroup
	wg.Go(func() { do(t, s, "GET", "/", nil) })
	<-next.entered

	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		r, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
		if res, err := s.Client().Do(r); err == nil {
			res.Body.Close()
		}
	})
	testenv.Eventually(t, "it waits", func() bool { return p.Stats().Waits == 1 })
	cancel()
	testenv.Eventually(t, "it left", func() bool { return p.Stats().Refused == 1 })
	close(next.release)
	wg.Wait()
}

// TestInstanceIsNotKeptWithoutResponse: a guest whose handle_response is empty, or who says so, has its instance free while
// the rest of the chain runs.
func TestInstanceIsNotKeptWithoutResponse(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]wat{
		"empty body": {response: "(return)"},
		"nop":        {response: "(nop)"},
		"export":     {more: `(func (export "edge_no_response") (result i32) (i32.const 1))`, response: "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := moduleConfig()
			cfg.Instances.Max = 1
			cfg.Limits.Wait = 0
			p := plugin(t, g.compile(t), cfg, wasmhost.Options{})
			next := newBlocked()
			s := serve(t, p.Middleware(next))
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if got := do(t, s, "GET", "/", nil); got.StatusCode != 200 {
						t.Errorf("status = %d, want 200", got.StatusCode)
					}
				})
				<-next.entered
			}
			if st := p.Stats(); st.Busy != 0 || st.Idle != 1 {
				t.Errorf("stats = %+v, want one idle instance", st)
			}
			close(next.release)
			wg.Wait()
		})
	}
}

// TestSameInstanceServesTheResponse: what handle_request leaves in memory is there in handle_response, whatever other
// requests do meanwhile.
func TestSameInstanceServesTheResponse(t *testing.T) {
	t.Parallel()
	g := wat{
		start: bufferResponse,
		request: `(global.set $len (i32.wrap_i64 (call $get_header_values (i32.const 0) (str "x-id") (i32.const 500) (i32.const 100))))` +
			pass,
		response: `(call $set_header_value (i32.const 1) (str "x-id") (i32.const 500) (i32.sub (global.get $len) (i32.const 1)))`,
		more:     `(global $len (mut i32) (i32.const 0))`,
	}
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Millisecond) })))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 25 {
				id := strconv.Itoa(worker*1000 + i)
				if got := do(t, s, "GET", "/", nil, "X-Id", id).Header.Get("X-Id"); got != id {
					t.Errorf("id = %q, want %q", got, id)
				}
			}
		})
	}
	wg.Wait()
	if st := p.Stats(); st.Requests != 200 || st.InGuest <= 0 || st.InGuest > time.Minute {
		t.Errorf("stats = %+v, want 200 requests and the time they took", st)
	}
}

// TestMinInstancesAreMadeAtLoad, and min is at least one: a plugin that cannot start is found out before it serves.
func TestMinInstancesAreMadeAtLoad(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Instances.Min = 3
	p := plugin(t, wat{}.compile(t), cfg, wasmhost.Options{})
	if st := p.Stats(); st.Idle != 3 || st.Busy != 0 || st.Generation != 1 {
		t.Errorf("stats = %+v, want 3 idle", st)
	}
}

// TestRealClockAndRandomness: wazero's defaults are a fixed seed and a clock that stands still.
func TestRealClockAndRandomness(t *testing.T) {
	t.Parallel()
	g := wat{
		imports: `(import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
			(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))`,
		request: `(drop (call $random_get (i32.const 0) (i32.const 1)))
			(call $status_text (i32.load8_u (i32.const 0))) (local.set $n) (drop)
			(call $set_header_value (i32.const 1) (str "random") (i32.const 60000) (i32.const 3))
			(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 0)))
			(if (i64.lt_u (i64.load (i32.const 0)) (i64.const 1700000000000000000)) (then unreachable))` + done,
	}
	seen := map[string]bool{}
	for range 8 { // hosts, so that each has a first instance
		p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
		got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil)
		if got.StatusCode != 200 {
			t.Fatalf("status = %d: %s", got.StatusCode, p.Stats().LastError)
		}
		seen[got.Header.Get("Random")] = true
	}
	if len(seen) == 1 {
		t.Errorf("eight instances drew the same random byte: %v", seen)
	}
}

// TestStopRefusesAndReturns: after Stop requests fail closed, and a request that hangs in the rest of the chain does not hold
// Stop up past its context.
func TestStopRefusesAndReturns(t *testing.T) {
	t.Parallel()
	p := plugin(t, wat{}.compile(t), moduleConfig(), wasmhost.Options{})
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"q": {
		File: p.File(), Limits: moduleConfig().Limits, Instances: moduleConfig().Instances,
	}}}, wasmhost.Options{})
	q, _ := h.Plugin("q")
	if err := h.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	next := newBlocked()
	s := serve(t, q.Middleware(next))
	var wg sync.WaitGroup
	wg.Go(func() { do(t, s, "GET", "/", nil) })
	<-next.entered

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.Stop(ctx); err != nil && !strings.Contains(err.Error(), "deadline") {
		t.Errorf("Stop: %v", err)
	}
	if got := do(t, s, "GET", "/", nil); got.StatusCode != 503 {
		t.Errorf("status after Stop = %d, want 503", got.StatusCode)
	}
	close(next.release)
	wg.Wait()
	stop(t, h)
	if err := h.Reload(context.Background()); err == nil {
		t.Error("Reload after Stop has no error")
	}
}
