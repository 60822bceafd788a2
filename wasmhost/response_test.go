package wasmhost_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

const (
	bufferResponse = "(drop (call $enable_features (i32.const 2)))"
	bufferTrailers = "(drop (call $enable_features (i32.const 6)))"
)

// TestResponse is one row per thing a guest does to an answer, seen from the client.
func TestResponse(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 2000)
	small := moduleConfig()
	small.Limits.Body = 1000 * bytesize.Size(1)
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Next", "was here")
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.WriteHeader(203)
			io.WriteString(w, body)
		}
	}

	for _, tt := range []struct {
		name   string
		guest  wat
		config wasmhost.ModuleConfig
		next   http.HandlerFunc
		method string // default GET
		status int    // default 200
		want   string
		header map[string]string
	}{
		{
			name: "a guest answers by itself, and neither the next handler nor handle_response runs",
			guest: wat{request: `(call $set_status_code (i32.const 418)) (call $set_header_value (i32.const 1) (str "x-kind") (str "pot"))
				(call $write_body (i32.const 1) (str "short ")) (call $write_body (i32.const 1) (str "and stout"))` + done,
				response: "unreachable"},
			next:   func(http.ResponseWriter, *http.Request) { t.Error("the next handler ran") },
			status: 418, want: "short and stout", header: map[string]string{"X-Kind": "pot"},
		}, {
			name:   "a status without a body",
			guest:  wat{request: `(call $set_status_code (i32.const 204))` + done},
			status: 204,
		}, {
			name:  "an answer of nothing is 200",
			guest: wat{request: done},
		}, {
			name:   "reqCtx decides nothing, next does",
			guest:  wat{request: `(i64.const 68719476736)`, response: "unreachable"}, // 16<<32
			status: 200,
		}, {
			name: "headers set before next stay, unless the handler sets them",
			guest: wat{request: `(call $set_header_value (i32.const 1) (str "x-next") (str "guest"))
				(call $set_header_value (i32.const 1) (str "x-early") (str "guest"))` + pass},
			next: text("x"), status: 203, want: "x", header: map[string]string{"X-Next": "was here", "X-Early": "guest"},
		}, {
			name: "handle_response gets reqCtx and reads the header of an answer that went out",
			guest: wat{request: `(i64.or (i64.const 1) (i64.shl (i64.const 7) (i64.const 32)))`,
				response: `(if (i32.ne (local.get $ctx) (i32.const 7)) (then unreachable))
					(if (local.get $err) (then unreachable))
					(if (i64.ne (call $get_header_values (i32.const 1) (str "x-next") (i32.const 0) (i32.const 99)) (i64.const 4294967305)) (then unreachable))`},
			next: text("x"), status: 203, want: "x",
		}, {
			name: "a held answer: status, header and body change, and the length with them",
			guest: wat{start: bufferResponse, response: `
				(if (i32.ne (call $get_status_code) (i32.const 203)) (then unreachable))
				(local.set $n (call $chunks (i32.const 1) (i32.const 100)))
				(call $upper (local.get $n))
				(call $set_status_code (i32.const 201))
				(call $remove_header (i32.const 1) (str "x-next"))
				(call $add_header_value (i32.const 1) (str "x-added") (str "1"))
				(call $write_body (i32.const 1) (str "<"))
				(call $write_body (i32.const 1) (i32.const 0) (local.get $n))
				(call $write_body (i32.const 1) (str ">"))`},
			next: text(strings.Repeat("abc", 3000)), status: 201, want: "<" + strings.Repeat("ABC", 3000) + ">",
			header: map[string]string{"X-Next": "", "X-Added": "1", "Content-Length": "9002"},
		}, {
			name:  "a held answer that the guest leaves alone",
			guest: wat{start: bufferResponse},
			next:  text(big), status: 203, want: big, header: map[string]string{"X-Next": "was here", "Content-Length": "20000"},
		}, {
			name:  "a held answer gets a length where the handler gave none",
			guest: wat{start: bufferResponse},
			next:  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big) }, want: big,
			header: map[string]string{"Content-Length": "20000"},
		}, {
			name:   "a held answer to HEAD keeps its length",
			guest:  wat{start: bufferResponse},
			method: "HEAD",
			next: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "123")
			},
			header: map[string]string{"Content-Length": "123"},
		}, {
			name:   "buffer_response for one request",
			guest:  wat{request: bufferResponse + pass, response: `(call $set_status_code (i32.const 299))`},
			next:   text("x"),
			status: 299, want: "x",
		}, {
			name:  "a held answer that is too large becomes 500, and the guest is told",
			guest: wat{start: bufferResponse, response: `(if (i32.eqz (local.get $err)) (then unreachable))`}, config: small,
			next: text(big), status: 500, want: "Internal Server Error\n", header: map[string]string{"X-Next": ""},
		}, {
			name:  "a trap in handle_response lets nothing of a held answer out",
			guest: wat{start: bufferResponse, response: "unreachable"},
			next:  text("secret"), status: 500, want: "Internal Server Error\n", header: map[string]string{"X-Next": ""},
		}, {
			name:  "a trap in handle_response cannot take back an answer that went out",
			guest: wat{response: "unreachable"},
			next:  text("out"), status: 203, want: "out",
		}, {
			name: "a guest answers by itself with buffer_response: the header may follow the body",
			guest: wat{start: bufferResponse, request: `(call $write_body (i32.const 1) (str "body"))
				(call $set_header_value (i32.const 1) (str "x-late") (str "1")) (call $set_status_code (i32.const 202))` + done},
			status: 202, want: "body", header: map[string]string{"X-Late": "1", "Content-Length": "4"},
		}, {
			name: "buffer_response without a handle_response holds nothing back",
			guest: wat{start: bufferResponse, request: `(call $set_header_value (i32.const 1) (str "x-early") (str "1"))` + pass,
				response: "(return)"},
			next: func(w http.ResponseWriter, r *http.Request) {
				if _, wrapped := w.(interface{ Unwrap() http.ResponseWriter }); wrapped {
					t.Error("the answer is held back")
				}
				text("x")(w, r)
			},
			status: 203, want: "x", header: map[string]string{"X-Early": "1", "X-Next": "was here"},
		}, {
			name: "names of the response",
			guest: wat{start: bufferResponse, response: `
				(local.set $r (call $get_header_names (i32.const 1) (i32.const 0) (i32.const 1000)))
				(call $say_list (local.get $r) (str "names"))`},
			next: text("x"), status: 203, want: "x", header: map[string]string{"Names": "content-length,x-next,"},
		}, {
			name: "a NUL that a handler puts into a header does not break the list",
			guest: wat{start: bufferResponse, response: `
				(local.set $r (call $get_header_values (i32.const 1) (str "x-nul") (i32.const 0) (i32.const 1000)))
				(call $remove_header (i32.const 1) (str "x-nul"))
				(call $say_list (local.get $r) (str "values"))`},
			next:   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Nul", "a\x00b") },
			header: map[string]string{"Values": "a b,"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.config.Instances.Max == 0 {
				tt.config = moduleConfig()
			}
			if tt.next == nil {
				tt.next = text("")
			}
			if tt.method == "" {
				tt.method = "GET"
			}
			if tt.status == 0 {
				tt.status = 200
			}
			p := plugin(t, tt.guest.compile(t), tt.config, wasmhost.Options{})
			got := do(t, serve(t, p.Middleware(tt.next)), tt.method, "/", nil)
			if got.StatusCode != tt.status || got.body != tt.want {
				t.Errorf("answer = %d %.100q, want %d %.100q (last error: %s)", got.StatusCode, got.body, tt.status, tt.want, p.Stats().LastError)
			}
			for name, want := range tt.header {
				if have := strings.Join(got.Header.Values(name), "|"); have != want {
					t.Errorf("%s = %q, want %q", name, have, want)
				}
			}
			if busy := p.Stats().Busy; busy != 0 {
				t.Errorf("%d instances are busy after the request", busy)
			}
		})
	}
}

func TestResponseTrailers(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Declared, X-Later")
		io.WriteString(w, "body")
		w.Header().Set("Declared", "one")
		w.Header().Set(http.TrailerPrefix+"Undeclared", "two")
	})
	g := wat{start: bufferTrailers, response: `
		(local.set $r (call $get_header_names (i32.const 3) (i32.const 0) (i32.const 1000)))
		(call $say_list (local.get $r) (str "names"))
		(local.set $r (call $get_header_values (i32.const 3) (str "declared") (i32.const 0) (i32.const 1000)))
		(call $say_list (local.get $r) (str "declared-was"))
		(call $set_header_value (i32.const 3) (str "declared") (str "three"))
		(call $remove_header (i32.const 3) (str "undeclared"))
		(call $add_header_value (i32.const 3) (str "added") (str "four"))`}
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
	got := do(t, serve(t, p.Middleware(next)), "GET", "/", nil)
	if got.body != "body" || got.Header.Get("Names") != "declared,undeclared," || got.Header.Get("Declared-Was") != "one," {
		t.Errorf("answer = %q with %v (%s)", got.body, got.Header, p.Stats().LastError)
	}
	if want := "map[Added:[four] Declared:[three] X-Later:[]]"; fmt.Sprint(got.Trailer) != want {
		t.Errorf("trailers = %v, want %v", got.Trailer, want)
	}
}

// TestStreamsPass: without buffer_response the next handler writes straight to the client, event by event.
func TestStreamsPass(t *testing.T) {
	t.Parallel()
	p := plugin(t, wat{}.compile(t), moduleConfig(), wasmhost.Options{})
	goOn := make(chan struct{})
	var outer http.ResponseWriter
	inner := p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if w != outer {
			t.Error("the ResponseWriter is wrapped though nobody asked to see the answer")
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-goOn
		}
	}))
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer = w
		inner.ServeHTTP(w, r)
	}))
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewReader(res.Body)
	for i := range 3 {
		line, err := events.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
			t.Fatalf("event %d = %q, %v", i, line, err)
		}
		events.ReadString('\n')
		goOn <- struct{}{}
	}
}

// TestHijackPasses, held back or not: the connection belongs to the handler then.
func TestHijackPasses(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]wat{
		"direct": {},
		"held":   {start: bufferResponse, response: `(call $set_status_code (i32.const 500)) (call $write_body (i32.const 1) (str "x"))`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
			s := serve(t, p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, rw, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				rw.Flush()
				line, _ := rw.ReadString('\n')
				io.WriteString(conn, line)
			})))
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
			all, _ := io.ReadAll(conn)
			if got := string(all); !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "\r\n\r\nhello\n") {
				t.Errorf("the client got %q", got)
			}
			testenv.Eventually(t, "the instance is free again", func() bool { return p.Stats().Busy == 0 })
			if traps := p.Stats().Traps; traps != 0 {
				t.Errorf("%d traps: %s", traps, p.Stats().LastError)
			}
		})
	}
}

// TestNextPanics: the panic goes on, the guest learns that there is no answer, the instance is free again.
func TestNextPanics(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]string{"direct": "", "held": bufferResponse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := wat{start: start, response: `(if (local.get $err) (then (call $log (i32.const 1) (str "told of the error"))))`}
			var log testenv.Log
			p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelWarn)})
			s := serve(t, p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "half an answer")
				panic(http.ErrAbortHandler)
			})))
			res, err := s.Client().Get(s.URL)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil {
				t.Error("the client got a whole answer from a handler that broke off")
			}
			testenv.Eventually(t, "the guest is told", func() bool { return strings.Contains(log.String(), "told of the error") })
			testenv.Eventually(t, "the instance is free again", func() bool { st := p.Stats(); return st.Busy == 0 && st.Idle == 1 })
		})
	}
}

// TestHalfAnswerIsBrokenOff: when a guest traps in the middle of its answer, the client must not take it for a whole one.
func TestHalfAnswerIsBrokenOff(t *testing.T) {
	t.Parallel()
	p := plugin(t, wat{request: `(call $write_body (i32.const 1) (str "half an answer")) unreachable`}.compile(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	res, err := s.Client().Get(s.URL)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("the client got a whole answer")
	}
	if st := p.Stats(); st.Traps != 1 || st.Busy != 0 {
		t.Errorf("stats = %+v, want one trap and no busy instance", st)
	}
}
