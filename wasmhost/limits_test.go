package wasmhost_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

const wasiImports = `
	(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
	(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
	(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
	(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))`

// TestLimits: each row is a guest that goes beyond one limit. Its request ends with a plain 500, in time and without taking
// the server's memory; log, statistics and last error say which plugin and which limit.
func TestLimits(t *testing.T) {
	t.Parallel()
	const forever = `(loop $again %s (br $again)) unreachable`
	for name, tt := range map[string]struct {
		guest  wat
		limits func(*wasmhost.Limits)
		kind   string
		want   string
	}{
		"endless loop":     {wat{request: fmt.Sprintf(forever, "")}, nil, "fuel", "limits.fuel is 50000000"},
		"endless response": {wat{response: fmt.Sprintf(forever, "")}, nil, "fuel", "handle_response: it computed for longer than it may (limits.fuel is 50000000)"},
		"endless copying": {wat{request: fmt.Sprintf(forever, "(memory.copy (i32.const 0) (i32.const 65536) (i32.const 65536))")},
			nil, "fuel", "limits.fuel"},
		"endless filling": {wat{request: fmt.Sprintf(forever, "(memory.fill (i32.const 0) (i32.const 1) (i32.const 131072))")}, nil, "fuel", "limits.fuel"},
		"mutual recursion": {wat{request: `(drop (call $even (i32.const 0)))` + pass, more: `
			(func $even (param i32) (result i32) (i32.add (call $odd (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
			(func $odd (param i32) (result i32) (i32.add (call $even (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))`},
			nil, "stack", "limits.stack is 1MiB"},
		"recursion through a table": {wat{request: `(call_indirect (type $v) (i32.const 0))` + pass,
			more: `(type $v (func)) (table 1 funcref) (elem (i32.const 0) $self) (func $self (call_indirect (type $v) (i32.const 0)) (call_indirect (type $v) (i32.const 0)))`},
			nil, "stack", "limits.stack"},
		"wide frames": {wat{request: `(drop (call $wide (i64.const 1)))` + pass, more: `
			(func $wide (param i64) (result i64) (local ` + strings.Repeat("i64 ", 2000) + `) ` + wideBody(2000) + `)`}, nil, "stack", "limits.stack"},
		"memory bomb": {wat{request: `(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable`},
			nil, "memory", "it was refused memory and gave up"},
		"table bomb": {wat{more: `(table $t 1 funcref)`, request: `(loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1)))) unreachable`},
			nil, "memory", "it was refused memory"},
		"host call storm": {wat{request: fmt.Sprintf(forever, "(drop (call $get_status))"), more: `(func $get_status (result i32) (call $log_enabled (i32.const 0)))`},
			func(l *wasmhost.Limits) { l.Calls = 10_000 }, "calls", "limits.calls is 10000"},
		"host calls cost fuel": {wat{request: fmt.Sprintf(forever, "(drop (call $log_enabled (i32.const 0)))")}, func(l *wasmhost.Limits) { l.Calls = 0 }, "fuel", "limits.fuel"},
		"a flood of randomness": {wat{imports: wasiImports, request: fmt.Sprintf(forever, "(drop (call $random (i32.const 0) (i32.const 131072)))")},
			nil, "fuel", "limits.fuel"},
		"a flood of output": {wat{imports: wasiImports, request: `(i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 131072))` +
			fmt.Sprintf(forever, "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))")}, nil, "fuel", "limits.fuel"},
		"a long sleep": {wat{imports: wasiImports, request: `(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 3600000000000))
			(drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))` + pass},
			func(l *wasmhost.Limits) { l.Time = 50 * time.Millisecond }, "deadline", "limits.time is 50ms"},
		"many short sleeps": {wat{imports: wasiImports, request: `(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 1000000))` +
			fmt.Sprintf(forever, "(drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))")},
			func(l *wasmhost.Limits) { l.Time = 50 * time.Millisecond }, "deadline", "limits.time is 50ms"},
		"misuse":           {wat{request: `(call $set_status_code (i32.const 7))` + pass}, nil, "misuse", "7 is not a final status"},
		"division by zero": {wat{request: `(i64.div_u (i64.const 1) (i64.extend_i32_u (call $log_enabled (i32.const 9))))`}, nil, "code", "integer divide by zero"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testenv.Log
			cfg := moduleConfig()
			cfg.Limits.Fuel = 50_000_000
			if tt.limits != nil {
				tt.limits(&cfg.Limits)
			}
			if tt.guest.response != "" {
				tt.guest.start = bufferResponse
			}
			p := plugin(t, tt.guest.compile(t), cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
			s := serve(t, p.Middleware(echo))
			for range 2 {
				if got := do(t, s, "GET", "/", nil); got.StatusCode != 500 || got.body != "Internal Server Error\n" {
					t.Fatalf("answer = %d %.100q, want a plain 500 (%s)", got.StatusCode, got.body, p.Stats().LastError)
				}
			}
			st := p.Stats()
			if st.TrapsByKind[tt.kind] != 2 || st.Traps != 2 || st.Busy != 0 {
				t.Errorf("traps = %v, %d busy; want two of kind %s", st.TrapsByKind, st.Busy, tt.kind)
			}
			if !strings.Contains(st.LastError, tt.want) {
				t.Errorf("last error = %q, want %q in it", st.LastError, tt.want)
			}
			if text := log.String(); !strings.Contains(text, "plugin=p") || !strings.Contains(text, "kind="+tt.kind) || len(text) > 50_000 {
				t.Errorf("the log has %d bytes; want plugin and kind in it:\n%.1000s", len(text), text)
			}
			if tt.kind == "fuel" && st.Fuel.Max < 50_000_000 {
				t.Errorf("fuel = %+v, want all of the limit", st.Fuel)
			}
		})
	}
}

// wideBody uses n local variables across a call, so that each needs its place.
func wideBody(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "(local.set %d (i64.add (local.get 0) (i64.const %d)))", i+1, i)
	}
	b.WriteString("(local.set 0 (call $wide (local.get 0)))")
	b.WriteString("(local.get 0)")
	for i := range n {
		fmt.Fprintf(&b, "(i64.xor (local.get %d))", i+1)
	}
	return b.String()
}

// TestLimitsOfTheStart: what a module does while it is loaded is bounded as well, and it is refused.
func TestLimitsOfTheStart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		guest wat
		want  string
	}{
		"_initialize":    {wat{start: "(loop $again (br $again))"}, "call _initialize: it computed for longer than it may (limits.fuel is 1000000)"},
		"start section":  {wat{more: "(start $spin) (func $spin (loop $again (br $again)))"}, "call edge.start: it computed for longer"},
		"edge_warm_up":   {wat{more: `(func (export "edge_warm_up") (loop $again (br $again)))`}, "it computed for longer"},
		"a deep start":   {wat{start: "(call $down (i32.const 0))", more: "(func $down (param i32) (call $down (i32.const 1)) (call $down (i32.const 2)))"}, "limits.stack is 1MiB"},
		"a name of ours": {wat{more: `(global (export "edge.fuel") (mut i64) (i64.const 0))`}, `export "edge.fuel": names that begin with "edge." are the host's`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := moduleConfig()
			cfg.Limits.Fuel = 1_000_000
			cfg.File = testenv.Dir(t) + "/p.wasm"
			write(t, cfg.File, tt.guest.compile(t))
			h, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: discard})
			if err == nil {
				stop(t, h)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `plugin "p"`) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

// trapsOn is a guest that changes the request and traps when the request says so.
func trapsOn(t *testing.T) []byte {
	t.Helper()
	return wat{request: `
		(call $set_header_value (i32.const 0) (str "x-changed") (str "1"))
		(call $set_header_value (i32.const 1) (str "x-guest") (str "secret"))
		(call $set_uri (str "/elsewhere"))
		(call $remove_header (i32.const 0) (str "x-kept"))
		(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (str "x-trap") (i32.const 0) (i32.const 99))) (then unreachable))` + pass}.compile(t)
}

// TestOnErrorOpen: a request whose guest fails goes on as it came.
func TestOnErrorOpen(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.OnError = wasmhost.OnErrorOpen
	var seen *http.Request
	p := plugin(t, trapsOn(t), cfg, wasmhost.Options{})
	s := serve(t, p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		echo.ServeHTTP(w, r)
	})))
	if got := do(t, s, "POST", "/here", strings.NewReader("body")); got.StatusCode != 200 || seen.URL.Path != "/elsewhere" || seen.Header.Get("X-Changed") != "1" {
		t.Errorf("a guest that works is not obeyed: %d %s %v", got.StatusCode, seen.URL, seen.Header)
	}
	got := do(t, s, "POST", "/here", strings.NewReader("body"), "X-Trap", "1", "X-Kept", "1")
	if got.StatusCode != 200 || got.body != "body" || got.Header.Get("X-Guest") != "" {
		t.Errorf("answer = %d %q %v", got.StatusCode, got.body, got.Header)
	}
	if seen.URL.Path != "/here" || seen.Header.Get("X-Changed") != "" || seen.Header.Get("X-Kept") != "1" {
		t.Errorf("the next handler sees %s %v, want the request as it came", seen.URL, seen.Header)
	}
	if st := p.Stats(); st.Traps != 1 || st.Errors != 1 {
		t.Errorf("stats = %+v, want the trap counted", st)
	}

	t.Run("an answer held back", func(t *testing.T) {
		t.Parallel()
		p := plugin(t, wat{start: bufferResponse, response: `(call $set_header_value (i32.const 1) (str "x-guest") (str "secret"))
			(call $write_body (i32.const 1) (str "half")) (call $set_status_code (i32.const 299)) unreachable`}.compile(t), cfg, wasmhost.Options{})
		got := do(t, serve(t, p.Middleware(echo)), "POST", "/", strings.NewReader("the whole body"))
		if got.StatusCode != 200 || got.body != "the whole body" || got.Header.Get("X-Guest") != "" {
			t.Errorf("answer = %d %q %v, want that of the handler", got.StatusCode, got.body, got.Header)
		}
	})
	t.Run("a body that was read", func(t *testing.T) {
		t.Parallel()
		for features, want := range map[string]int{`(drop (call $enable_features (i32.const 1)))`: 200, "": 500} {
			p := plugin(t, wat{request: features + `(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 4))) unreachable`}.compile(t), cfg, wasmhost.Options{})
			got := do(t, serve(t, p.Middleware(echo)), "POST", "/", strings.NewReader("0123456789"))
			if got.StatusCode != want || want == 200 && got.body != "0123456789" {
				t.Errorf("with %q: answer = %d %q, want %d", features, got.StatusCode, got.body, want)
			}
		}
	})
}

// TestOnErrorBypass: a plugin that fails again and again is taken out of the way.
func TestOnErrorBypass(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.OnError = wasmhost.OnErrorBypass
	var log testenv.Log
	p := plugin(t, wat{request: "unreachable"}.compile(t), cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	s := serve(t, p.Middleware(echo))
	var statuses []int
	for range 7 {
		statuses = append(statuses, do(t, s, "GET", "/", nil).StatusCode)
	}
	if got, want := fmt.Sprint(statuses), "[500 500 500 500 500 200 200]"; got != want {
		t.Errorf("statuses = %s, want %s", got, want)
	}
	if st := p.Stats(); st.Bypasses != 1 || !strings.Contains(st.Bypassed, "requests go on without it until") || st.Requests != 5 {
		t.Errorf("stats = %+v", st)
	}
	if !strings.Contains(log.String(), "plugin is bypassed") {
		t.Errorf("log:\n%s", log.String())
	}
}

// TestTrapsUnderLoad: a plugin that traps every other request, while many ask. Its other requests and those of the
// neighbour are answered, and memory stays where it is.
func TestTrapsUnderLoad(t *testing.T) {
	t.Parallel()
	bad := plugin(t, trapsOn(t), moduleConfig(), wasmhost.Options{})
	good := plugin(t, wat{}.compile(t), moduleConfig(), wasmhost.Options{})
	guarded, neighbour := bad.Middleware(echo), good.Middleware(echo)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/neighbour") {
			neighbour.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	}))
	rounds := testenv.Count(150, 20_000)
	round := func(trap string, status int) (neighbour time.Duration) {
		const workers = 4
		var took [workers][]time.Duration
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				for i := range rounds {
					path, header, want := "/neighbour", "X-Other", 200
					switch (i + worker) % 3 {
					case 0:
						path, header, want = "/", trap, status
					case 1:
						path = "/"
					}
					began := time.Now()
					if got := do(t, s, "GET", path, nil, header, "1"); got.StatusCode != want {
						t.Errorf("%s with %s: status = %d, want %d", path, header, got.StatusCode, want)
					}
					if path == "/neighbour" {
						took[worker] = append(took[worker], time.Since(began))
					}
				}
			})
		}
		wg.Wait()
		all := slices.Concat(took[:]...)
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	calm := round("X-Other", 200)
	before := heap()
	attacked := round("X-Trap", 500)
	if after := heap(); after > before+uint64(testenv.Count(256, 16))<<20 { // other tests run beside this one
		t.Errorf("the heap grew from %d to %d KiB", before>>10, after>>10)
	}
	t.Logf("p99 of the neighbour: %v, and %v while the plugin traps", calm, attacked)
	if testenv.Soak() && attacked > 2*calm {
		t.Errorf("p99 of the neighbour: %v, and %v while the plugin traps; at most twice as long is allowed", calm, attacked)
	}
	if st := bad.Stats(); st.Traps == 0 || st.Idle > 64 || st.Busy != 0 {
		t.Errorf("stats = %+v", st)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// zeros is a body of n bytes.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

// TestHugeBody: a body far larger than memory goes through a guest that reads it piece by piece; with buffer_request it gets
// 413 at limits.body.
func TestHugeBody(t *testing.T) {
	t.Parallel()
	size := int64(testenv.Count(200<<20, 10<<30))
	var peak atomic.Uint64
	cfg := moduleConfig()
	cfg.Limits.Fuel = 1e12
	p := plugin(t, wat{request: `(local.set $n (i32.const 0))
		(loop $next
			(local.set $r (call $read_body (i32.const 0) (i32.const 0) (i32.const 32768)))
			(br_if $next (i64.eqz (i64.shr_u (local.get $r) (i64.const 32)))))` + done}.compile(t), cfg, wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			time.Sleep(20 * time.Millisecond)
		}
	})
	got := do(t, s, "POST", "/", &zeros{size})
	cancel()
	wg.Wait()
	if got.StatusCode != 200 {
		t.Errorf("status = %d (%s)", got.StatusCode, p.Stats().LastError)
	}
	if !testenv.Soak() && peak.Load() > 1<<30 { // other tests run beside this one
		t.Errorf("the heap had %d MiB", peak.Load()>>20)
	}

	buffering := plugin(t, wat{start: `(drop (call $enable_features (i32.const 1)))`, request: "(drop (call $chunks (i32.const 0) (i32.const 32768)))" + pass,
		more: ""}.compile(t), moduleConfig(), wasmhost.Options{})
	if st := do(t, serve(t, buffering.Middleware(echo)), "POST", "/", &zeros{64 << 20}); st.StatusCode != 413 && st.StatusCode != 500 {
		t.Errorf("status = %d, want 413", st.StatusCode)
	}
}

// TestPluginWithinItself: the same plugin twice in a chain takes two instances for a request. With one there is no
// deadlock, but 503 after limits.wait.
func TestPluginWithinItself(t *testing.T) {
	t.Parallel()
	for instances, want := range map[int]int{1: 503, 2: 200} {
		cfg := moduleConfig()
		cfg.Instances.Max, cfg.Limits.Wait = instances, 50*time.Millisecond
		p := plugin(t, wat{}.compile(t), cfg, wasmhost.Options{})
		if got := do(t, serve(t, p.Middleware(p.Middleware(echo))), "GET", "/", nil); got.StatusCode != want {
			t.Errorf("with %d instances: status = %d, want %d", instances, got.StatusCode, want)
		}
	}
}

// TestFuelIsCounted: the same request costs the same each time, and the statistics know it.
func TestFuelIsCounted(t *testing.T) {
	t.Parallel()
	p := plugin(t, wat{request: `(loop $l (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 100000))))` + pass,
		response: ""}.compile(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	for range 40 {
		do(t, s, "GET", "/", nil)
	}
	st := p.Stats()
	if st.Fuel.Max < 700_000 || st.Fuel.Max > 1_500_000 || st.Fuel.P99 < st.Fuel.Max || st.Fuel.Total < 10*st.Fuel.Max || st.Memory != 131072 {
		t.Errorf("fuel = %+v, memory = %d", st.Fuel, st.Memory)
	}
}

// TestCheapCallsStayCheap: a result that is no length of anything is not paid for as one.
func TestCheapCallsStayCheap(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Limits.Fuel = 10_000
	p := plugin(t, wat{
		imports: `(import "edge_core_v1" "now_ms" (func $now (result i64))) (import "edge_core_v1" "deadline_ms" (func $deadline (result i64)))`,
		request: strings.Repeat("(drop (call $now)) (drop (call $deadline))", 20) + pass,
	}.compile(t), cfg, wasmhost.Options{})
	if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 200 {
		t.Errorf("status = %d: %s", got.StatusCode, p.Stats().LastError)
	}
}

// TestLargeAnswersCost: what the host copies for the guest is paid for by its size.
func TestLargeAnswersCost(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Limits.Fuel, cfg.Limits.Calls = 10_000_000, 0
	cfg.Config = strings.Repeat("x", 30_000)
	p := plugin(t, wat{request: "(loop $again (drop (call $get_config (i32.const 0) (i32.const 30000))) (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $again (i32.lt_u (local.get $n) (i32.const 10000))))" + pass}.compile(t), cfg, wasmhost.Options{})
	if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 500 || p.Stats().TrapsByKind["fuel"] != 1 {
		t.Errorf("status = %d: %+v", got.StatusCode, p.Stats())
	}
}
