package conformance

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// Run runs the table against the guest at path (a .wasm, or whatever else the plugin host takes) on HTTP/1.1 and HTTP/2.
func Run(t *testing.T, path string) {
	t.Helper()
	w := newWorld(t, path)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		s := httptest.NewUnstartedServer(w)
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		if s.EnableHTTP2 = proto == "HTTP/2.0"; s.EnableHTTP2 {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(func() {
			s.Client().CloseIdleConnections()
			s.Close()
		})
		for _, r := range slices.Concat(httpRows, hostRows) {
			t.Run(proto+"/"+r.name, func(t *testing.T) { r.check(t, target{client: s.Client(), url: s.URL, proto: proto, log: w.log}) })
		}
	}
}

// RunAll runs everything there is against the guest at path.
func RunAll(t *testing.T, path string) {
	t.Helper()
	for name, run := range map[string]func(*testing.T, string){
		"coverage": RunCoverage, "host": Run, "server": RunServer, "sockets": RunSockets, "attributes": RunAttributes, "config": RunConfig,
		"isolation": RunIsolation,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, path)
		})
	}
}

// world is a plugin host that has the guest several times: once as origin, and once for each configuration of the table. The
// host name of a request says which it is for.
type world struct {
	host   *wasmhost.Host
	origin *wasmhost.Plugin
	log    *testenv.Log
}

func newWorld(t *testing.T, path string) *world {
	t.Helper()
	w := &world{log: &testenv.Log{}}
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: modules(path, httpRows)}, wasmhost.Options{
		Logger:   slog.New(slog.NewJSONHandler(w.log, nil)),
		CacheDir: testenv.Dir(t),
		Services: wasmhost.Services{Store: func(string) wasmhost.Store { return shelf{} }},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := host.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	w.host = host
	w.origin, _ = host.Plugin("origin")
	return w
}

func (w *world) ServeHTTP(res http.ResponseWriter, r *http.Request) {
	name := strings.TrimSuffix(r.Host, ".test")
	p, ok := w.host.Plugin(name)
	if !ok {
		http.Error(res, "the table asks for the unknown plugin "+name, http.StatusBadGateway)
		return
	}
	p.Middleware(w.origin.Middleware(http.NotFoundHandler())).ServeHTTP(res, r)
}

// modules are the entries of plugins.modules that the table needs.
func modules(path string, rows []row) map[string]wasmhost.ModuleConfig {
	all := map[string]wasmhost.ModuleConfig{}
	add := func(name string, config any, body int64) {
		m := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
		m.File, m.Config = path, config
		m.Allow = wasmhost.Allow{
			KV: []string{"store"}, Net: []string{"tcp://127.0.0.1:*", "http://127.0.0.1:*"},
			Publish: []string{"chat.*"}, PHP: []string{"app"},
		}
		if body > 0 {
			m.Limits.Body = bytesize.Size(body)
		}
		all[name] = m
	}
	add("origin", "role=origin", 0)
	add("plain", nil, 0)
	for _, r := range rows {
		var config any
		if r.config != "" {
			config = r.config
		}
		add(r.plugin(), config, r.body)
	}
	return all
}

// plugin is the name of the plugin that the row is about: its own if it has settings.
func (r row) plugin() string {
	if r.config == "" && r.body == 0 {
		return "plain"
	}
	return strings.ReplaceAll(r.name, " ", "-")
}

// target is where a row's request goes.
type target struct {
	client     *http.Client
	url, proto string
	log        *testenv.Log
	words      []string // placeholders and what they stand for
}

func (r row) check(t *testing.T, at target) {
	r = r.fill(at)
	res, body := r.do(t, at)
	if want := cmp.Or(r.status, http.StatusOK); res.StatusCode != want {
		t.Errorf("status = %d, want %d", res.StatusCode, want)
	}
	if r.match != "" {
		if !regexp.MustCompile(r.match).MatchString(body) {
			t.Errorf("body = %.500q, want a match of %s", body, r.match)
		}
	} else if body != r.want {
		t.Errorf("body:\n got %.500q\nwant %.500q", body, r.want)
	}
	for name, want := range pairs(r.wantHeader) {
		if got := strings.Join(res.Header.Values(name), ", "); got != want {
			t.Errorf("header %s = %.500q, want %.500q", name, got, want)
		}
	}
	for name, want := range pairs(r.wantTrailer) {
		if got := res.Trailer.Get(name); got != want {
			t.Errorf("trailer %s = %q, want %q", name, got, want)
		}
	}
	for _, want := range r.log {
		testenv.Eventually(t, "the log has "+want, func() bool { return strings.Contains(at.log.String(), want) })
	}
	if t.Failed() {
		t.Logf("the end of the log:\n%s", tail(at.log.String(), 1500))
	}
}

// fill puts what is only known now into the texts of a row.
func (r row) fill(at target) row {
	words := append([]string{"{PROTO}", at.proto, "{ID}", strings.Map(keyRune, at.proto+r.name)}, at.words...)
	fill := strings.NewReplacer(words...).Replace
	r.request, r.response, r.origin, r.route = fill(r.request), fill(r.response), fill(r.origin), fill(r.route)
	r.want = fill(r.want)
	r.log = slices.Clone(r.log)
	for i := range r.log {
		r.log[i] = fill(r.log[i])
	}
	return r
}

// keyRune leaves out what a script would take for something else.
func keyRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return -1
}

// do sends the row's request.
func (r row) do(t *testing.T, at target) (*http.Response, string) {
	var send io.Reader
	if r.send != "" {
		send = strings.NewReader(r.send)
	}
	if len(r.trailer) > 0 { // trailers need a body of unknown length
		send = io.MultiReader(send)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, "GET"), at.url+cmp.Or(r.uri, "/"), send)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = r.plugin() + ".test"
	req.Header.Set("X-Conformance", "1")
	for name, script := range map[string]string{
		"X-Request": r.request, "X-Response": r.response, "X-Origin": cmp.Or(r.origin, report), "X-Origin-Response": r.originResponse, "X-Route": r.route,
	} {
		if script != "" {
			req.Header.Set(name, script)
		}
	}
	for i := 0; i+1 < len(r.header); i += 2 {
		req.Header.Add(r.header[i], r.header[i+1])
	}
	for name, value := range pairs(r.trailer) {
		if req.Trailer == nil {
			req.Trailer = http.Header{}
		}
		req.Trailer.Set(name, value)
	}
	res, err := at.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return res, string(body)
}

// pairs makes a map of name, value, name, value.
func pairs(list []string) map[string]string {
	m := map[string]string{}
	for pair := range slices.Chunk(list, 2) {
		maps.Copy(m, map[string]string{pair[0]: pair[1]})
	}
	return m
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// shelf is a store that can be scanned, and nothing else.
type shelf struct{ wasmhost.Store }

var shelfKeys = []string{"a\x00b", "user:1", "user:2", "user:3", "user:4", "user:5", "zebra"}

func (shelf) Scan(_ context.Context, prefix string, cursor []byte, most int) (keys []string, next []byte, err error) {
	for _, key := range shelfKeys {
		if strings.HasPrefix(key, prefix) && key > string(cursor) {
			if len(keys) == most {
				return keys, []byte(keys[most-1]), nil
			}
			keys = append(keys, key)
		}
	}
	return keys, nil, nil
}
