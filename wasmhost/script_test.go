package wasmhost_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// scriptPlugin loads a script under the name "p" with the given config.
func scriptPlugin(t testing.TB, source string, cfg wasmhost.ModuleConfig, opts wasmhost.Options) *wasmhost.Plugin {
	t.Helper()
	file := filepath.Join(testenv.Dir(t), "p.js")
	write(t, file, []byte(source))
	cfg.File = file
	if opts.CacheDir == "" {
		opts.CacheDir = engineCache(t)
	}
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, opts)
	p, ok := h.Plugin("p")
	if !ok {
		t.Fatal("there is no plugin p")
	}
	return p
}

var engineDir struct {
	sync.Once
	path string
}

// engineCache is where the tests of this process keep the engine's code, which takes seconds to compile.
func engineCache(t testing.TB) string {
	engineDir.Do(func() {
		dir := filepath.Join(os.TempDir(), "edge-test-engine-"+strconv.Itoa(os.Getuid()))
		if os.MkdirAll(dir, 0o700) == nil {
			engineDir.path = dir
		}
	})
	if engineDir.path == "" {
		return testenv.Dir(t)
	}
	return engineDir.path
}

const headerScript = `
export default {
	request(req, res) {
		res.headers.set("x-out", req.headers.get("x-request-id"));
	},
	response(req, res) {},
};
`

// TestScriptInTheFolder is the story: a .js file that is dropped into the folder runs.
func TestScriptInTheFolder(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	write(t, filepath.Join(dir, "hello.js"), []byte(headerScript))
	h := host(t, wasmhost.Config{Dir: dir, Auto: true}, wasmhost.Options{CacheDir: engineCache(t)})
	if got := h.Unnamed(); len(got) != 1 || got[0].Name() != "hello" {
		t.Fatalf("plugins of the folder: %v", got)
	}
	s := serve(t, h.Unnamed()[0].Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "behind") })))
	if a := do(t, s, "GET", "/", nil, "X-Request-Id", "42"); a.body != "behind" || a.Header.Get("X-Out") != "42" {
		t.Errorf("got %q, X-Out %q", a.body, a.Header.Get("X-Out"))
	}
}

// TestScriptErrors: what is wrong with a script is said with its place, and it does not serve.
func TestScriptErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ source, want string }{
		"syntax":      {"export default {\n\trequest( {}\n};", "p.js:3:1: SyntaxError: Unexpected token"},
		"top level":   {"const a = 1;\nnope();\nexport default {request() {}}", "p.js:2:1: ReferenceError: nope is not defined"},
		"nothing":     {"const a = 1;", "p.js: exports none of the functions of a plugin"},
		"no function": {"export default {request: 7}", "the export request is not a function"},
		"import":      {"import x from './lib.js';\nexport default {request() {}}", `cannot import "./lib.js"`},
		"default":     {"export default 7", "the default export is not an object"},
		"empty":       {"", "the file is empty"},
		"no text":     {"export default {request() { '\xff' }}", "p.js is not UTF-8 text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(testenv.Dir(t), "p.js")
			write(t, file, []byte(tt.source))
			cfg := moduleConfig()
			cfg.File = file
			_, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: discard, CacheDir: engineCache(t)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v\nwant %q in it", err, tt.want)
			}
		})
	}
}

// TestScriptRequests is a row for each thing that a script can do with a request.
func TestScriptRequests(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		source string
		config any
		send   string
		status int
		want   string
		header string // X-Saw
	}{
		"answers":        {source: `export default {request: () => new Response("no", {status: 403, headers: {"X-Saw": "1"}})}`, status: 403, want: "no", header: "1"},
		"answers JSON":   {source: `export default {request: () => Response.json({a: [1]}, {status: 201})}`, status: 201, want: `{"a":[1]}`},
		"async":          {source: `export default {async request(req) { await null; return new Response(await req.text()) }}`, send: "body", want: "body"},
		"named exports":  {source: `export function request() { return new Response("named") }`, want: "named"},
		"config":         {source: `import {config, name} from "edge"; export default {request: () => new Response(name + config.who)}`, config: map[string]any{"who": "me"}, want: "pme"},
		"keeps the body": {source: `export default {request(req, res) { res.headers.set("x-saw", req.json().a) }}`, send: `{"a":7}`, want: `behind {"a":7}`, header: "7"},
		"changes the answer": {source: `export default {bufferResponse: true, response(req, res) { res.headers.set("x-saw", res.status); res.write(res.text().toUpperCase()) }}`,
			want: "BEHIND ", header: "200"},
		"between the phases": {source: `export default {bufferResponse: true, request(req) { req.mine = 5 }, response(req, res) { res.headers.set("x-saw", req.mine) }}`,
			want: "behind ", header: "5"},
		"streams":          {source: `export default {request(req, res) { for (let i = 0; i < 3; i++) res.write(String(i)); return res }}`, want: "012"},
		"binary":           {source: `export default {request: () => new Response(new Uint8Array([0, 255]))}`, want: "\x00\xff"},
		"bytes in headers": {source: `export default {request(req, res) { res.headers.set("x-saw", "caf\u00e9") }}`, want: "behind ", header: "caf\xe9"},
		"not granted":      {source: `import {kv} from "edge"; export default {request() { try { kv("s") } catch (e) { return new Response(e.name + " " + e.code) } }}`, want: "EdgeError denied"},
		"fetch":            {source: `export default {request() { try { fetch("https://example.com/") } catch (e) { return new Response(e.code) } }}`, want: "denied"},
		"throws":           {source: `export default {request() { null.x }}`, status: 500, want: "Internal Server Error\n"},
		"returns a number": {source: `export default {request: () => 5}`, status: 500, want: "Internal Server Error\n"},
		"never settles":    {source: `export default {request: () => new Promise(() => {})}`, status: 500, want: "Internal Server Error\n"},
		"loops":            {source: `export default {request() { for (;;); }}`, status: 500, want: "Internal Server Error\n"},
		"recurses":         {source: `function f() { return f() + 1 } export default {request() { try { f() } catch (e) { return new Response(e.name) } }}`, want: "RangeError"},
		"eats memory":      {source: `export default {request() { const a = []; for (;;) a.push(new Uint8Array(1 << 20)) }}`, status: 500, want: "Internal Server Error\n"},
		"a line break":     {source: `export default {request(req, res) { try { res.headers.set("x-a", "a\nb") } catch (e) { return new Response(e.name) } }}`, want: "TypeError"},
		"a late change":    {source: `export default {response(req, res) { try { res.headers.set("x-a", "b") } catch (e) { console.error(e.message) } }}`, want: "behind "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := moduleConfig()
			cfg.Config = tt.config
			p := scriptPlugin(t, tt.source, cfg, wasmhost.Options{})
			s := serve(t, p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				io.WriteString(w, "behind "+string(b))
			})))
			for range 2 { // the second time nothing is left of the first
				a := do(t, s, "POST", "/", strings.NewReader(tt.send))
				if want := max(tt.status, 200); a.StatusCode != want && tt.status >= 200 || a.body != tt.want || a.Header.Get("X-Saw") != tt.header {
					t.Errorf("%d %q, X-Saw %q; want %d %q %q\n%s", a.StatusCode, a.body, a.Header.Get("X-Saw"), want, tt.want, tt.header, p.Stats().LastError)
				}
			}
		})
	}
}

// TestScriptObjectsEnd: what a script keeps of a request is of no use later, and above all not the next visitor's.
func TestScriptObjectsEnd(t *testing.T) {
	t.Parallel()
	p := scriptPlugin(t, `
let kept;
export default {
	request(req) {
		const before = kept;
		kept = req;
		try { return new Response(before ? before.uri : "first") } catch (e) { return new Response(e.message) }
	},
};`, moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(nothing))
	if a := do(t, s, "GET", "/one", nil); a.body != "first" {
		t.Errorf("first: %q", a.body)
	}
	if a := do(t, s, "GET", "/two", nil); a.body != "the request that this object belongs to is over" {
		t.Errorf("second: %q", a.body)
	}
}

// TestScriptErrorHasItsPlace, and none of the engine's own frames.
func TestScriptErrorHasItsPlace(t *testing.T) {
	t.Parallel()
	p := scriptPlugin(t, "export default {\n\trequest() {\n\t\tnull.x;\n\t},\n};", moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(nothing))
	do(t, s, "GET", "/", nil)
	if got := p.Stats().LastError; !strings.Contains(got, "p.js:3:3: TypeError: cannot read property 'x' of null") || strings.Contains(got, "wasm") {
		t.Errorf("last error: %s", got)
	}
}

// TestScriptIsReplaced while it serves; a broken one changes nothing.
func TestScriptIsReplaced(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	file := filepath.Join(dir, "hello.js")
	say := func(text string) { write(t, file, []byte("export default {request: () => new Response('"+text+"')}")) }
	say("one")
	h := host(t, wasmhost.Config{Dir: dir, Auto: true}, wasmhost.Options{CacheDir: engineCache(t)})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := serve(t, h.Unnamed()[0].Middleware(nothing))
	body := func() string { return do(t, s, "GET", "/", nil).body }
	if got := body(); got != "one" {
		t.Fatalf("body = %q", got)
	}
	say("two")
	testenv.Eventually(t, "the new script serves", func() bool { return body() == "two" })
	write(t, file, []byte("export default {request( {"))
	testenv.Eventually(t, "the broken script is noticed", func() bool { return h.Unnamed()[0].Stats().Failures == 1 })
	if got := body(); got != "two" {
		t.Errorf("after a broken script: %q", got)
	}
}

// TestScriptKinds: a script is what its functions say, not what the engine exports.
func TestScriptKinds(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]wasmhost.Kind{
		"export function request() {}":                           wasmhost.KindMiddleware,
		"export function response() {}":                          wasmhost.KindMiddleware,
		"export default {route() {}, tick() {}}":                 wasmhost.KindRouter | wasmhost.KindCron,
		"export default {websocket: {open() {}}}":                wasmhost.KindWS,
		"export default {kv: {get() {}, set() {}, delete() {}}}": wasmhost.KindKV,
	} {
		if got := scriptPlugin(t, source, moduleConfig(), wasmhost.Options{}).Kinds(); got != want {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
}
