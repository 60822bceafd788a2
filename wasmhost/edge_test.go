package wasmhost_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// edgeGuest is testdata/edge.c with the namespaces and kinds that flags name: KV, NET, PHP, WS, CRON, ROUTE.
func edgeGuest(t testing.TB, flags ...string) []byte {
	t.Helper()
	for i := range flags {
		flags[i] = "-D" + flags[i]
	}
	return read(t, testenv.CGuest(t, "wasmhost/testdata/edge.c", flags...))
}

// ask does one operation of the guest: /function/argument/….
func ask(t testing.TB, s *httptest.Server, op string, args ...string) string {
	t.Helper()
	path := "/" + op
	for _, a := range args {
		path += "/" + strings.ReplaceAll(url.PathEscape(a), "%21", "!")
	}
	got := do(t, s, "GET", path, nil)
	if got.StatusCode != 200 {
		t.Fatalf("%s: status %d: %s", path, got.StatusCode, got.body)
	}
	return got.body
}

// expect compares what operations say.
func expect(t *testing.T, s *httptest.Server, want string, op string, args ...string) {
	t.Helper()
	if got := ask(t, s, op, args...); strings.TrimSpace(got) != want {
		t.Errorf("%s %q = %q, want %q", op, args, got, want)
	}
}

func TestCoreNamespace(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	p := plugin(t, edgeGuest(t), cfg, wasmhost.Options{Services: wasmhost.Services{RequestID: func(context.Context) string { return "id-7" }}})
	s := serve(t, p.Middleware(echo))
	expect(t, s, fmt.Sprint(abi.Version), "abi")
	expect(t, s, "1", "has", "edge_core_v1")
	expect(t, s, "1", "has", "edge_metrics_v1.define")
	expect(t, s, "0", "has", "edge_metrics_v1.undefine")
	expect(t, s, "0", "has", "edge_kv_v1") // not granted
	expect(t, s, "0", "has", "anything")
	expect(t, s, "-8", "var_get", "user")
	expect(t, s, "0", "var_set", "user", "ann")
	expect(t, s, "4 id-7", "var_get", "edge.request_id")
	expect(t, s, "-3", "var_set", "edge.route", "x")
	expect(t, s, "-3", "var_set", "a b", "x")
	expect(t, s, "-3", "var_set", "bytes", "\xff")
	expect(t, s, "-4", "var_set", "long", strings.Repeat("x", 5000))
	expect(t, s, "-3", "wild")
	expect(t, s, "one 0", "stream")
	if got := ask(t, s, "var_get", "!none"); !strings.Contains(got, `-8 var_get: this request has no variable "!none"`) {
		t.Errorf("last_error = %q", got)
	}
	left := ask(t, s, "deadline")
	if ms := 0; left == "-1 " || func() bool { fmt.Sscan(left, &ms); return ms <= 0 || ms > 30000 }() {
		t.Errorf("deadline_ms = %q, want something up to limits.time", left)
	}
	if st := p.Stats(); st.Traps != 0 {
		t.Errorf("the guest trapped: %s", st.LastError)
	}
}

// TestVariables: what one plugin says, the next one sees, and whoever is outside of both.
func TestVariables(t *testing.T) {
	t.Parallel()
	module := edgeGuest(t)
	first := plugin(t, module, moduleConfig(), wasmhost.Options{})
	second := plugin(t, wat{
		imports: `(import "edge_core_v1" "var_get" (func $var_get (param i32 i32 i32 i32) (result i32)))`,
		request: `(call $set_header_value (i32.const 1) (str "x-user") (i32.const 0)
			(call $var_get (str "user") (i32.const 0) (i32.const 100)))` + pass,
	}.compile(t), moduleConfig(), wasmhost.Options{})
	for _, room := range []bool{true, false} {
		var outside []wasmhost.Variable
		chain := first.Middleware(second.Middleware(echo))
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if room {
				r = wasmhost.WithVariables(r)
			}
			wasmhost.VariablesOf(r.Context()).SetRoute("home")
			chain.ServeHTTP(w, r)
			outside = wasmhost.VariablesOf(r.Context()).All()
		}))
		if got := do(t, s, "GET", "/spell/ann", nil); got.Header.Get("X-User") != "ann" {
			t.Errorf("room %v: the next plugin saw %q", room, got.Header.Get("X-User"))
		}
		if room && (len(outside) != 1 || outside[0] != wasmhost.Variable{Name: "user", Value: "ann"}) {
			t.Errorf("outside = %v", outside)
		}
	}
}

func TestMetricsAndQueue(t *testing.T) {
	t.Parallel()
	p := plugin(t, edgeGuest(t), moduleConfig(), wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	expect(t, s, "1", "define", "0", "hits")
	expect(t, s, "1", "define", "0", "hits")
	expect(t, s, "-10", "define", "1", "hits")
	expect(t, s, "-3", "define", "3", "x")
	expect(t, s, "-3", "define", "0", "with space")
	expect(t, s, "2", "define", "1", "depth")
	expect(t, s, "3", "define", "2", "ms")
	expect(t, s, "0", "add", "1", "5")
	expect(t, s, "-3", "add", "1", "-5")
	expect(t, s, "0", "set", "2", "-7")
	expect(t, s, "-3", "set", "1", "7")
	expect(t, s, "0", "observe", "3", "20")
	expect(t, s, "0", "observe", "3", "2000000")
	expect(t, s, "-3", "observe", "4", "1")
	for i := range 61 {
		ask(t, s, "define", "0", fmt.Sprint("n", i))
	}
	expect(t, s, "-12", "define", "0", "one-too-many")
	m := p.Stats().Metrics
	if len(m) != 64 || m[0].Value != 5 || m[1].Value != -7 || m[2].Count != 2 || m[2].Buckets[10] != 0 || m[2].Buckets[20] != 1 || m[2].Value != 2000020 {
		t.Errorf("metrics = %+v", m[:3])
	}

	expect(t, s, "-8", "pop")
	expect(t, s, "0", "push", "first")
	expect(t, s, "0", "push", "second")
	if got := ask(t, s, "pop", "2"); !strings.HasPrefix(got, "5 ") {
		t.Errorf("a pop into too small a buffer says %q", got)
	}
	expect(t, s, "5 first", "pop")
	expect(t, s, "6 second", "pop")
	for range 1024 {
		ask(t, s, "push", "x")
	}
	expect(t, s, "-12", "push", "x")
	expect(t, s, "-5", "every", "1000") // there is no tick
}

// memoryStore is the simplest Store: what the real ones do is tested where they are joined, in core.
type memoryStore struct {
	wasmhost.Store
	mu   sync.Mutex
	data map[string]wasmhost.Entry
}

func (m *memoryStore) Get(_ context.Context, key string) (wasmhost.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data[key], nil
}

func (m *memoryStore) Set(ctx context.Context, key string, value []byte, o wasmhost.SetOptions) error {
	if key == "slow" {
		<-ctx.Done()
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.data[key]
	if o.Flags&abi.SetIfVersion != 0 && old.Version != o.Version {
		return abi.ErrCondition
	}
	m.data[key] = wasmhost.Entry{Found: true, Value: append([]byte(nil), value...), TTL: o.TTL, Version: old.Version + 1}
	return nil
}

func (m *memoryStore) Incr(context.Context, string, int64, time.Duration) (int64, error) {
	return 42, nil
}

func (m *memoryStore) Scan(context.Context, string, []byte, int) ([]string, []byte, error) {
	return nil, nil, abi.ErrUnsupported
}

func TestKVNamespace(t *testing.T) {
	t.Parallel()
	store := &memoryStore{data: map[string]wasmhost.Entry{}}
	cfg := moduleConfig()
	cfg.Allow.KV = []string{"mine", "gone"}
	cfg.Limits.Time = 200 * time.Millisecond
	cfg.Limits.Body = 4096
	p := plugin(t, edgeGuest(t, "KV"), cfg, wasmhost.Options{Services: wasmhost.Services{Store: func(name string) wasmhost.Store {
		if name == "mine" {
			return store
		}
		return nil
	}}})
	s := serve(t, p.Middleware(echo))
	expect(t, s, "1", "kv_open", "mine")
	expect(t, s, "2", "kv_open", "gone")
	expect(t, s, "-7", "kv_open", "others")
	expect(t, s, "0 0 -8", "kv_get", "1", "k")
	expect(t, s, "0", "kv_set", "1", "k", "value", "1500", "0", "0")
	expect(t, s, "1500 1 5 value", "kv_get", "1", "k")
	expect(t, s, "0 -9", "kv_cas", "1", "k", "other")
	expect(t, s, "0 42", "kv_incr", "1", "n", "2", "0")
	expect(t, s, "0 other0 42 1", "kv_batch", "1", "k", "n", "none")
	expect(t, s, "-5", "kv_scan", "1", "k")
	expect(t, s, "-1", "kv_set", "2", "k", "v", "0", "0", "0")
	expect(t, s, "-3", "kv_set", "3", "k", "v", "0", "0", "0")
	expect(t, s, "-3", "kv_set", "1", "k", "v", "-1", "0", "0")
	expect(t, s, "-3", "kv_set", "1", "k", "v", "0", "16", "0")
	expect(t, s, "-4", "kv_set", "1", "k", strings.Repeat("v", 4097), "0", "0", "0")
	expect(t, s, "-4", "kv_set", "1", strings.Repeat("k", 4097), "v", "0", "0", "0")
	if got := do(t, s, "GET", "/kv_set/1/slow/v/0/0/0", nil); got.StatusCode == 200 && !strings.HasPrefix(got.body, "-2") {
		t.Errorf("a store that does not answer: %d %q, want -2", got.StatusCode, got.body)
	}
	if st := p.Stats(); st.Traps != 0 {
		t.Errorf("the guest trapped: %s", st.LastError)
	}
}

// echoServer sends back what it gets, and says nothing to a line that begins with a space.
func echoServer(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				buf := make([]byte, 1024)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					if buf[0] != ' ' {
						conn.Write(buf[:n])
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func TestNetNamespace(t *testing.T) {
	t.Parallel()
	echoed := echoServer(t)
	_, port, _ := net.SplitHostPort(echoed)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Kind", r.Header.Get("X-Kind"))
		switch r.URL.Path {
		case "/api/away":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/api/slow":
			<-r.Context().Done()
		case "/api/huge":
			w.Write(make([]byte, 1<<20))
		default:
			fmt.Fprintf(w, "%s %s", r.Method, body)
		}
	}))
	t.Cleanup(web.Close)

	cfg := moduleConfig()
	cfg.Limits.Body = 32 << 10
	cfg.Allow.Net = []string{"tcp://" + echoed, web.URL + "/api/*", "tcp://localhost:" + port}
	p := plugin(t, edgeGuest(t, "NET"), cfg, wasmhost.Options{})
	s := serve(t, p.Middleware(echo))

	t.Run("tcp", func(t *testing.T) {
		expect(t, s, "0 5 5 hello0 -3", "echo", echoed, "hello", "0")
		expect(t, s, "0 5 5 hello0 -3", "echo", "localhost:"+port, "hello", "0")
		expect(t, s, "0 6 -2 0 -3", "echo", echoed, " quiet", "50")
		expect(t, s, "-7", "dial", "127.0.0.1:1", "0", "0")
		expect(t, s, "-7", "dial", "example.com:443", "0", "0")
		expect(t, s, "-3", "dial", "nonsense", "0", "0")
		expect(t, s, "-3", "dial", echoed, "2", "0")
		expect(t, s, "-1", "dial", echoed, "1", "100") // no TLS is spoken there
	})
	t.Run("http", func(t *testing.T) {
		expect(t, s, "200 1 b1 POST body0", "http", "POST "+web.URL+"/api/x\nx-kind: b\n", "body", "0")
		if got := ask(t, s, "http", "GET "+web.URL+"/api/away", "", "0"); !strings.HasPrefix(got, "302 ") {
			t.Errorf("a redirect, which is the guest's to follow: %q", got)
		}
		expect(t, s, "-2", "http", "GET "+web.URL+"/api/slow", "", "100")
		expect(t, s, "-7", "http", "GET "+web.URL+"/other", "", "0")
		expect(t, s, "-7", "http", "GET "+web.URL+"/api/../other", "", "0")
		expect(t, s, "-7", "http", "GET "+web.URL+"/api/%2e%2e/other", "", "0")
		expect(t, s, "-7", "http", "GET http://example.com/", "", "0")
		expect(t, s, "-3", "http", "GET ftp://example.com/", "", "0")
		expect(t, s, "-3", "http", "GET "+web.URL+"/api/x\nhost: other\n", "", "0")
		expect(t, s, "-3", "http", "GET "+web.URL+"/api/x\nx: a\rb\n", "", "0")
		expect(t, s, "-3", "http", "nonsense", "", "0")
		expect(t, s, "200 1 -1 0", "http", "GET "+web.URL+"/api/huge", "", "0") // -1 is the upper half of an error
	})
	t.Run("handles", func(t *testing.T) {
		expect(t, s, "-12", "hoard", echoed)
	})
	if st := p.Stats(); st.Traps != 0 {
		t.Errorf("the guest trapped: %s", st.LastError)
	}
}

// TestGuestsBlocked: guests that wait in the host take no threads.
func TestGuestsBlocked(t *testing.T) {
	echoed := echoServer(t)
	n := testenv.Count(100, 500)
	cfg := moduleConfig()
	cfg.Instances.Max = n
	cfg.Limits.Wait = 30 * time.Second
	cfg.Allow.Net = []string{"tcp://" + echoed}
	p := plugin(t, edgeGuest(t, "NET"), cfg, wasmhost.Options{})
	h := p.Middleware(echo)
	before := threads(t)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/echo/"+echoed+"/%20quiet/2000", nil))
			if got := rec.Body.String(); !strings.HasPrefix(got, "0 6 -2") {
				t.Errorf("blocked guest: %q", got)
			}
		})
	}
	testenv.Eventually(t, "all guests wait", func() bool { return p.Stats().Busy >= n*9/10 })
	during := threads(t)
	wg.Wait()
	if during > before+16 {
		t.Errorf("%d guests that wait took the process from %d threads to %d", n, before, during)
	}
	t.Logf("%d guests waiting: %d threads before, %d meanwhile", n, before, during)
}

func threads(t *testing.T) int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip("this system does not list threads: ", err)
	}
	return len(tasks)
}

func TestPHPNamespace(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Allow.PHP = []string{"app", "gone"}
	p := plugin(t, edgeGuest(t, "PHP"), cfg, wasmhost.Options{Services: wasmhost.Services{Pool: func(name string) http.Handler {
		if name != "app" {
			return nil
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch r.URL.Path {
			case "/slow":
				<-r.Context().Done()
			case "/broken":
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(201)
			fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("X-A"), body)
		})
	}}})
	s := serve(t, p.Middleware(echo))
	expect(t, s, "201 1 POST /in?x=1 b body", "php", "app", "POST /in?x=1\nx-a: b\n", "body", "0")
	expect(t, s, "-7", "php", "other", "GET /", "", "0")
	expect(t, s, "-1", "php", "gone", "GET /", "", "0")
	expect(t, s, "-3", "php", "app", "GET https://host/", "", "0")
	expect(t, s, "-2", "php", "app", "GET /slow", "", "50")
	expect(t, s, "-1", "php", "app", "GET /broken", "", "0")
}

// TestGrants: what is imported and not granted is refused with the line to add; what edge.yaml does not name is granted nothing.
func TestGrants(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"KV":  `it imports edge_kv_v1 (batch, delete, expire, get, incr, open, scan, set), which is not granted: write plugins: {modules: {p: {allow: {kv: [STORE]}}}} in edge.yaml`,
		"NET": `allow: {net: ["https://api.example.com/*"]}`,
		"PHP": `allow: {php: [POOL]}`,
	} {
		_, err := tryPlugin(t, edgeGuest(t, flag), moduleConfig())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", flag, err, want)
		}
	}

	dir := testenv.Dir(t)
	write(t, filepath.Join(dir, "stray.wasm"), edgeGuest(t, "NET"))
	h := host(t, wasmhost.Config{Dir: dir, Auto: true}, wasmhost.Options{})
	if n := len(h.Unnamed()); n != 0 || !strings.Contains(h.Stats()[0].LastError, "not granted") {
		t.Errorf("%d unnamed plugins run; the error is %q", n, h.Stats()[0].LastError)
	}
}

func tryPlugin(t testing.TB, module []byte, cfg wasmhost.ModuleConfig) (*wasmhost.Host, error) {
	cfg.File = filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, cfg.File, module)
	h, err := wasmhost.New(context.Background(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: discard})
	if err == nil {
		t.Cleanup(func() { stop(t, h) })
	}
	return h, err
}

// TestConfigExport: a plugin refuses its configuration, with its own words.
func TestConfigExport(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Config = "bad"
	if _, err := tryPlugin(t, edgeGuest(t), cfg); err == nil || !strings.Contains(err.Error(), "config: the plugin refuses it: b is no config") {
		t.Errorf("error = %v", err)
	}
	cfg.Config = "good"
	if _, err := tryPlugin(t, edgeGuest(t), cfg); err != nil {
		t.Error(err)
	}
}

// section appends a custom section.
func section(module []byte, name, content string) []byte {
	body := string(rune(len(name))) + name + content
	out := append(append([]byte(nil), module...), 0)
	for n := len(body); ; n >>= 7 {
		if n < 128 {
			out = append(out, byte(n))
			break
		}
		out = append(out, byte(n)|128)
	}
	return append(out, body...)
}

func TestManifest(t *testing.T) {
	t.Parallel()
	module := edgeGuest(t, "KV")
	for content, want := range map[string]string{
		`{"kinds": ["middleware", "cron"]}`:      "its manifest says that it is cron, but its exports make it middleware",
		`{"kinds": ["middlewear"]}`:              `"middlewear", which is no kind`,
		`{`:                                      "is not the JSON that it should be",
		`{"name": "x", "allow": {"kv":["a"]}}`:   `allow: {kv: ["a"]}`,
		strings.Repeat(" ", 70<<10):              "at most 65536",
		`{"kinds": ["origin"], "config": false}`: "not granted",
	} {
		if _, err := tryPlugin(t, section(module, abi.ManifestSection, content), moduleConfig()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", content, err, want)
		}
	}
	m, err := wasmhost.ReadManifest(section(module, abi.ManifestSection, `{"name": "x", "version": "1.2", "kinds": ["kv"]}`))
	if err != nil || m.Name != "x" || m.Version != "1.2" || len(m.Kinds) != 1 {
		t.Errorf("manifest = %+v, %v", m, err)
	}
}

// TestManifestLeavesOutMiddleware: the SDK for Go exports handle_request for every plugin, and the manifest says which have none.
func TestManifestLeavesOutMiddleware(t *testing.T) {
	t.Parallel()
	both := wasmhost.KindMiddleware | wasmhost.KindCron
	for kinds, want := range map[string]wasmhost.Kind{
		`["cron"]`: wasmhost.KindCron, `["middleware", "cron"]`: both, `["cron", "origin"]`: both, `[]`: both, `["middleware"]`: both,
	} {
		module := section(edgeGuest(t, "CRON"), abi.ManifestSection, `{"kinds": `+kinds+`}`)
		if got := plugin(t, module, moduleConfig(), wasmhost.Options{}).Kinds(); got != want {
			t.Errorf("kinds %s of the manifest and both exports make %s, want %s", kinds, got, want)
		}
	}
}

func TestCron(t *testing.T) {
	t.Parallel()
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, edgeGuest(t, "CRON"))
	cfg := moduleConfig()
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
	p, _ := h.Plugin("p")
	if !p.Kinds().Has(wasmhost.KindCron | wasmhost.KindMiddleware) {
		t.Fatalf("kinds = %s", p.Kinds())
	}
	s := serve(t, p.Middleware(echo))
	expect(t, s, "-8", "pop") // the host was not started
	if err := h.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "three ticks", func() bool { return strings.HasPrefix(ask(t, s, "pop"), "1 t") })
	expect(t, s, "-3", "every", "50")
	expect(t, s, "0", "every", "0")
	testenv.Eventually(t, "no more ticks", func() bool { // one may be under way
		for strings.HasPrefix(ask(t, s, "pop"), "1") {
		}
		time.Sleep(250 * time.Millisecond)
		return strings.TrimSpace(ask(t, s, "pop")) == "-8"
	})
	expect(t, s, "0", "every", "100")
	testenv.Eventually(t, "it ticks again", func() bool { return strings.HasPrefix(ask(t, s, "pop"), "1 t") })
}

func TestRouter(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.Allow.PHP = []string{"app"}
	p := plugin(t, edgeGuest(t, "ROUTE", "PHP"), cfg, wasmhost.Options{Services: wasmhost.Services{
		HasRoute: func(name string) bool { return name == "known" },
		Pool:     func(string) http.Handler { return echo },
	}})
	decide := func(uri string, header ...string) (*wasmhost.Decision, *httptest.ResponseRecorder, *http.Request) {
		r := httptest.NewRequest("GET", uri, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		d, err := p.Decide(w, r)
		if err != nil {
			return nil, w, r
		}
		return d, w, d.Apply(r)
	}
	if d, _, _ := decide("/x"); d == nil || d.Decided() {
		t.Errorf("no opinion: %+v", d)
	}
	if d, _, _ := decide("/to/known"); !d.Decided() || d.Route != "known" {
		t.Errorf("to: %+v", d)
	}
	if d, _, _ := decide("/to/unknown"); d.Status != 418 {
		t.Errorf("to an unknown route: %+v", d)
	}
	if d, _, _ := decide("/pool/app"); d.Pool != "app" {
		t.Errorf("pool: %+v", d)
	}
	if d, _, _ := decide("/pool/other"); d.Status != 418 {
		t.Errorf("a pool that is not granted: %+v", d)
	}
	if d, _, r := decide("/rewrite"); d.Decided() || r.URL.Path != "/rewritten" || r.URL.RawQuery != "x=1" || r.RequestURI != "/rewritten?x=1" {
		t.Errorf("rewrite: %+v %v", d, r.URL)
	}
	if d, _, _ := decide("/redirect"); d.Redirect != "https://elsewhere.example/" || d.Status != 302 {
		t.Errorf("redirect: %+v", d)
	}
	if _, w, r := decide("/header"); w.Header().Get("X-Router") != "yes" || r.Header.Get("X-To-Route") != "seen" {
		t.Errorf("headers: %v %v", w.Header(), r.Header)
	}
	for uri, status := range map[string]int{"/trap": 500, "/nothing": 500, "/odd": 500} {
		if d, w, _ := decide(uri); d != nil || w.Code != status {
			t.Errorf("%s: %+v, status %d", uri, d, w.Code)
		}
	}
	open := cfg
	open.OnError = wasmhost.OnErrorOpen
	forgiving := plugin(t, edgeGuest(t, "ROUTE", "PHP"), open, wasmhost.Options{})
	for _, uri := range []string{"/trap", "/odd"} {
		if d, err := forgiving.Decide(httptest.NewRecorder(), httptest.NewRequest("GET", uri, nil)); err != nil || d.Decided() {
			t.Errorf("on_error: open: %s: %+v, %v", uri, d, err)
		}
	}
	for range 3 { // the second and third are answered without the guest
		if d, _, _ := decide("/counted", "Cookie", "ab=1"); d.Status != 202 {
			t.Errorf("counted: %+v", d)
		}
	}
	decide("/counted", "Cookie", "ab=2")
	decide("/counted/more", "Cookie", "ab=1")
	for _, m := range p.Stats().Metrics {
		if m.Name == "routed" && m.Value != 3 {
			t.Errorf("the guest was asked %d times, want 3", m.Value)
		}
	}
}

// fakeHub notes what the plugin does; the real one comes with the WebSockets.
type fakeHub struct {
	mu  sync.Mutex
	did []string
}

func (h *fakeHub) note(format string, args ...any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.did = append(h.did, fmt.Sprintf(format, args...))
	return nil
}

func (h *fakeHub) Send(p string, conn int64, kind uint32, m []byte) error {
	return h.note("send %s %d %d %s", p, conn, kind, m)
}
func (h *fakeHub) Publish(topic string, kind uint32, m []byte) error {
	return h.note("publish %s %d %s", topic, kind, m)
}
func (h *fakeHub) Subscribe(p string, conn int64, topic string) error {
	return h.note("subscribe %s %d %s", p, conn, topic)
}
func (h *fakeHub) Unsubscribe(p string, conn int64, topic string) error {
	return h.note("unsubscribe %s %d %s", p, conn, topic)
}
func (h *fakeHub) Close(p string, conn int64, code uint32, reason string) error {
	return h.note("close %s %d %d %s", p, conn, code, reason)
}
func (h *fakeHub) User(string, int64) (string, error)        { return "", nil }
func (h *fakeHub) Get(string, int64, string) (string, error) { return "", nil }
func (h *fakeHub) SetUser(p string, conn int64, user string) error {
	return h.note("user %s %d %s", p, conn, user)
}
func (h *fakeHub) Set(p string, conn int64, name, value string) error {
	return h.note("set %s %d %s %s", p, conn, name, value)
}

func TestWebSocketHandler(t *testing.T) {
	t.Parallel()
	hub := &fakeHub{}
	cfg := moduleConfig()
	cfg.Allow.Publish = []string{"room.*"}
	p := plugin(t, edgeGuest(t, "WS"), cfg, wasmhost.Options{Services: wasmhost.Services{Hub: hub}})
	ctx := context.Background()
	const conn = 1<<40 + 7
	if status, err := p.WSOpen(httptest.NewRecorder(), httptest.NewRequest("GET", "/no", nil), conn); status != 403 || err != nil {
		t.Errorf("refused: %d, %v", status, err)
	}
	if status, err := p.WSOpen(httptest.NewRecorder(), httptest.NewRequest("GET", "/yes", nil), conn); status != 0 || err != nil {
		t.Errorf("accepted: %d, %v", status, err)
	}
	long := strings.Repeat("y", 60_000)
	for message, want := range map[string]int{"hello": 0, long: 0, "": 0, "Quit": 4000, "X": 0} {
		if code, err := p.WSMessage(ctx, conn, abi.WSText, []byte(message)); code != want || err != nil {
			t.Errorf("%.10q: %d, %v", message, code, err)
		}
	}
	if _, err := p.WSMessage(ctx, conn, abi.WSText, []byte("Bad")); err == nil {
		t.Error("a code that is none is no error")
	}
	if _, err := p.WSMessage(ctx, conn, abi.WSText, make([]byte, 70_000)); err == nil || !strings.Contains(err.Error(), "no room for 70000 bytes") {
		t.Errorf("a message that is larger than the mailbox: %v", err)
	}
	if err := p.WSClose(ctx, conn, 1000); err != nil {
		t.Error(err)
	}
	did := strings.Join(hub.did, "\n")
	for _, want := range []string{"subscribe p 1099511627783 room.1", "send p 1099511627783 1 hello", "publish room.1 1 hello", "close p 1099511627783 1001 bye"} {
		if !strings.Contains(did, want) {
			t.Errorf("the hub did not see %q:\n%.500s", want, did)
		}
	}
	s := serve(t, p.Middleware(echo))
	expect(t, s, "6 closed", "pop")
	expect(t, s, "0", "publish", "room.2", "1", "x")
	expect(t, s, "-7", "publish", "other", "1", "x")
	expect(t, s, "-3", "publish", "room.2", "3", "x")

	without := plugin(t, edgeGuest(t, "WS"), cfg, wasmhost.Options{})
	if got := ask(t, serve(t, without.Middleware(echo)), "publish", "room.2", "1", "!x"); !strings.Contains(got, "-5 publish: there is no hub") {
		t.Errorf("without a hub: %q", got)
	}
}

// TestUnknownImports of Edge's own namespaces are refused with what was meant, and a kind that is half there with what is missing.
func TestUnknownImports(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ guest, want string }{
		"namespace": {`(import "edge_core_v2" "abi" (func (result i32)))`, `did you mean "edge_core_v1"?`},
		"function":  {`(import "edge_core_v1" "var_got" (func (param i32 i32 i32 i32) (result i32)))`, `import "edge_core_v1"."var_got" does not exist; did you mean "var_get"?`},
		"type":      {`(import "edge_core_v1" "now_ms" (func (result i32)))`, `import "edge_core_v1"."now_ms" has the type () -> (i32) and must have () -> (i64)`},
		"driver":    {`(func (export "kv_get") (param i32) (result i32) i32.const 0)`, `export "kv_abi" is missing: a KV driver exports it as () -> (i32)`},
		"handler":   {`(func (export "ws_open") (param i64) (result i32) i32.const 0)`, `export "edge_mailbox" is missing: a WebSocket handler exports it as (i32) -> (i64)`},
		"router":    {`(func (export "route") (param i32) (result i32) i32.const 0)`, `export "route" has the type (i32) -> (i32) and must have () -> (i32)`},
		"grant":     {`(import "edge_net_v1" "tcp_close" (func (param i32) (result i32)))`, `it imports edge_net_v1 (tcp_close), which is not granted`},
	} {
		g := wat{imports: tt.guest}
		if strings.HasPrefix(tt.guest, "(func") {
			g = wat{more: tt.guest}
		}
		if _, err := tryPlugin(t, g.compile(t), moduleConfig()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %s", name, err, tt.want)
		}
	}
}
