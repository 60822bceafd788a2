package wasmhost_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
	"github.com/edge-server/edge/wasmhost/trust"
)

// TestBrokenSignatureIsTold: the content goes on, and that the next start would refuse it is said before.
func TestBrokenSignatureIsTold(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	file := filepath.Join(testenv.Dir(t), "auth.wasm")
	content := answering(t, 201)
	write(t, file, content)
	s.sign(file, content, "auth")
	module := moduleConfig()
	module.File = file
	var log testenv.Log
	h := host(t, wasmhost.Config{Trust: s.trust, Modules: map[string]wasmhost.ModuleConfig{"auth": module}}, wasmhost.Options{Logger: logger(&log, 0)})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, _ := h.Plugin("auth")
	server := serve(t, p.Middleware(echo))
	for range 2 {
		write(t, file+trust.Extension, []byte("garbage"))
		testenv.Eventually(t, "it is told", func() bool { return strings.Contains(p.Stats().Degraded, "the next start would refuse it: "+file) })
		testenv.Eventually(t, "the log says so", func() bool { return strings.Contains(log.String(), "the next start would refuse it") })
		if got := do(t, server, "GET", "/", nil).StatusCode; got != 201 || strings.Contains(log.String(), "plugin cannot be loaded") {
			t.Errorf("status = %d, log:\n%s", got, log.String())
		}
		if err := h.Reload(t.Context()); err == nil {
			t.Error("a reload finds nothing wrong")
		}
		s.sign(file, content, "auth")
		testenv.Eventually(t, "all is well again", func() bool { return p.Stats().Degraded == "" })
	}
	if p.Stats().Generation != 1 {
		t.Error("it was loaded anew")
	}
}

// TestStatsOfASwap: what is replaced drains where it can be seen, and its errors are forgotten.
func TestStatsOfASwap(t *testing.T) {
	t.Parallel()
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, wat{request: "unreachable"}.compile(t))
	cfg := moduleConfig()
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
	p, _ := h.Plugin("p")
	next := newBlocked()
	s := serve(t, p.Middleware(next))
	before := time.Now()
	do(t, s, "GET", "/", nil)
	if st := p.Stats(); st.LastError == "" || st.LastErrorAt.Before(before) || st.Fuel.Calls != 1 { // the start is none
		t.Errorf("stats = %+v", st)
	}

	replace := func(status string) {
		t.Helper()
		write(t, file, wat{request: pass, response: "(global.set $calls (i32.const " + status + "))"}.compile(t))
		if err := h.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	replace("1")
	if st := p.Stats(); st.LastError != "" || !st.LastErrorAt.IsZero() {
		t.Errorf("the error of what was replaced is still there: %s", st.LastError)
	}
	done := make(chan int)
	go func() { done <- do(t, s, "GET", "/", nil).StatusCode }()
	<-next.entered
	replace("2")
	if st := p.Stats(); st.Draining != 1 || st.Idle != 1 {
		t.Errorf("%d instances drain, %d are idle", st.Draining, st.Idle)
	}
	close(next.release)
	if got := <-done; got != http.StatusOK {
		t.Errorf("status = %d", got)
	}
	testenv.Eventually(t, "nothing drains", func() bool { return p.Stats().Draining == 0 })
}

// TestStartKeepsItsErrors: what went wrong while a module starts is nothing that a later call hears of.
func TestStartKeepsItsErrors(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{wasmhost.IsolateInstance, wasmhost.IsolateRequest} {
		cfg := moduleConfig()
		cfg.Isolation = isolation
		p := plugin(t, wat{
			imports: `(import "edge_sched_v1" "every" (func $every (param i32) (result i32)))
				(import "edge_core_v1" "last_error" (func $last_error (param i32 i32) (result i32)))`,
			start: `(if (i32.ge_s (call $every (i32.const 1)) (i32.const 0)) (then unreachable))
				(if (i32.le_s (call $last_error (i32.const 0) (i32.const 0)) (i32.const 0)) (then unreachable))`,
			request: `(if (i32.ne (call $last_error (i32.const 0) (i32.const 0)) (i32.const 0)) (then unreachable))` + done,
		}.compile(t), cfg, wasmhost.Options{})
		if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 200 {
			t.Errorf("status = %d: %s", got.StatusCode, p.Stats().LastError)
		}
	}
}
