package wasmhost_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// guests caches compiled fixtures by source: several tests use the same one.
type fixture struct {
	once   sync.Once
	module []byte
}

var guests sync.Map // source path → *fixture

// guest compiles testdata/<source>, a .wat or .c file, and returns the module.
func guest(t testing.TB, source string) []byte {
	t.Helper()
	f, _ := guests.LoadOrStore(source, &fixture{})
	fx := f.(*fixture)
	fx.once.Do(func() {
		if strings.HasSuffix(source, ".c") {
			fx.module = read(t, testenv.CGuest(t, "wasmhost/testdata/"+source))
			return
		}
		wat, err := os.ReadFile(filepath.Join("testdata", source))
		if err != nil {
			t.Fatal(err)
		}
		fx.module = compileWAT(t, string(wat))
	})
	if fx.module == nil {
		testenv.Missing(t, "clang and wabt", "apt-get install clang lld wabt")
	}
	return fx.module
}

// compileWAT assembles a module from text.
func compileWAT(t testing.TB, wat string, flags ...string) []byte {
	t.Helper()
	tool := testenv.Tool(t, "wat2wasm", "apt-get install wabt")
	dir := testenv.Dir(t)
	source, out := filepath.Join(dir, "guest.wat"), filepath.Join(dir, "guest.wasm")
	if err := os.WriteFile(source, []byte(wat), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(tool, append(flags, source, "-o", out)...).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm: %v\n%s\n%s", err, msg, wat)
	}
	return read(t, out)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write puts content at path in one step, as a careful deployment does.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// moduleConfig is the default of plugins.modules.<name>, for a machine that stops now and then.
func moduleConfig() wasmhost.ModuleConfig {
	cfg := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	cfg.Limits.Wait = 30 * time.Second
	return cfg
}

var discard = slog.New(slog.DiscardHandler)

// host opens a host that is stopped with the test.
func host(t testing.TB, cfg wasmhost.Config, opts wasmhost.Options) *wasmhost.Host {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = discard
	}
	h, err := wasmhost.New(context.Background(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, h) })
	return h
}

func stop(t testing.TB, h *wasmhost.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// plugin loads one module under the name "p" with the given config.
func plugin(t testing.TB, module []byte, cfg wasmhost.ModuleConfig, opts wasmhost.Options) *wasmhost.Plugin {
	t.Helper()
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, module)
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, opts)
	p, ok := h.Plugin("p")
	if !ok {
		t.Fatal("there is no plugin p")
	}
	return p
}

// serve runs handler on a real socket.
func serve(t testing.TB, handler http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

// do sends a request and reads the answer. Headers come in pairs.
func do(t testing.TB, s *httptest.Server, method, uri string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+uri, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(b)}
}

func logger(l *testenv.Log, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}
