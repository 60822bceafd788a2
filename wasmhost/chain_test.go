package wasmhost_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edge-server/edge/wasmhost"
)

// noted is a plugin that adds its letter to x-way on the way in, and on the way out to x-back. It traps there if it is told that
// there is no answer. With a header x-stop of its letter it answers by itself.
func noted(t *testing.T, letter string) *wasmhost.Plugin {
	g := wat{
		start: "(drop (call $enable_features (i32.const 2)))",
		request: `
			(call $add_header_value (i32.const 0) (str "x-way") (str "` + letter + `"))
			(if (result i64) (i64.eqz (call $get_header_values (i32.const 0) (str "x-stop-` + letter + `") (i32.const 0) (i32.const 0)))
				(then ` + pass + `) (else ` + done + `))`,
		response: `
			(if (local.get $err) (then (unreachable)))
			(call $add_header_value (i32.const 1) (str "x-back") (str "` + letter + `"))`,
	}
	return plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
}

// TestChain: plugins one around the other are a loop, and behave as calls one inside of the other would.
func TestChain(t *testing.T) {
	t.Parallel()
	a, b, c := noted(t, "a"), noted(t, "b"), noted(t, "c")
	const rounds = 3
	way := ""
	last := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, v := range r.Header["X-Way"] {
			way += v
		}
		if r.Header.Get("X-Panic") != "" {
			panic(http.ErrAbortHandler)
		}
	})
	chain := a.Middleware(b.Middleware(c.Middleware(last)))
	for _, tt := range []struct {
		name, header, way, back string
		panics                  bool
	}{
		{"all the way", "X-None", "abc", "cba", false},
		{"the second answers", "X-Stop-B", "", "a", false},
		{"the first answers", "X-Stop-A", "", "", false},
		{"a handler behind them panics", "X-Panic", "abc", "", true},
	} {
		for range rounds {
			way = ""
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
			r.Header.Set(tt.header, "1")
			panicked := func() (cause any) {
				defer func() { cause = recover() }()
				chain.ServeHTTP(w, r)
				return nil
			}()
			back := ""
			for _, v := range w.Header()["X-Back"] {
				back += v
			}
			if way != tt.way || back != tt.back || (panicked != nil) != tt.panics {
				t.Errorf("%s: in %q, back %q, panic %v; want in %q, back %q", tt.name, way, back, panicked, tt.way, tt.back)
			}
		}
	}
	for _, p := range []*wasmhost.Plugin{a, b, c} {
		if s := p.Stats(); s.Busy != 0 || s.Traps != rounds {
			t.Errorf("%d instances are busy after all requests; %d traps, want one for each panic: %s", s.Busy, s.Traps, s.LastError)
		}
	}
}
