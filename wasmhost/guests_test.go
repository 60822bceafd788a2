package wasmhost_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestForeignGuests loads and runs the example guests of the reference host, which nobody here wrote.
func TestForeignGuests(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/http-wasm/http-wasm-host-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	examples := filepath.Join(strings.TrimSpace(string(out)), "examples")
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Uri", r.RequestURI)
		fmt.Fprintf(w, "next: %s", body)
	})

	for _, tt := range []struct {
		file, config string
		uri, body    string
		headers      []string
		status       int
		want         string
		level        slog.Level
		log          string
	}{
		{file: "auth", status: 401, uri: "/"},
		{file: "auth", status: 200, uri: "/", want: "next: ", headers: []string{"Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
		{file: "log", status: 200, uri: "/", want: "next: x", body: "x", log: "hello world"},
		{file: "redact", config: "open sesame", status: 200, uri: "/", body: "say open sesame twice", want: "next: say ########### twice"},
		{file: "router", status: 200, uri: "/", want: "hello world"},
		{file: "router", status: 200, uri: "/host/a?b=c", want: "next: "},
		{file: "wasi", status: 200, uri: "/v1.0/hi?name=panda", body: "body", want: "next: body", level: slog.LevelDebug, log: "POST /v1.0/hi?name=panda HTTP/1.1"},
		{file: "config", config: "\x03\x00\x00\x00\x00\x00\x00\x00", status: 200, uri: "/", want: "next: "}, // features, as u64
		{file: "config", config: "\x00\x00\x00\x00\x00\x00\x00\x00", status: 200, uri: "/", want: "next: "},
	} {
		t.Run(tt.file+"_"+tt.uri, func(t *testing.T) {
			t.Parallel()
			cfg := moduleConfig()
			cfg.File = filepath.Join(examples, tt.file+".wasm")
			if tt.config != "" {
				cfg.Config = tt.config
			}
			var log testenv.Log
			h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: logger(&log, tt.level)})
			p, _ := h.Plugin("p")
			var body io.Reader
			method := "GET"
			if tt.body != "" {
				method, body = "POST", strings.NewReader(tt.body)
			}
			got := do(t, serve(t, p.Middleware(next)), method, tt.uri, body, tt.headers...)
			if got.StatusCode != tt.status || got.body != tt.want {
				t.Errorf("answer = %d %q, want %d %q (%s)", got.StatusCode, got.body, tt.status, tt.want, p.Stats().LastError)
			}
			if !strings.Contains(log.String(), tt.log) {
				t.Errorf("the log lacks %q:\n%s", tt.log, log.String())
			}
		})
	}
}

// goGuest builds a guest once for all tests.
func goGuest(t testing.TB, pkg string) []byte {
	t.Helper()
	f, _ := guests.LoadOrStore(pkg, &fixture{})
	fx := f.(*fixture)
	fx.once.Do(func() { fx.module = read(t, testenv.GoGuest(t, pkg)) })
	if fx.module == nil {
		t.Fatal("the guest could not be built; see the first test that uses it")
	}
	return fx.module
}

// TestGoSDK drives every part of the Go SDK through a real module.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	cfg := moduleConfig()
	cfg.Config = map[string]any{"a": 1}
	p := plugin(t, goGuest(t, "./wasmhost/testdata/goguest"), cfg, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	s := serve(t, p.Middleware(echo))

	facts := do(t, s, "GET", "/facts?x=%20", nil, "X-List", "a", "X-List", "b")
	if facts.StatusCode != 201 || facts.body != "facts\n" || facts.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("answer = %d %q %v", facts.StatusCode, facts.body, facts.Header)
	}
	for name, want := range map[string]string{
		"Config": `{"a":1}`, "Line": "GET /facts?x=%20 HTTP/1.1", "Values": "a,b", "Absent": "<>",
		"Names": "accept-encoding,host,user-agent,x-list",
	} {
		if got := facts.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(facts.Header.Get("Peer"), "127.0.0.1:") {
		t.Errorf("peer = %q", facts.Header.Get("Peer"))
	}

	long := strings.Repeat("x", 9000) // more than the SDK's first buffer
	if got := do(t, s, "GET", "/long", nil, "X-Long", long).body; got != long {
		t.Errorf("a long value came back with %d bytes, want %d", len(got), len(long))
	}
	body := do(t, s, "POST", "/body", strings.NewReader("0123456789"))
	if body.Header.Get("Saw-Begin") != "0123456" || body.body != "0123456789" {
		t.Errorf("the guest saw %q, the next handler %q", body.Header.Get("Saw-Begin"), body.body)
	}
	rewritten := do(t, s, "POST", "/rewrite", strings.NewReader("shout"), "Gone", "x")
	if rewritten.Header.Get("X-Method") != "PUT" || rewritten.Header.Get("X-Uri") != "/rewritten?x=1 /rewritten?x=1" ||
		rewritten.body != "SHOUT" || strings.Join(rewritten.Header.Values("Saw-One"), ",") != "1,2" || rewritten.Header.Get("Saw-Gone") != "" {
		t.Errorf("rewritten: %q %v", rewritten.body, rewritten.Header)
	}
	response := do(t, s, "POST", "/response", strings.NewReader("body"))
	if response.StatusCode != 299 || response.body != "<body>" || response.Header.Get("Was") != "200 false" {
		t.Errorf("response: %d %q %v (%s)", response.StatusCode, response.body, response.Header, p.Stats().LastError)
	}
	if got := do(t, s, "GET", "/panic", nil); got.StatusCode != 500 || strings.Contains(got.body, "disco") {
		t.Errorf("panic: %d %q", got.StatusCode, got.body)
	}
	if !strings.Contains(log.String(), "panic: at the disco") {
		t.Errorf("the panic was not logged:\n%s", log.String())
	}
	do(t, s, "GET", "/log", nil)
	for _, want := range []string{"level=INFO msg=i ", "level=WARN msg=w ", `level=ERROR msg="e false"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// TestGoGuestsRunConcurrently, each request in an instance of its own.
func TestGoGuestsRunConcurrently(t *testing.T) {
	t.Parallel()
	p := plugin(t, goGuest(t, "./wasmhost/testdata/goguest"), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 25 {
				text := fmt.Sprintf("w%d-%d", worker, i)
				if got := do(t, s, "POST", "/rewrite", strings.NewReader(text)).body; got != strings.ToUpper(text) {
					t.Errorf("body = %q, want %q", got, strings.ToUpper(text))
				}
			}
		})
	}
	wg.Wait()
}

var stampFormat = regexp.MustCompile(`^plugin=(stamp; lang=Go|hardening; lang=C); spent=[0-9]+\.[0-9]$`)

// TestHardening and stamp, the chain of the demo.
func TestHardening(t *testing.T) {
	t.Parallel()
	stamp := plugin(t, goGuest(t, "./plugins-wasm/stamp"), moduleConfig(), wasmhost.Options{})
	hardening := plugin(t, read(t, testenv.CGuest(t, "plugins-wasm/hardening/hardening.c")), moduleConfig(), wasmhost.Options{})
	var stamps []string
	s := serve(t, stamp.Middleware(hardening.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stamps = r.Header.Values("X-Edge-Stamp")
		w.Header().Set("X-Frame-Options", "DENY")
	}))))
	got := do(t, s, "GET", "/", nil, "X-Edge-Stamp", "forged", "x-edge-stamp", "twice")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "strict-origin-when-cross-origin",
		"Cross-Origin-Opener-Policy": "same-origin", "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
	} {
		if have := got.Header.Get(name); have != want {
			t.Errorf("%s = %q, want %q", name, have, want)
		}
	}
	if len(stamps) != 2 || !stampFormat.MatchString(stamps[0]) || !stampFormat.MatchString(stamps[1]) ||
		!strings.Contains(stamps[0], "stamp;") || !strings.Contains(stamps[1], "hardening;") {
		t.Errorf("stamps = %q", stamps)
	}
}

// TestHardeningStripsWhenFirst: with config "first" it removes what clients send.
func TestHardeningStripsWhenFirst(t *testing.T) {
	t.Parallel()
	module := read(t, testenv.CGuest(t, "plugins-wasm/hardening/hardening.c"))
	for config, want := range map[string]int{"first": 1, "": 2} {
		cfg := moduleConfig()
		cfg.Config = config
		var stamps []string
		s := serve(t, plugin(t, module, cfg, wasmhost.Options{}).Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			stamps = r.Header.Values("X-Edge-Stamp")
		})))
		do(t, s, "GET", "/", nil, "X-Edge-Stamp", "forged")
		if len(stamps) != want {
			t.Errorf("config %q: stamps = %q, want %d", config, stamps, want)
		}
	}
}

// TestGuestsAreWhatTheySay keeps the fixtures honest: the module of the benchmark has a handle_response that does something.
func TestGuestsAreWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, module := range [][]byte{guest(t, "header.c"), goGuest(t, "./wasmhost/testdata/goheader")} {
		if !bytes.HasPrefix(module, []byte("\x00asm")) {
			t.Error("not a module")
		}
	}
}
