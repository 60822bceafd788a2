package wasmhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// wantLine looks for a line of the log that has all of these.
func wantLine(t *testing.T, log *testenv.Log, parts ...string) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		found := true
		for _, part := range parts {
			found = found && strings.Contains(line, part)
		}
		if found {
			return
		}
	}
	t.Errorf("no line of the log has %q:\n%s", parts, log.String())
}

// TestHeldTooLargeIs500: a proxy that cannot write on breaks off, as it would when the client has gone. Here it is the host that
// did not take the rest, and the client gets to know.
func TestHeldTooLargeIs500(t *testing.T) {
	t.Parallel()
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100_000)) }))
	target, _ := url.Parse(upstream.URL)
	writer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100_000)) })
	for name, next := range map[string]http.Handler{"proxy": httputil.NewSingleHostReverseProxy(target), "handler": writer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := moduleConfig()
			cfg.Limits.Body = 1000 * bytesize.Size(1)
			var log testenv.Log
			p := plugin(t, wat{start: bufferResponse, response: `(if (i32.eqz (local.get $err)) (then unreachable))`}.compile(t), cfg,
				wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
			inner, outer := plugin(t, wat{}.compile(t), moduleConfig(), wasmhost.Options{}), plugin(t, wat{start: bufferResponse, response: `(call $set_header_value (i32.const 1) (str "x-outer") (str "saw it"))`}.compile(t),
				moduleConfig(), wasmhost.Options{})
			got := do(t, serve(t, outer.Middleware(p.Middleware(inner.Middleware(next)))), "GET", "/", nil)
			if got.StatusCode != 500 || got.body != "Internal Server Error\n" || got.Header.Get("X-Outer") != "saw it" {
				t.Errorf("answer = %d %.100q with %v", got.StatusCode, got.body, got.Header)
			}
			for _, p := range []*wasmhost.Plugin{p, inner, outer} {
				if st := p.Stats(); st.Traps != 0 || st.Busy != 0 {
					t.Errorf("%d traps, %d busy: %s", st.Traps, st.Busy, st.LastError)
				}
			}
			if st := p.Stats(); st.Errors != 1 || !strings.Contains(st.LastError, "limits.body") {
				t.Errorf("%d errors, the last %q", st.Errors, st.LastError)
			}
			wantLine(t, &log, "plugin=p", "limits.body", "500")
		})
	}
}

// TestHeldTooLargeAndAPanic: what a handler panics with goes on to whoever waits for it, once.
func TestHeldTooLargeAndAPanic(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Limits.Body = 1000 * bytesize.Size(1)
	held := plugin(t, wat{start: bufferResponse, response: "(nop)"}.compile(t), cfg, wasmhost.Options{})
	inner := plugin(t, wat{response: "(nop)"}.compile(t), moduleConfig(), wasmhost.Options{})
	boom := errors.New("boom")
	for _, cause := range []any{boom, http.ErrAbortHandler, nil} {
		h := held.Middleware(inner.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write(make([]byte, 100_000))
			if cause == nil {
				runtime.Goexit()
			}
			panic(cause)
		})))
		seen := make(chan any, 1)
		go func() {
			defer func() { seen <- recover() }()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		}()
		if got := <-seen; got != cause && cause == boom {
			t.Errorf("a panic with %v became one with %v", cause, got)
		}
	}
	for _, p := range []*wasmhost.Plugin{held, inner} {
		if st := p.Stats(); st.Busy != 0 {
			t.Errorf("%d instances are still busy", st.Busy)
		}
	}
}

// TestLengthFollowsTheHeldBody, whatever handler and guest say, unless the handler did not write all that it had announced: then
// the answer is broken and has to look so.
func TestLengthFollowsTheHeldBody(t *testing.T) {
	t.Parallel()
	declares := func(length, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", length)
			io.WriteString(w, body)
		}
	}
	set := func(length string) wat {
		return wat{start: bufferResponse, response: `(call $set_header_value (i32.const 1) (str "content-length") (str "` + length + `"))`}
	}
	for name, tt := range map[string]struct {
		guest wat
		next  http.HandlerFunc
		want  string // "": broken off
	}{
		"the guest says less": {set("5"), declares("10", "0123456789"), "0123456789"},
		"the guest says more": {set("50"), declares("10", "0123456789"), "0123456789"},
		"the guest says more of one that is new": {wat{start: bufferResponse, response: `(call $write_body (i32.const 1) (str "new"))
			(call $set_header_value (i32.const 1) (str "content-length") (str "50"))`}, declares("10", "0123456789"), "new"},
		"the guest says more before": {wat{start: bufferResponse, request: `(call $set_header_value (i32.const 1) (str "content-length") (str "10"))` + pass},
			func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, "hello"},
		"the handler says less":                     {wat{start: bufferResponse}, declares("5", "0123456789"), "0123456789"},
		"the handler breaks off":                    {wat{start: bufferResponse}, declares("50", "0123456789"), ""},
		"the handler breaks off, the guest says so": {set("10"), declares("50", "0123456789"), ""},
		"the handler breaks off, the guest answers": {wat{start: bufferResponse, response: `(call $write_body (i32.const 1) (str "instead"))`},
			declares("50", "0123456789"), "instead"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plugin(t, tt.guest.compile(t), moduleConfig(), wasmhost.Options{})
			s := serve(t, p.Middleware(tt.next))
			res, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if (err != nil) != (tt.want == "") || err == nil && (string(b) != tt.want || res.Header.Get("Content-Length") != fmt.Sprint(len(tt.want))) {
				t.Errorf("%q with Content-Length %s, error %v; want %q", b, res.Header.Get("Content-Length"), err, tt.want)
			}
		})
	}
}

// TestOriginsWrongLengthIsLogged: an answer of the guest's own that does not have the length which it says breaks.
func TestOriginsWrongLengthIsLogged(t *testing.T) {
	t.Parallel()
	for length, write := range map[string]string{
		"5": `(call $write_body (i32.const 1) (str "0123456789"))`, "50": `(call $write_body (i32.const 1) (str "0123456789"))`,
		"10": `(call $set_status_code (i32.const 200))`, "11": "",
	} {
		var log testenv.Log
		p := plugin(t, wat{request: `(call $set_header_value (i32.const 1) (str "content-length") (str "` + length + `"))
			` + write + done}.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
		s := serve(t, p.Middleware(echo))
		if res, err := s.Client().Get(s.URL); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		testenv.Eventually(t, "the log says so", func() bool { return p.Stats().Errors == 1 && strings.Contains(log.String(), "Content-Length") })
		wantLine(t, &log, "plugin=p", "Content-Length", "says="+length)
	}
}

// TestGETMadeHEAD: what answers has no body to send, and the client waits for none.
func TestGETMadeHEAD(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.txt", time.Time{}, bytes.NewReader([]byte("hello world")))
	})
	for _, start := range []string{"", bufferResponse} {
		p := plugin(t, wat{start: start, request: `(call $set_method (str "HEAD"))` + pass}.compile(t), moduleConfig(), wasmhost.Options{})
		if got := do(t, serve(t, p.Middleware(next)), "GET", "/", nil); got.StatusCode != 200 || got.body != "" || got.Header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("answer = %d %q with %v", got.StatusCode, got.body, got.Header)
		}
	}
}

// TestTrailersAreNoHeaders: once the body is out, net/http has both in one map.
func TestTrailersAreNoHeaders(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Declared")
		w.Header().Set("X-Header", "1")
		io.WriteString(w, "body")
		w.Header().Set("Declared", "one")
	})
	for _, start := range []string{"", bufferTrailers} {
		p := plugin(t, wat{start: start, response: `
			(call $log (i32.const 1) (i32.const 0) (i32.wrap_i64 (call $get_header_names (i32.const 1) (i32.const 0) (i32.const 1000))))
			(call $log (i32.const 1) (i32.const 0) (i32.wrap_i64 (call $get_header_names (i32.const 3) (i32.const 0) (i32.const 1000))))
			(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 1) (str "declared") (i32.const 0) (i32.const 0))) (then unreachable))
			(if (i64.eqz (call $get_header_values (i32.const 1) (str "x-header") (i32.const 0) (i32.const 0))) (then unreachable))`}.compile(t), moduleConfig(),
			wasmhost.Options{Logger: slog.New(slog.DiscardHandler)})
		w := httptest.NewRecorder()
		p.Middleware(next).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if st := p.Stats(); st.Traps != 0 {
			t.Errorf("start %q: declared is a header: %s", start, st.LastError)
		}
	}
	var log testenv.Log
	p := plugin(t, wat{response: `
		(call $log (i32.const 1) (i32.const 0) (i32.wrap_i64 (call $get_header_names (i32.const 1) (i32.const 0) (i32.const 1000))))`}.compile(t), moduleConfig(),
		wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	p.Middleware(next).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if text := log.String(); strings.Contains(text, "declared") || !strings.Contains(text, "x-header") {
		t.Errorf("names of headers:\n%s", text)
	}
}

// TestWhatBecameOfIt: the line of a trap says what happened to that request, and which export it was.
func TestWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	open := moduleConfig()
	open.OnError = wasmhost.OnErrorOpen
	for name, tt := range map[string]struct {
		guest wat
		cfg   wasmhost.ModuleConfig
		parts []string
	}{
		"request":              {wat{request: "unreachable"}, moduleConfig(), []string{"the request got 500", "function=handle_request"}},
		"half an answer":       {wat{request: `(call $write_body (i32.const 1) (str "half")) unreachable`}, moduleConfig(), []string{"broken off", "function=handle_request"}},
		"response":             {wat{response: "unreachable"}, moduleConfig(), []string{"the answer had gone out", "function=handle_response"}},
		"held":                 {wat{start: bufferResponse, response: "unreachable"}, moduleConfig(), []string{"the request got 500", "function=handle_response"}},
		"open":                 {wat{request: "unreachable"}, open, []string{"the request goes on without it"}},
		"open, half an answer": {wat{request: `(call $write_body (i32.const 1) (str "half")) unreachable`}, open, []string{"broken off"}},
		"open, held":           {wat{start: bufferResponse, response: "unreachable"}, open, []string{"the answer went out as the plugin got it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testenv.Log
			p := plugin(t, tt.guest.compile(t), tt.cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
			s := serve(t, p.Middleware(echo))
			if res, err := s.Client().Get(s.URL); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			testenv.Eventually(t, "the log says so", func() bool { return p.Stats().Traps == 1 && strings.Contains(log.String(), "plugin trapped") })
			wantLine(t, &log, append(tt.parts, "plugin=p")...)
		})
	}
}

// TestWebSocketEventsThatFail cost the message, with a line that names the plugin, and not the connection, unless the message is
// one that the plugin can never take.
func TestWebSocketEventsThatFail(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	cfg := moduleConfig()
	cfg.Allow.Publish = []string{"room.*"}
	p := plugin(t, edgeGuest(t, "WS"), cfg, wasmhost.Options{Services: wasmhost.Services{Hub: &fakeHub{}}, Logger: logger(&log, slog.LevelInfo)})
	ctx := context.Background()
	failed := uint64(0)
	for message, tt := range map[string]struct {
		code  int
		large bool
		parts []string
	}{
		"Trap":                      {0, false, []string{"plugin trapped; the message is lost", "function=ws_message"}},
		"Bad":                       {1011, false, []string{"ws_message returned 7"}},
		"No5":                       {1011, false, []string{"ws_message returned 1005"}},
		"Minus":                     {1011, false, []string{"ws_message returned -5"}},
		strings.Repeat("y", 70_000): {0, true, []string{"70000 bytes", "function=ws_message"}},
	} {
		code, err := p.WSMessage(ctx, 7, abi.WSText, []byte(message))
		failed++
		if err == nil || code != tt.code || errors.Is(err, wasmhost.ErrMessageTooLarge) != tt.large {
			t.Errorf("%.10q: code %d, error %v", message, code, err)
		}
		if st := p.Stats(); st.Errors != failed {
			t.Errorf("%.10q: %d errors are counted, want %d", message, st.Errors, failed)
		}
		wantLine(t, &log, append(tt.parts, "plugin=p")...)
	}
	if _, err := p.WSOpen(httptest.NewRecorder(), httptest.NewRequest("GET", "/trap", nil), 7); err == nil {
		t.Error("ws_open trapped without an error")
	}
	wantLine(t, &log, "the connection was refused", "function=ws_open")
	if _, err := p.WSOpen(httptest.NewRecorder(), httptest.NewRequest("GET", "/odd", nil), 7); err == nil {
		t.Error("ws_open returned 5 without an error")
	}
	wantLine(t, &log, "ws_open returned 5", "plugin=p")
}

// TestRouterDecisions that were kept are dropped, a host that it sets is the request's, and what it says of its errors is logged.
func TestRouterDecisions(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	p := plugin(t, edgeGuest(t, "ROUTE"), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	decide := func(uri string) (*wasmhost.Decision, *http.Request) {
		r := httptest.NewRequest("GET", uri, nil)
		d, err := p.Decide(httptest.NewRecorder(), r)
		if err != nil {
			return nil, nil
		}
		return d, d.Apply(r)
	}
	for _, kept := range []bool{false, true} {
		if d, _ := decide("/counted"); d.Kept() != kept {
			t.Errorf("kept = %v, want %v", d.Kept(), kept)
		}
	}
	p.ForgetDecisions()
	if d, _ := decide("/counted"); d.Kept() {
		t.Error("a decision is kept that was forgotten")
	}
	if _, r := decide("/host"); r.Host != "other.example" {
		t.Errorf("the host is %q", r.Host)
	}
	if d, _ := decide("/why"); d != nil {
		t.Errorf("an error of the router is the decision %+v", d)
	}
	wantLine(t, &log, "function=route", "route returned -1", "the store is away")
	decide("/trap")
	wantLine(t, &log, "function=route", "kind=code")
	if strings.Contains(log.String(), "handle_request") {
		t.Errorf("route is called handle_request:\n%s", log.String())
	}
}

// TestHeldAnswersOutliveAReplacement: a request whose answer is held back keeps its old instance for as long as it takes; one that
// is not loses its handle_response in the end, which is logged and counted.
func TestHeldAnswersOutliveAReplacement(t *testing.T) {
	t.Parallel()
	for _, held := range []bool{true, false} {
		start := ""
		if held {
			start = bufferResponse
		}
		module := func(n string) []byte {
			return wat{start: start, response: `(call $log (i32.const 1) (str "response of ` + n + `"))`}.compile(t)
		}
		var log testenv.Log
		file := filepath.Join(testenv.Dir(t), "p.wasm")
		write(t, file, module("1"))
		cfg := moduleConfig()
		cfg.File = file
		h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: logger(&log, slog.LevelDebug)})
		h.DrainFor(0)
		p, _ := h.Plugin("p")
		next := newBlocked()
		s := serve(t, p.Middleware(next))
		old := make(chan int)
		go func() { old <- do(t, s, "GET", "/", nil).StatusCode }()
		<-next.entered
		write(t, file, module("2"))
		if err := h.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		if held {
			testenv.Eventually(t, "the drain goes on", func() bool { return strings.Contains(log.String(), "keeps old content of the plugin") })
		} else {
			testenv.Eventually(t, "the old one is taken", func() bool { return strings.Contains(log.String(), "requests go on without handle_response") })
			wantLine(t, &log, "level=WARN", "plugin=p", "requests=1")
		}
		close(next.release)
		if status := <-old; status != 200 {
			t.Errorf("held %v: status %d", held, status)
		}
		if got := strings.Contains(log.String(), "response of 1"); got != held {
			t.Errorf("held %v: handle_response ran: %v", held, got)
		}
		if lost := p.Stats().Errors; (lost != 0) == held {
			t.Errorf("held %v: %d errors", held, lost)
		}
		testenv.Eventually(t, "the old content is closed", func() bool { return strings.Contains(log.String(), "old generation of the plugin closed") })
	}
}

// TestFeaturesThatComeLate: what the guest said of its answer before it turned buffer_response on counts, and what of it is on its way
// cannot be held back any more.
func TestFeaturesThatComeLate(t *testing.T) {
	t.Parallel()
	const late = `(drop (call $enable_features (i32.const 2)))`
	const half = `(call $write_body (i32.const 1) (str "half")) ` + late
	for name, tt := range map[string]struct {
		request, want string // "": broken off
		status        int
	}{
		"a status":              {`(call $set_status_code (i32.const 404)) ` + late + `(call $write_body (i32.const 1) (str "none"))` + done, "none", 404},
		"a status alone":        {`(call $set_status_code (i32.const 404)) ` + late + done, "", 404},
		"a status that is read": {`(call $set_status_code (i32.const 404)) ` + late + `(if (i32.ne (call $get_status_code) (i32.const 404)) (then unreachable))` + done, "", 404},
		"half":                  {half + `(call $write_body (i32.const 1) (str " and half"))` + done, "half and half", 200},
		"half, then a trap":     {half + "unreachable", "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plugin(t, wat{request: tt.request}.compile(t), moduleConfig(), wasmhost.Options{})
			s := serve(t, p.Middleware(echo))
			res, err := s.Client().Get(s.URL)
			broken := name == "half, then a trap"
			var b []byte
			if err == nil {
				defer res.Body.Close()
				b, err = io.ReadAll(res.Body)
			}
			if broken != (err != nil) || !broken && (res.StatusCode != tt.status || string(b) != tt.want) {
				t.Errorf("answer = %+v with %q, error %v; want %d %q", res, b, err, tt.status, tt.want)
			}
		})
	}
}

// TestHeldAnswerWithoutBody: an answer that the guest makes one of no content has no length either.
func TestHeldAnswerWithoutBody(t *testing.T) {
	t.Parallel()
	p := plugin(t, wat{start: bufferResponse, response: `(call $set_status_code (i32.const 204))`}.compile(t), moduleConfig(), wasmhost.Options{})
	w := httptest.NewRecorder()
	p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if length, there := w.Header()["Content-Length"]; w.Code != 204 || there {
		t.Errorf("%d with the Content-Length %q", w.Code, length)
	}
}

// TestStatusBeforeNext counts only if the guest answers by itself, held back or not, and whether or not the handler says a word.
func TestStatusBeforeNext(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"", bufferResponse} {
		p := plugin(t, wat{start: start, request: `(call $set_status_code (i32.const 404))` + pass}.compile(t), moduleConfig(), wasmhost.Options{})
		for name, next := range map[string]http.HandlerFunc{
			"silent":  func(http.ResponseWriter, *http.Request) {},
			"writes":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
			"decides": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		} {
			w := httptest.NewRecorder()
			if p.Middleware(next).ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != 200 {
				t.Errorf("start %q: a handler that %s: %d", start, name, w.Code)
			}
		}
	}
}

// TestManyTrailersCost what it takes to look for each header among them.
func TestManyTrailersCost(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Limits.Fuel = 100_000_000
	p := plugin(t, wat{request: `
		(memory.fill (i32.const 0) (i32.const 44) (i32.const 30000))
		(call $set_header_value (i32.const 1) (str "trailer") (i32.const 0) (i32.const 30000))
		(loop $more
			(i32.store (i32.const 31000) (i32.add (i32.const 0x61616178)
				(i32.add (i32.shl (i32.rem_u (local.get $n) (i32.const 26)) (i32.const 8)) (i32.shl (i32.div_u (local.get $n) (i32.const 26)) (i32.const 16)))))
			(call $set_header_value (i32.const 1) (i32.const 31000) (i32.const 4) (str "v"))
			(br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 300))))
		(drop (call $get_header_names (i32.const 3) (i32.const 0) (i32.const 0)))` + done}.compile(t), cfg, wasmhost.Options{})
	w := httptest.NewRecorder()
	p.Middleware(echo).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if st := p.Stats(); w.Code != 500 || st.TrapsByKind["fuel"] != 1 {
		t.Errorf("%d after %d units of fuel: %s", w.Code, st.Fuel.Last, st.LastError)
	}
}

// TestLongHeaderNames: a name of megabytes is none, and costs nothing to say so; without that a guest asks for one again and again.
func TestLongHeaderNames(t *testing.T) {
	t.Parallel()
	ask := func(length int) wat {
		return wat{request: fmt.Sprintf(`(memory.fill (i32.const 0) (i32.const 97) (i32.const 32000))
			(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (i32.const 0) (i32.const %d) (i32.const 0) (i32.const 0)))
				(then (call $set_status_code (i32.const 404))))`, length) + done}
	}
	for length, want := range map[int]int{16 << 10: 404, 16<<10 + 1: 200} {
		p := plugin(t, ask(length).compile(t), moduleConfig(), wasmhost.Options{})
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(strings.Repeat("a", length), "there")
		w := httptest.NewRecorder()
		if p.Middleware(echo).ServeHTTP(w, r); w.Code != want {
			t.Errorf("a name of %d bytes: %d, want %d: %s", length, w.Code, want, p.Stats().LastError)
		}
	}
	p := plugin(t, wat{request: `(memory.fill (i32.const 0) (i32.const 97) (i32.const 32000))
		(call $set_header_value (i32.const 1) (i32.const 0) (i32.const 32000) (str "v"))` + done}.compile(t), moduleConfig(), wasmhost.Options{})
	p.Middleware(echo).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if last := p.Stats().LastError; !strings.Contains(last, "set_header_value") || !strings.Contains(last, "is not a header name") || len(last) > 300 {
		t.Errorf("a name of 32000 bytes is set: %s", last)
	}
}
