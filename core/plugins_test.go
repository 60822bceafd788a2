package core_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// headerGuest compiles a middleware that sets the answer's header X-Guest to value.
func headerGuest(t testing.TB, value string) []byte {
	t.Helper()
	source := filepath.Join(testenv.Dir(t), "guest.c")
	code := `
#define IMPORT(name) __attribute__((import_module("http_handler"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
IMPORT("set_header_value") void set_header_value(int kind, const char *name, int name_len, const char *value, int value_len);
EXPORT("handle_request") long long handle_request(void) {
	set_header_value(1, "X-Guest", 7, "` + value + `", sizeof("` + value + `") - 1);
	return 1;
}
EXPORT("handle_response") void handle_response(int ctx, int is_error) {}
`
	if err := os.WriteFile(source, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(testenv.CGuest(t, source))
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// install puts a file into place in one step, as a deployment does.
func install(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func guestHeader(t testing.TB, m edgetest.Mode) string {
	res, _ := m.Get(t, "/")
	return res.Header.Get("X-Guest")
}

func TestDroppedPluginComesAndGoes(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{respond: hello}]}\nplugins: {}", func(dir string) {
		os.Mkdir(filepath.Join(dir, "plugins-wasm"), 0o755)
	})
	m := s.Modes(t)[0]
	file := filepath.Join(s.Dir, "plugins-wasm", "extra.wasm")
	traffic := startLoad(m, 2, "/", ok)
	defer traffic.end(t)

	if got := guestHeader(t, m); got != "" {
		t.Fatalf("X-Guest = %q before the drop", got)
	}
	install(t, file, headerGuest(t, "one"))
	testenv.Eventually(t, "the dropped plugin runs", func() bool { return guestHeader(t, m) == "one" })

	install(t, file, headerGuest(t, "two"))
	testenv.Eventually(t, "the replacement runs", func() bool { return guestHeader(t, m) == "two" })

	install(t, file, []byte("not wasm"))
	testenv.Eventually(t, "the log tells of the broken file", func() bool {
		return strings.Contains(s.Log.String(), "extra.wasm") && strings.Contains(s.Log.String(), "not a wasm")
	})
	if got := guestHeader(t, m); got != "two" {
		t.Errorf("X-Guest = %q after a broken replacement, want the old generation's", got)
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the removed plugin is gone", func() bool { return guestHeader(t, m) == "" })
}

func TestNamedPluginStaysWhenItsFileGoes(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {middleware: [guard], routes: [{respond: hello}]}\nplugins: {}", func(dir string) {
		os.Mkdir(filepath.Join(dir, "plugins-wasm"), 0o755)
		os.WriteFile(filepath.Join(dir, "plugins-wasm", "guard.wasm"), headerGuest(t, "guarded"), 0o644)
	})
	m := s.Modes(t)[0]
	if err := os.Remove(filepath.Join(s.Dir, "plugins-wasm", "guard.wasm")); err != nil {
		t.Fatal(err)
	}
	degraded := func() bool {
		plugins := s.Plugins()
		return len(plugins) == 1 && plugins[0].Degraded != ""
	}
	testenv.Eventually(t, "the plugin is reported as degraded", degraded)
	if got := guestHeader(t, m); got != "guarded" {
		t.Errorf("X-Guest = %q: the door stands open", got)
	}
	install(t, filepath.Join(s.Dir, "plugins-wasm", "guard.wasm"), headerGuest(t, "again"))
	testenv.Eventually(t, "the plugin's return ends the degradation", func() bool { return !degraded() && guestHeader(t, m) == "again" })
}

func TestReloadPutsANewConfigurationInForce(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{respond: one}]}\nkv: {a: {}}")
	m := s.Modes(t)[0]
	page := func() string { _, body := m.Get(t, "/"); return body }

	s.WriteConfig(t, "http: {middleware: [request-id], routes: [{respond: two}]}\nkv: {a: {}}\nlog: {level: debug}")
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := page(); got != "two" {
		t.Errorf("after the reload: %q", got)
	}

	for name, tt := range map[string]struct{ config, want string }{
		"a store":       {"http: {routes: [{respond: three}]}\nkv: {a: {max_size: 1MiB}}", "needs a restart: kv.a"},
		"limits":        {"http: {limits: {body: 1KiB}, routes: [{respond: three}]}\nkv: {a: {}}", "needs a restart: http.limits"},
		"a broken file": {"http: {routes: [{respond: three}\n", "edge.yaml:"},
		"a bad pool":    {"http: {routes: [{php: app}]}\nkv: {a: {}}\nphp: {app: {command: [" + testenv.PHP(t) + ", nowhere.php], user: " + currentUser(t) + "}}", "nowhere.php"},
	} {
		s.WriteConfig(t, tt.config)
		err := s.ReloadFile(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "previous configuration serves on") {
			t.Errorf("reload with %s: %v; want %q", name, err, tt.want)
		}
		if got := page(); got != "two" {
			t.Errorf("after the refused reload with %s: %q", name, got)
		}
	}
}

func TestReloadRollsWorkersOntoNewCode(t *testing.T) {
	t.Parallel()
	var dir string
	s := edgetest.Start(t, "http: {routes: [{php: app}]}"+phpApp(t, "app.php", ""), func(d string) {
		dir = d
		os.WriteFile(filepath.Join(d, "version.txt"), []byte("one"), 0o644)
	})
	m := s.Modes(t)[0]
	traffic := startLoad(m, 4, "/version", ok)
	defer traffic.end(t)
	for _, version := range []string{"two", "three"} {
		os.WriteFile(filepath.Join(dir, "version.txt"), []byte(version), 0o644)
		if err := s.ReloadFile(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, body := m.Get(t, "/version"); body != version {
				t.Errorf("after the reload a worker still answers %q, want %q", body, version)
			}
		}
	}
}
