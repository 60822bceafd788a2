// Package plugintest runs the ready-made plugins as the server does: built by the real toolchain, in a real plugin host.
package plugintest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// Go builds plugins-wasm/NAME, a plugin in Go, with its manifest, and returns the path of the module.
func Go(t testing.TB, name string) string {
	t.Helper()
	return withManifest(t, name, testenv.GoGuest(t, "./plugins-wasm/"+name))
}

// C is Go for a plugin in C.
func C(t testing.TB, name string) string {
	t.Helper()
	return withManifest(t, name, testenv.CGuest(t, "plugins-wasm/"+name+"/"+name+".c", "-Wall", "-Wextra", "-Werror"))
}

func withManifest(t testing.TB, name, module string) string {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(testenv.Root(t), "plugins-wasm", name, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	code = abi.AppendManifest(code, manifest)
	if m, err := wasmhost.ReadManifest(code); err != nil || m.Name != name || m.Version == "" || len(m.Kinds) == 0 || len(m.Config) == 0 {
		t.Fatalf("manifest of %s: %+v, %v", name, m, err)
	}
	if err := os.WriteFile(module, code, 0o600); err != nil {
		t.Fatal(err)
	}
	return module
}

// Plugin is a plugin in a host of its own.
type Plugin struct {
	*wasmhost.Plugin
	Log *testenv.Log
}

// Setting changes how a plugin is loaded, beside its configuration.
type Setting func(m *wasmhost.ModuleConfig)

// Allow grants.
func Allow(allow wasmhost.Allow) Setting { return func(m *wasmhost.ModuleConfig) { m.Allow = allow } }

// Isolation is instance or request.
func Isolation(how string) Setting { return func(m *wasmhost.ModuleConfig) { m.Isolation = how } }

// Load loads a module with a configuration, as edge.yaml would have it.
func Load(t testing.TB, module string, config any, settings ...Setting) *Plugin {
	t.Helper()
	p, err := TryLoad(t, module, config, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TryLoad is Load for a configuration that is refused.
func TryLoad(t testing.TB, module string, config any, settings ...Setting) (*Plugin, error) {
	t.Helper()
	m := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	m.File, m.Config = module, config
	for _, set := range settings {
		set(&m)
	}
	log := &testenv.Log{}
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"plugin": m}}, wasmhost.Options{
		Logger:   slog.New(slog.NewJSONHandler(log, nil)),
		CacheDir: cacheDir(t, module),
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := host.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the plugin:\n%s", log)
		}
	})
	p, _ := host.Plugin("plugin")
	return &Plugin{p, log}, nil
}

// cacheDir is beside the module, so that a test which loads it often compiles it once.
func cacheDir(t testing.TB, module string) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(module), "cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Passed is what the rest of the chain saw of a request.
type Passed struct {
	Header http.Header
	URI    string
	Vars   map[string]string
}

// Do sends a request through the plugin to next; nil answers 200 with "ok". passed is nil if the plugin answered by itself.
func (p *Plugin) Do(r *http.Request, next http.HandlerFunc) (res *httptest.ResponseRecorder, passed *Passed) {
	res = httptest.NewRecorder()
	r = wasmhost.WithVariables(r)
	p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed = &Passed{Header: r.Header.Clone(), URI: r.URL.RequestURI(), Vars: map[string]string{}}
		for _, v := range wasmhost.VariablesOf(r.Context()).All() {
			passed.Vars[v.Name] = v.Value
		}
		if next != nil {
			next(w, r)
			return
		}
		w.Write([]byte("ok"))
	})).ServeHTTP(res, r)
	return res, passed
}
