package wasmhost_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/wasmhost"
)

// deskHelpers: a desk at 4096. $leave puts a change there; $slot says what is in the first slot, with the length in $n.
const deskHelpers = `
	(func (export "edge_desk") (result i32) (i32.const 4096))
	(func $leave (param $what i32) (param $kind i32) (param $name i32) (param $name_len i32) (param $value i32) (param $len i32)
		(local $at i32)
		(local.set $at (i32.add (i32.const 4104) (i32.mul (i32.const 24) (i32.load (i32.const 4100)))))
		(i32.store (local.get $at) (local.get $what))
		(i32.store offset=4 (local.get $at) (local.get $kind))
		(i32.store offset=8 (local.get $at) (local.get $name))
		(i32.store offset=12 (local.get $at) (local.get $name_len))
		(i32.store offset=16 (local.get $at) (local.get $value))
		(i32.store offset=20 (local.get $at) (local.get $len))
		(i32.store (i32.const 4100) (i32.add (i32.load (i32.const 4100)) (i32.const 1))))
`

// lookAtDesk answers what the first slot has in x-slot, or asks for x-id and sets x-asked.
const lookAtDesk = `
	(if (i32.load (i32.const 4096))
		(then
			(i32.store (i32.const 4300) (i32.const 1)) ;; used
			(local.set $n (i32.load (i32.const 4296)))
			(if (i32.eq (local.get $n) (i32.const -1)) (then (call $leave (i32.const 1) (i32.const 1) (str "x-slot") (str "absent")))
			(else (if (i32.eq (local.get $n) (i32.const -2)) (then (call $leave (i32.const 1) (i32.const 1) (str "x-slot") (str "ask")))
			(else
				(call $leave (i32.const 1) (i32.const 1) (str "x-slot") (i32.const 4344) (local.get $n))
				(call $leave (i32.const 1) (i32.const 1) (str "x-name") (i32.const 4308) (i32.load (i32.const 4304))))))))
		(else
			(drop (call $get_header_values (i32.const 0) (str "x-id") (i32.const 0) (i32.const 100)))
			(call $set_header_value (i32.const 1) (str "x-asked") (str "1"))))`

// TestDeskSlots: what a guest has asked for once it finds on its desk from then on, in every mode and in new instances.
func TestDeskSlots(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{wasmhost.IsolateInstance, wasmhost.IsolateRequest} {
		cfg := moduleConfig()
		cfg.Isolation = isolation
		p := plugin(t, wat{request: lookAtDesk + pass, more: deskHelpers}.compile(t), cfg, wasmhost.Options{})
		s := serve(t, p.Middleware(nothing))
		if first := do(t, s, "GET", "/", nil, "X-Id", "1"); first.Header.Get("X-Asked") != "1" {
			t.Fatalf("%s: the desk of the first request is not empty: %v", isolation, first.Header)
		}
		for _, tt := range []struct {
			values []string
			want   string
		}{
			{[]string{"x-id", "17"}, "17"},
			{[]string{"X-ID", strings.Repeat("x", 208)}, strings.Repeat("x", 208)},
			{[]string{"X-Id", strings.Repeat("x", 209)}, "ask"},
			{[]string{"X-Id", "1", "X-Id", "2"}, "ask"},
			{nil, "absent"},
			{[]string{"X-Id", ""}, ""},
		} {
			got := do(t, s, "GET", "/", nil, tt.values...)
			if got.Header.Get("X-Slot") != tt.want || got.Header.Get("X-Asked") != "" || got.Header.Get("X-Name") != "x-id" && tt.want != "ask" && tt.want != "absent" {
				t.Errorf("%s: %q gave %v, want %q", isolation, tt.values, got.Header, tt.want)
			}
		}
	}
}

// TestDeskForgets: a slot that the guest does not use goes to others.
func TestDeskForgets(t *testing.T) {
	t.Parallel()
	unused := strings.Replace(lookAtDesk, "(i32.store (i32.const 4300) (i32.const 1))", "", 1)
	p := plugin(t, wat{request: unused + pass, more: deskHelpers}.compile(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(nothing))
	asked := 0
	for range 200 {
		if do(t, s, "GET", "/", nil, "X-Id", "1").Header.Get("X-Asked") != "" {
			asked++
		}
	}
	if asked < 2 || asked > 10 {
		t.Errorf("the guest had to ask %d times in 200 requests, want some three", asked)
	}
}

// TestDeskChanges: changes happen in order, among them and with calls, in both phases.
func TestDeskChanges(t *testing.T) {
	t.Parallel()
	g := wat{
		start: "(drop (call $enable_features (i32.const 2)))",
		request: `
			(call $leave (i32.const 1) (i32.const 0) (str "x-in") (str "1"))
			(call $leave (i32.const 2) (i32.const 0) (str "x-in") (str "2"))
			(call $say_list (call $get_header_values (i32.const 0) (str "x-in") (i32.const 0) (i32.const 100)) (str "x-saw"))
			(call $add_header_value (i32.const 0) (str "x-in") (str "3"))
			(call $leave (i32.const 2) (i32.const 0) (str "x-in") (str "4"))
			(call $leave (i32.const 3) (i32.const 0) (str "x-gone") (i32.const 0) (i32.const 0))` + pass,
		response: `(call $leave (i32.const 1) (i32.const 1) (str "x-out") (str "after"))`,
		more:     deskHelpers,
	}
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Next", strings.Join(r.Header.Values("X-In"), "")+r.Header.Get("X-Gone"))
		w.Header().Set("X-Out", "before")
	})))
	for range 3 {
		h := do(t, s, "GET", "/", nil, "X-Gone", "no").Header
		if h.Get("X-Saw") != "1,2," || h.Get("X-Next") != "1234" || h.Get("X-Out") != "after" {
			t.Fatalf("saw %q, the next handler %q, out %q", h.Get("X-Saw"), h.Get("X-Next"), h.Get("X-Out"))
		}
	}
}

// TestDeskMisuse traps as the calls do, and is counted as they are.
func TestDeskMisuse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		guest wat
		want  string
	}{
		{wat{request: "(i32.store (i32.const 4100) (i32.const 9))" + pass}, "edge_desk: 9 changes, where there is room for 8"},
		{wat{request: "(i32.store (i32.const 4100) (i32.const -1))" + pass}, "edge_desk: 4294967295 changes"},
		{wat{request: `(call $leave (i32.const 4) (i32.const 0) (str "n") (str "v"))` + pass}, "edge_desk: change 4 is unknown"},
		{wat{request: `(call $leave (i32.const 1) (i32.const 4) (str "n") (str "v"))` + pass}, "header kind 4 is unknown"},
		{wat{request: `(call $leave (i32.const 1) (i32.const 0) (str "n") (i32.const -1) (i32.const 5))` + pass}, "value: 5 bytes at 4294967295 are outside"},
		{wat{request: `(call $leave (i32.const 1) (i32.const 0) (str "n") (str "a\0d\0ab"))` + pass}, "is not a header value"},
		{wat{request: `(call $leave (i32.const 1) (i32.const 0) (str "n o") (str "v")) (drop (call $get_status_code))` + pass}, "is not a header name"},
		{wat{response: `(call $leave (i32.const 1) (i32.const 1) (str "n") (str "v"))`}, "set_header_value: "},
	} {
		tt.guest.more = deskHelpers
		p := plugin(t, tt.guest.compile(t), moduleConfig(), wasmhost.Options{})
		s := serve(t, p.Middleware(nothing))
		res := do(t, s, "GET", "/", nil)
		if st := p.Stats(); !strings.Contains(st.LastError, tt.want) || st.TrapsByKind["misuse"] != 1 {
			t.Errorf("%s %s: last error %q, traps %v, want %q", tt.guest.request, tt.guest.response, st.LastError, st.TrapsByKind, tt.want)
		}
		if tt.guest.response == "" && (res.StatusCode != 500 || strings.Contains(res.body, "desk")) {
			t.Errorf("the client got %d %q", res.StatusCode, res.body)
		}
	}
}

// TestDeskOutside: a desk that is not in memory refuses the module.
func TestDeskOutside(t *testing.T) {
	t.Parallel()
	module := wat{more: `(func (export "edge_desk") (result i32) (i32.const 130000))`}.compile(t)
	cfg := moduleConfig()
	cfg.File = filepath.Join(t.TempDir(), "p.wasm")
	write(t, cfg.File, module)
	_, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: discard})
	if err == nil || !strings.Contains(err.Error(), "edge_desk: 1224 bytes at 130000 are outside") {
		t.Errorf("error = %v", err)
	}
}
