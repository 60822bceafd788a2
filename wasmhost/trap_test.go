package wasmhost_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestMisuseTraps: one row per way to misuse a host function. The client gets 500 and not a word of why; LastError says it.
func TestMisuseTraps(t *testing.T) {
	t.Parallel()
	const outside = "(i32.const 131070) (i32.const 10)" // memory ends at 131072
	const huge = "(i32.const -1) (i32.const -1)"
	request := func(call string) wat { return wat{request: call + pass} }
	response := func(call string) wat { return wat{response: call} }

	for _, tt := range []struct {
		guest wat
		want  string
	}{
		{request("(drop (call $get_uri " + outside + "))"), ""}, // "/" fits, so only what is written must lie inside
		{request("(drop (call $get_uri (i32.const 131072) (i32.const 10)))"), "buf: 1 bytes at 131072 are outside"},
		{request("(drop (call $get_method (i32.const -2) (i32.const 10)))"), "buf: 3 bytes at 4294967294 are outside"},
		{request("(drop (call $get_protocol_version " + outside + "))"), "buf: 8 bytes"},
		{request("(drop (call $get_source_addr (i32.const 131070) (i32.const 99)))"), "buf: "},
		{request("(drop (call $get_header_names (i32.const 0) " + outside + "))"), ""}, // does not fit: nothing is written
		{request("(drop (call $get_header_names (i32.const 0) " + huge + "))"), "buf: "},
		{request("(drop (call $get_header_values (i32.const 0) " + outside + " (i32.const 0) (i32.const 10)))"), "name: 10 bytes at 131070 are outside"},
		{request(`(drop (call $get_header_values (i32.const 0) (str "host") ` + huge + "))"), "buf: "},
		{request("(call $log (i32.const 0) " + outside + ")"), "message: 10 bytes"},
		{request("(call $set_method " + outside + ")"), "method: 10 bytes"},
		{request("(call $set_uri " + huge + ")"), "uri: 4294967295 bytes"},
		{request(`(call $set_header_value (i32.const 0) ` + outside + ` (str "v"))`), "name: 10 bytes"},
		{request(`(call $set_header_value (i32.const 0) (str "n") ` + outside + `)`), "value: 10 bytes"},
		{request(`(call $add_header_value (i32.const 0) ` + huge + ` (str "v"))`), "name: 4294967295 bytes"},
		{request(`(call $add_header_value (i32.const 0) (str "n") ` + huge + `)`), "value: 4294967295 bytes"},
		{request(`(call $remove_header (i32.const 0) ` + outside + `)`), "name: 10 bytes"},
		{request("(drop (call $read_body (i32.const 0) " + outside + "))"), "buf: 10 bytes"},
		{request("(call $write_body (i32.const 1) " + outside + ")"), "body: 10 bytes"},

		{request("(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 0)))"), "limit is 0"},
		{request("(drop (call $read_body (i32.const 2) (i32.const 0) (i32.const 1)))"), "body kind 2 is unknown"},
		{request("(call $write_body (i32.const 9) (i32.const 0) (i32.const 1))"), "body kind 9 is unknown"},
		{request("(drop (call $get_header_names (i32.const 4) (i32.const 0) (i32.const 1)))"), "header kind 4 is unknown"},
		{request(`(call $set_header_value (i32.const 4) (str "n") (str "v"))`), "header kind 4 is unknown"},
		{request(`(call $set_method (str "NO METHOD"))`), "not an HTTP method"},
		{request(`(call $set_method (i32.const 0) (i32.const 0))`), "not an HTTP method"},
		{request(`(call $set_uri (str "http://other/"))`), "not path and query"},
		{request(`(call $set_uri (str "/a b"))`), "not path and query"},
		{request(`(call $set_uri (str "/%zz"))`), "invalid URL escape"},
		{request(`(call $set_header_value (i32.const 0) (str "na me") (str "v"))`), `"na me" is not a header name`},
		{request(`(call $set_header_value (i32.const 1) (str "n") (str "v\0d\0aSet-Cookie: x"))`), "is not a header value"},
		{request(`(call $remove_header (i32.const 0) (i32.const 0) (i32.const 0))`), `"" is not a header name`},
		{request(`(call $set_status_code (i32.const 99))`), "99 is not a final status"},
		{request(`(call $set_status_code (i32.const 1000))`), "1000 is not a final status"},
		{request(`(call $set_header_value (i32.const 3) (str "n") (str "v"))`), "needs the feature trailers"},
		{request(`(drop (call $read_body (i32.const 1) (i32.const 0) (i32.const 9)))`), "the response body can be read in handle_response"},
		{request(`(call $write_body (i32.const 0) (i32.const 0) (i32.const 9)) unreachable`), "unreachable"},

		{response(`(call $set_method (str "GET"))`), "set_method: the request has gone on"},
		{response(`(call $set_uri (str "/"))`), "set_uri: the request has gone on"},
		{response(`(call $set_header_value (i32.const 0) (str "n") (str "v"))`), "set_header_value: the request has gone on"},
		{response(`(call $add_header_value (i32.const 2) (str "n") (str "v"))`), "add_header_value: the request has gone on"},
		{response(`(call $remove_header (i32.const 0) (str "n"))`), "remove_header: the request has gone on"},
		{response(`(call $write_body (i32.const 0) (str "x"))`), "write_body: the request has gone on"},
		{response(`(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 9)))`), "read_body: the request has gone on"},
		{response(`(call $set_status_code (i32.const 200))`), "needs the feature buffer_response"},
		{response(`(drop (call $get_status_code))`), "needs the feature buffer_response"},
		{response(`(call $set_header_value (i32.const 1) (str "n") (str "v"))`), "needs the feature buffer_response"},
		{response(`(call $write_body (i32.const 1) (str "x"))`), "needs the feature buffer_response"},
		{response(`(drop (call $enable_features (i32.const 2))) (call $set_status_code (i32.const 200))`), "needs the feature buffer_response"},
	} {
		name := strings.TrimSuffix(tt.guest.request, pass) + tt.guest.response
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plugin(t, tt.guest.compile(t), moduleConfig(), wasmhost.Options{})
			s := serve(t, p.Middleware(echo))
			got := do(t, s, "GET", "/", nil)
			st := p.Stats()
			if tt.want == "" {
				if got.StatusCode != 200 || st.Traps != 0 {
					t.Fatalf("answer = %d, want 200: %s", got.StatusCode, st.LastError)
				}
				return
			}
			inRequest := tt.guest.response == ""
			if inRequest && (got.StatusCode != 500 || got.body != "Internal Server Error\n") {
				t.Errorf("answer = %d %q, want a plain 500", got.StatusCode, got.body)
			}
			if !strings.Contains(st.LastError, tt.want) {
				t.Errorf("last error = %q, want %q in it", st.LastError, tt.want)
			}
			if function := "handle_response"; !inRequest && !strings.HasPrefix(st.LastError, function) {
				t.Errorf("last error = %q, want %q before it", st.LastError, function)
			}
			if st.Traps != 1 || st.Errors != 1 || st.Busy != 0 || st.Idle != 1 {
				t.Errorf("stats = %+v, want one trap and an instance that is as new", st)
			}
		})
	}
}

// TestTrappedInstanceIsNotReused: the memory a trap left behind is never seen again, and the next request is served.
func TestTrappedInstanceIsNotReused(t *testing.T) {
	t.Parallel()
	g := wat{
		request: `(global.set $seen (i32.add (global.get $seen) (i32.const 1)))
			(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (str "x-trap") (i32.const 0) (i32.const 99))) (then unreachable))
			(call $set_status_code (i32.add (i32.const 200) (global.get $seen)))` + done,
		more: `(global $seen (mut i32) (i32.const 0))`,
	}
	var log testenv.Log
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	s := serve(t, p.Middleware(echo))
	var statuses []int
	for _, trap := range []bool{false, false, true, false, true, true, false} {
		header := []string{"X-Other", "1"}
		if trap {
			header[0] = "X-Trap"
		}
		statuses = append(statuses, do(t, s, "GET", "/", nil, header...).StatusCode)
	}
	if got, want := fmt.Sprint(statuses), "[201 202 500 201 500 500 201]"; got != want {
		t.Errorf("statuses = %s, want %s", got, want)
	}
	if st := p.Stats(); st.Traps != 3 || st.Requests != 7 {
		t.Errorf("stats = %+v, want 3 traps in 7 requests", st)
	}
	if text := log.String(); strings.Count(text, "plugin trapped") != 3 || !strings.Contains(text, "plugin=p") {
		t.Errorf("log:\n%s", text)
	}
}

// TestExitEndsTheInstance: proc_exit is a clean start and a dead instance afterwards.
func TestExitEndsTheInstance(t *testing.T) {
	t.Parallel()
	const exit = `(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))`
	g := wat{
		imports: exit, start: "(call $exit (i32.const 0))",
		request: `(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (str "x-exit") (i32.const 0) (i32.const 99)))
			(then (call $exit (i32.const 0)))) (call $set_status_code (i32.const 202))` + done,
	}
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	for _, tt := range []struct {
		header string
		status int
	}{{"X-Not", 202}, {"X-Exit", 500}, {"X-Not", 202}} {
		if got := do(t, s, "GET", "/", nil, tt.header, "1"); got.StatusCode != tt.status {
			t.Errorf("with %s: status = %d, want %d (%s)", tt.header, got.StatusCode, tt.status, p.Stats().LastError)
		}
	}
}

// TestBrokenBodyIsTheClients: a client that breaks off its body gets no blame on the plugin.
func TestBrokenBodyIsTheClients(t *testing.T) {
	t.Parallel()
	g := wat{request: "(drop (call $chunks (i32.const 0) (i32.const 100)))" + pass}
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
	inner := p.Middleware(echo)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 50)
		inner.ServeHTTP(w, r)
	}))

	got := do(t, s, "POST", "/", strings.NewReader(strings.Repeat("x", 100)))
	if got.StatusCode != 413 {
		t.Errorf("a body over http.limits: status = %d, want 413", got.StatusCode)
	}
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nabc")
	conn.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(conn)
	conn.Close()
	if !strings.HasPrefix(string(all), "HTTP/1.1 400 ") {
		t.Errorf("half a body: %.100q, want 400", all)
	}
	if st := p.Stats(); st.Traps != 0 || st.Errors != 2 {
		t.Errorf("stats = %+v, want two errors and no trap", st)
	}
}

// TestStdoutExplainsTraps of TinyGo, which says nothing on stderr. What an earlier request printed explains nothing.
func TestStdoutExplainsTraps(t *testing.T) {
	t.Parallel()
	g := wat{
		imports: `(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))`,
		request: `(i32.store (i32.const 0) (i32.const 32768)) (i32.store (i32.const 4) (i32.const 8))
			(if (i32.eq (call $get_method (i32.const 64) (i32.const 8)) (i32.const 4)) (then unreachable))
			(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
			(if (i32.eq (call $get_method (i32.const 64) (i32.const 8)) (i32.const 6)) (then unreachable))
			(call $log (i32.const -1) (str "no cheese")) ` + pass,
	}
	var log testenv.Log
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	s := serve(t, p.Middleware(echo))
	do(t, s, "GET", "/", nil)
	do(t, s, "POST", "/", nil)
	if text := log.String(); !strings.Contains(text, "plugin trapped") || strings.Contains(text, "stdout=") {
		t.Errorf("a trap without a word is explained by what the request before it printed:\n%s", text)
	}
	do(t, s, "DELETE", "/", nil)
	if text := log.String(); !strings.Contains(text, `stdout="no chees"`) {
		t.Errorf("the log lacks what the guest printed:\n%s", text)
	}
}

// TestStderrExplainsTraps: most languages say there why they trap.
func TestStderrExplainsTraps(t *testing.T) {
	t.Parallel()
	g := wat{
		imports: `(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))`,
		request: `(i32.store (i32.const 0) (i32.const 32768)) (i32.store (i32.const 4) (i32.const 21))
			(drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
			(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
			(call $log (i32.const -1) (str "panic: out of cheese\0a")) unreachable`,
	}
	var log testenv.Log
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelDebug)})
	do(t, serve(t, p.Middleware(echo)), "GET", "/", nil)
	for _, want := range []string{
		`level=DEBUG msg="panic: out of cheese" plugin=p stream=stderr`,
		`level=DEBUG msg="panic: out of cheese" plugin=p stream=stdout`,
		`stderr="panic: out of cheese\n"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
}
