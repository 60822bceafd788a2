package wasmhost_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// echo answers with what of the request reached it.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.Header().Set("X-Error", err.Error())
	}
	w.Header().Set("X-Method", r.Method)
	w.Header().Set("X-Uri", r.RequestURI+" "+r.URL.RequestURI())
	w.Header().Set("X-Host", r.Host)
	w.Header().Set("X-Length", r.Header.Get("Content-Length"))
	for name, values := range r.Header {
		w.Header()["Saw-"+name] = values
	}
	for name, values := range r.Trailer {
		w.Header()["Trailer-"+name] = values
	}
	w.Write(body)
})

// TestRequest is one row per thing a guest does to a request, seen from the handler behind it.
func TestRequest(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 2000)
	small := moduleConfig()
	small.Limits.Body = 1000 * bytesize.Size(1)

	for _, tt := range []struct {
		name    string
		guest   wat
		config  wasmhost.ModuleConfig
		uri     string
		body    string
		headers []string
		status  int // default 200
		want    string
		header  map[string]string
	}{
		{
			name:  "a body that the guest reads in chunks reaches the next handler whole",
			guest: wat{start: "(drop (call $enable_features (i32.const 1)))", request: "(drop (call $chunks (i32.const 0) (i32.const 777)))" + pass},
			body:  big, want: big, header: map[string]string{"X-Length": "20000"},
		}, {
			name: "a body that the guest reads in part reaches the next handler whole",
			guest: wat{request: `(drop (call $enable_features (i32.const 1)))
				(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 10)))` + pass},
			body: big, want: big, header: map[string]string{"X-Length": "20000"},
		}, {
			name:  "without buffer_request what was read is gone, and Content-Length says so",
			guest: wat{request: "(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 4)))" + pass},
			body:  "0123456789", want: "456789", header: map[string]string{"X-Length": "6"},
		}, {
			name: "a look at the beginning of a body larger than limits.body is fine",
			guest: wat{request: `(drop (call $enable_features (i32.const 1)))
				(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 10)))` + pass},
			config: small, body: big, want: big,
		}, {
			name:   "more of a body than limits.body is refused",
			guest:  wat{start: "(drop (call $enable_features (i32.const 1)))", request: "(drop (call $chunks (i32.const 0) (i32.const 100)))" + pass},
			config: small, body: big, status: 413, want: "Request Entity Too Large\n",
		}, {
			name: "the first write replaces the body, the next ones append",
			guest: wat{request: `(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 4)))
				(call $write_body (i32.const 0) (str "new ")) (call $write_body (i32.const 0) (str "body"))` + pass},
			body: big, want: "new body", header: map[string]string{"X-Length": "8"},
		}, {
			name:  "a body can be replaced by nothing",
			guest: wat{request: `(call $write_body (i32.const 0) (i32.const 0) (i32.const 0))` + pass},
			body:  big, want: "", header: map[string]string{"X-Length": "0"},
		}, {
			name:   "a body that the guest writes is bounded",
			guest:  wat{request: `(call $write_body (i32.const 0) (i32.const 0) (i32.const 1001))` + pass},
			config: small, status: 500, want: "Internal Server Error\n",
		}, {
			name:  "method and URI change for the next handler",
			guest: wat{request: `(call $set_method (str "PATCH")) (call $set_uri (str "/a%26b?c=%20"))` + pass},
			want:  "", header: map[string]string{"X-Method": "PATCH", "X-Uri": "/a%26b?c=%20 /a%26b?c=%20"},
		}, {
			name:   "an empty URI is the root",
			guest:  wat{request: `(call $set_uri (i32.const 0) (i32.const 0))` + pass},
			uri:    "/x?y",
			header: map[string]string{"X-Uri": "/ /"},
		}, {
			name: "get_uri gives path and query as they came, and nothing when they do not fit",
			guest: wat{request: `(local.set $n (call $get_uri (i32.const 0) (i32.const 3)))
				(local.set $r (i64.extend_i32_u (call $get_uri (i32.const 100) (local.get $n))))
				(call $set_header_value (i32.const 0) (str "untouched") (i32.const 0) (i32.const 3))
				(call $set_header_value (i32.const 0) (str "uri") (i32.const 100) (local.get $n))` + pass},
			uri: "/a%2Fb%20c?q=%41&", status: 500, want: "Internal Server Error\n", // three NULs are no header value: nothing was written
		}, {
			name: "get_uri fits",
			guest: wat{request: `(local.set $n (call $get_uri (i32.const 100) (i32.const 1000)))
				(call $set_header_value (i32.const 0) (str "uri") (i32.const 100) (local.get $n))` + pass},
			uri: "/a%2Fb%20c?q=%41&", header: map[string]string{"Saw-Uri": "/a%2Fb%20c?q=%41&"},
		}, {
			name: "Host is a header to the guest",
			guest: wat{request: `(local.set $r (call $get_header_values (i32.const 0) (str "HOST") (i32.const 0) (i32.const 100)))
				(call $say_list (local.get $r) (str "was"))
				(call $set_header_value (i32.const 0) (str "host") (str "example.org"))` + pass},
			headers: []string{}, header: map[string]string{"X-Host": "example.org"},
		}, {
			name: "names are sorted and in lower case",
			guest: wat{request: `(local.set $r (call $get_header_names (i32.const 0) (i32.const 0) (i32.const 1000)))
				(call $say_list (local.get $r) (str "names"))` + pass},
			headers: []string{"X-Zebra", "1", "A-Ape", "2"},
			header:  map[string]string{"Names": "a-ape,accept-encoding,content-length,host,user-agent,x-zebra,"},
			body:    "x", want: "x",
		}, {
			name: "values keep their order and can be empty",
			guest: wat{request: `(local.set $r (call $get_header_values (i32.const 0) (str "x-LIST") (i32.const 0) (i32.const 1000)))
				(call $say_list (local.get $r) (str "values"))` + pass},
			headers: []string{"X-List", "b", "X-List", "", "X-List", "a"},
			header:  map[string]string{"Values": "b,,a,"},
		}, {
			name: "set replaces, add appends, remove removes",
			guest: wat{request: `(call $set_header_value (i32.const 0) (str "one") (str "new"))
				(call $add_header_value (i32.const 0) (str "TWO") (str "second"))
				(call $remove_header (i32.const 0) (str "three"))` + pass},
			headers: []string{"One", "old", "Two", "first", "Three", "3"},
			header:  map[string]string{"Saw-One": "new", "Saw-Two": "first|second", "Saw-Three": ""},
		}, {
			name: "a name that is no header name has no values",
			guest: wat{request: `(if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) (str "no name\0a") (i32.const 0) (i32.const 9)))
				(then unreachable))` + pass},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.config.Instances.Max == 0 {
				tt.config = moduleConfig()
			}
			p := plugin(t, tt.guest.compile(t), tt.config, wasmhost.Options{})
			s := serve(t, p.Middleware(echo))
			var body io.Reader
			method := "GET"
			if tt.body != "" {
				body, method = strings.NewReader(tt.body), "POST"
			}
			if tt.uri == "" {
				tt.uri = "/"
			}
			if tt.status == 0 {
				tt.status = 200
			}
			got := do(t, s, method, tt.uri, body, tt.headers...)
			if got.StatusCode != tt.status || got.body != tt.want {
				t.Errorf("answer = %d %.100q, want %d %.100q (last error: %s)", got.StatusCode, got.body, tt.status, tt.want, p.Stats().LastError)
			}
			for name, want := range tt.header {
				if have := strings.Join(got.Header.Values(name), "|"); have != want {
					t.Errorf("%s = %q, want %q", name, have, want)
				}
			}
		})
	}
}

// TestOuterHandlersSeeTheOriginal: what a guest changes besides headers stays inside of the plugin.
func TestOuterHandlersSeeTheOriginal(t *testing.T) {
	t.Parallel()
	g := wat{request: `(call $set_method (str "PUT")) (call $set_uri (str "/other"))
		(call $set_header_value (i32.const 0) (str "host") (str "other")) (call $write_body (i32.const 0) (str "other"))` + pass}
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
	inner := p.Middleware(echo)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := *r
		url := *r.URL
		inner.ServeHTTP(w, r)
		if r.Method != before.Method || *r.URL != url || r.RequestURI != before.RequestURI || r.Host != before.Host || r.Body != before.Body {
			t.Errorf("the request of the outer handler changed: %+v", r)
		}
	}))
	if got := do(t, s, "GET", "/", nil); got.Header.Get("X-Method") != "PUT" || got.body != "other" {
		t.Errorf("the inner handler saw %s %q", got.Header.Get("X-Method"), got.body)
	}
}

func TestRequestTrailers(t *testing.T) {
	t.Parallel()
	g := wat{
		start: "(drop (call $enable_features (i32.const 5)))",
		request: `(drop (call $chunks (i32.const 0) (i32.const 100)))
			(local.set $r (call $get_header_values (i32.const 2) (str "digest") (i32.const 0) (i32.const 100)))
			(call $say_list (local.get $r) (str "got"))
			(call $set_header_value (i32.const 2) (str "added") (str "by guest"))` + pass,
	}
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	r, _ := http.NewRequest("POST", s.URL, io.MultiReader(strings.NewReader("body"))) // of unknown length, so chunked
	r.Trailer = http.Header{"Digest": {"abc"}}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Got"); got != "abc," {
		t.Errorf("the guest saw the trailer %q, want %q (%s)", got, "abc,", p.Stats().LastError)
	}
	if got := res.Header.Get("Trailer-Digest") + "/" + res.Header.Get("Trailer-Added"); got != "abc/by guest" {
		t.Errorf("the next handler saw the trailers %q", got)
	}
}

// TestConfigIsThereAtStart: texts go verbatim, anything else as JSON.
func TestConfigIsThereAtStart(t *testing.T) {
	t.Parallel()
	g := wat{
		start: `(global.set $len (call $get_config (i32.const 1000) (i32.const 500)))`,
		request: `(call $set_header_value (i32.const 1) (str "config") (i32.const 1000) (global.get $len))
			(call $set_header_value (i32.const 1) (str "rest") (i32.const 1000) (call $get_config (i32.const 9) (i32.const 0)))` + done,
		more: `(global $len (mut i32) (i32.const 0))`,
	}
	module := g.compile(t)
	for name, tt := range map[string]struct {
		config any
		want   string
	}{
		"none":   {nil, ""},
		"text":   {"as: it is", "as: it is"},
		"map":    {map[string]any{"b": 1, "a": []any{"x", true, nil}}, `{"a":["x",true,null],"b":1}`},
		"number": {12, "12"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := moduleConfig()
			cfg.Config = tt.config
			s := serve(t, plugin(t, module, cfg, wasmhost.Options{}).Middleware(echo))
			if got := do(t, s, "GET", "/", nil).Header.Get("Config"); got != tt.want {
				t.Errorf("config = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	g := wat{request: `
		(if (call $log_enabled (i32.const -1)) (then unreachable))
		(if (call $log_enabled (i32.const 3)) (then unreachable))
		(if (i32.eqz (call $log_enabled (i32.const 0))) (then unreachable))
		(call $log (i32.const -1) (str "at debug"))
		(call $log (i32.const 0) (str "at info"))
		(call $log (i32.const 1) (str "at warn \ff\0a"))
		(call $log (i32.const 2) (str "at error"))
		(call $log (i32.const 3) (str "at none"))
		(call $log (i32.const 0) (i32.const 0) (i32.const 30000))` + done}
	var log testenv.Log
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	s := serve(t, p.Middleware(echo))
	if got := do(t, s, "GET", "/", nil); got.StatusCode != 200 {
		t.Fatalf("status %d: %s", got.StatusCode, p.Stats().LastError)
	}
	text := log.String()
	for _, want := range []string{`level=INFO msg="at info" plugin=p`, `level=WARN msg="at warn �\n"`, `level=ERROR msg="at error"`, "(cut)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%.2000s", want, text)
		}
	}
	for _, not := range []string{"at debug", "at none"} {
		if strings.Contains(text, not) {
			t.Errorf("the log has %q", not)
		}
	}
}

func TestLogFloodIsBounded(t *testing.T) {
	t.Parallel()
	g := wat{request: `(loop $next
			(call $log (i32.const 0) (str "flood"))
			(local.set $n (i32.add (local.get $n) (i32.const 1)))
			(br_if $next (i32.lt_u (local.get $n) (i32.const 10000))))` + done}
	var log testenv.Log
	p := plugin(t, g.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	do(t, serve(t, p.Middleware(echo)), "GET", "/", nil)
	lines := strings.Count(log.String(), "msg=flood")
	dropped := p.Stats().LogLinesDropped
	if lines < 100 || lines > 9000 || uint64(lines)+dropped != 10000 {
		t.Errorf("%d lines were logged and %d dropped, want a bounded number and 10000 in all", lines, dropped)
	}
}
