package wasmhost_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// answers is a module that answers every request with a status.
func answers(t testing.TB, status int) []byte {
	t.Helper()
	return wat{request: fmt.Sprintf("(call $set_status_code (i32.const %d))", status) + done}.compile(t)
}

// folder is a host over a drop folder that is being watched.
type folder struct {
	t       *testing.T
	dir     string
	h       *wasmhost.Host
	log     *testenv.Log
	changes atomic.Int32
}

func watchFolder(t *testing.T, cfg wasmhost.Config, files map[string][]byte) *folder {
	t.Helper()
	f := &folder{t: t, dir: testenv.Dir(t), log: &testenv.Log{}}
	for name, content := range files {
		f.write(name, content)
	}
	cfg.Dir = f.dir
	f.h = host(t, cfg, wasmhost.Options{Logger: logger(f.log, slog.LevelInfo), OnChange: func() {
		f.changes.Add(1)
		f.h.Unnamed() // OnChange may call the host
	}})
	if err := f.h.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *folder) write(name string, content []byte) {
	f.t.Helper()
	write(f.t, filepath.Join(f.dir, name), content)
}

func (f *folder) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) unnamed() string {
	var names []string
	for _, p := range f.h.Unnamed() {
		names = append(names, p.Name())
	}
	return strings.Join(names, " ")
}

func (f *folder) stats(name string) wasmhost.PluginStats {
	all := f.h.Stats()
	if i := slices.IndexFunc(all, func(s wasmhost.PluginStats) bool { return s.Name == name }); i >= 0 {
		return all[i]
	}
	return wasmhost.PluginStats{}
}

// status is what the plugin called name answers now.
func (f *folder) status(name string) int {
	f.t.Helper()
	p, ok := f.h.Plugin(name)
	if !ok {
		return 0
	}
	return do(f.t, serve(f.t, p.Middleware(echo)), "GET", "/", nil).StatusCode
}

func named(names ...string) wasmhost.Config {
	cfg := wasmhost.Config{Auto: true, Modules: map[string]wasmhost.ModuleConfig{}}
	for _, name := range names {
		cfg.Modules[name] = moduleConfig()
	}
	return cfg
}

func TestFolderRunsWhatLiesThere(t *testing.T) {
	t.Parallel()
	f := watchFolder(t, named("auth"), map[string][]byte{
		"b.wasm": answers(t, 202), "auth.wasm": answers(t, 201), "a.wasm": answers(t, 203),
		"broken.wasm": []byte("not wasm"), ".hidden.wasm": answers(t, 204), "readme.txt": nil, "sp ace.wasm": answers(t, 204),
	})
	if got := f.unnamed(); got != "a b" {
		t.Errorf("unnamed = %q, want a b in file-name order", got)
	}
	for name, want := range map[string]int{"auth": 201, "a": 203, "b": 202} {
		if got := f.status(name); got != want {
			t.Errorf("%s answers %d, want %d", name, got, want)
		}
	}
	if s := f.stats("broken"); s.Failures != 1 || s.Generation != 0 || !strings.Contains(s.LastError, "not a wasm module") {
		t.Errorf("broken at start: %+v, want it counted", s)
	}
	for _, want := range []string{`plugin cannot be loaded" plugin=broken`, "sp ace.wasm"} {
		if strings.Count(f.log.String(), want) != 1 {
			t.Errorf("the log has not exactly one %q:\n%s", want, f.log.String())
		}
	}
	if f.changes.Load() != 0 {
		t.Errorf("OnChange was called %d times without a change", f.changes.Load())
	}
}

func TestAutoFalseRunsOnlyNamedOnes(t *testing.T) {
	t.Parallel()
	cfg := named("auth")
	cfg.Auto = false
	f := watchFolder(t, cfg, map[string][]byte{"auth.wasm": answers(t, 201), "other.wasm": answers(t, 202)})
	if got := f.unnamed(); got != "" || f.status("auth") != 201 {
		t.Errorf("unnamed = %q, auth answers %d", got, f.status("auth"))
	}
}

func TestNamedBrokenAtStartRefusesTheStart(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	write(t, filepath.Join(dir, "auth.wasm"), nil)
	cfg := named("auth", "absent")
	cfg.Dir = dir
	_, err := wasmhost.New(context.Background(), cfg, wasmhost.Options{Logger: discard})
	if err == nil {
		t.Fatal("New has no error")
	}
	for _, want := range []string{`load plugin "auth"`, "the file is empty", `load plugin "absent"`, "absent.wasm", "plugins.modules.absent.file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestDropReplaceBreakRemove(t *testing.T) {
	t.Parallel()
	f := watchFolder(t, named(), nil)

	f.write("hello.wasm", answers(t, 201))
	testenv.Eventually(t, "it is loaded and OnChange called", func() bool { return f.unnamed() == "hello" && f.changes.Load() == 1 })
	p, _ := f.h.Plugin("hello")
	s := serve(t, p.Middleware(echo))
	if got := do(t, s, "GET", "/", nil).StatusCode; got != 201 {
		t.Errorf("dropped: status = %d, want 201", got)
	}

	f.write("hello.wasm", answers(t, 202))
	testenv.Eventually(t, "it is replaced", func() bool { return do(t, s, "GET", "/", nil).StatusCode == 202 })
	if st := p.Stats(); st.Generation != 2 {
		t.Errorf("generation = %d, want 2", st.Generation)
	}

	f.write("hello.wasm", []byte("broken"))
	testenv.Eventually(t, "the failure is counted", func() bool { return p.Stats().Failures == 1 })
	f.write("other.txt", nil)
	f.write("other.wasm", answers(t, 203)) // another event: the broken content is not reported again
	testenv.Eventually(t, "the other one is loaded", func() bool { return f.unnamed() == "hello other" })
	if got := do(t, s, "GET", "/", nil).StatusCode; got != 202 {
		t.Errorf("broken: status = %d, want the old content's 202", got)
	}
	if n := strings.Count(f.log.String(), "plugin cannot be loaded"); n != 1 || p.Stats().Failures != 1 {
		t.Errorf("the same broken content was logged %d times and counted %d times, want once", n, p.Stats().Failures)
	}

	f.write("hello.wasm", answers(t, 202)) // what serves already
	f.remove("hello.wasm")
	testenv.Eventually(t, "it is unloaded", func() bool { return f.unnamed() == "other" })
	if got := do(t, s, "GET", "/", nil).StatusCode; got != 200 {
		t.Errorf("unloaded: status = %d, want the next handler's 200", got)
	}
	testenv.Eventually(t, "OnChange was called for each", func() bool { return f.changes.Load() >= 3 })
}

func TestNamedKeepsServingWhenRemoved(t *testing.T) {
	t.Parallel()
	f := watchFolder(t, named("auth"), map[string][]byte{"auth.wasm": answers(t, 401)})
	f.remove("auth.wasm")
	testenv.Eventually(t, "it is degraded", func() bool { return len(f.h.Degraded()) == 1 })
	if got := f.h.Degraded()[0]; !strings.Contains(got, `plugin "auth"`) || !strings.Contains(got, "auth.wasm is gone") {
		t.Errorf("degraded = %q", got)
	}
	if got := f.status("auth"); got != 401 {
		t.Errorf("status = %d, want the last content's 401", got)
	}
	if err := f.h.Reload(context.Background()); err != nil || f.status("auth") != 401 {
		t.Errorf("reload: %v, status %d", err, f.status("auth"))
	}
	if n := strings.Count(f.log.String(), "plugin is degraded"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}

	f.write("auth.wasm", answers(t, 403))
	testenv.Eventually(t, "the new content serves", func() bool { return f.status("auth") == 403 })
	if got := f.h.Degraded(); len(got) != 0 {
		t.Errorf("still degraded: %v", got)
	}
	f.remove("auth.wasm")
	testenv.Eventually(t, "it is degraded again", func() bool { return len(f.h.Degraded()) == 1 })
	f.write("auth.wasm", answers(t, 403))
	testenv.Eventually(t, "the same content is back", func() bool { return len(f.h.Degraded()) == 0 })
	if s := f.stats("auth"); s.Generation != 2 {
		t.Errorf("generation = %d, want 2: the content did not change", s.Generation)
	}
}

// TestFileThatGrows: written in place, in pieces, with pauses shorter than what counts as the end.
func TestFileThatGrows(t *testing.T) {
	t.Parallel()
	f := watchFolder(t, named("auth"), map[string][]byte{"auth.wasm": answers(t, 201)})
	module := answers(t, 202)
	file, err := os.OpenFile(filepath.Join(f.dir, "auth.wasm"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var longest time.Duration
	for piece := range slices.Chunk(module, len(module)/4+1) {
		began := time.Now()
		if _, err := file.Write(piece); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond) // longer than the debounce: looked at half-way
		longest = max(longest, time.Since(began))
	}
	testenv.Eventually(t, "the new content serves", func() bool { return f.status("auth") == 202 })
	if s := f.stats("auth"); s.Failures != 0 && longest < 400*time.Millisecond { // a pause of half a second counts as the end
		t.Errorf("the growing file was called broken: %+v\n%s", s, f.log.String())
	}
}

// TestNamedFileElsewhere is watched too, and a file of the folder that edge.yaml names does not run twice.
func TestNamedFileElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(testenv.Dir(t), "x.wasm")
	write(t, elsewhere, answers(t, 201))
	cfg := named("auth", "twin")
	auth := moduleConfig()
	auth.File = elsewhere
	cfg.Modules["auth"] = auth
	f := watchFolder(t, cfg, map[string][]byte{"twin.wasm": answers(t, 205), "auth.wasm": answers(t, 299)})
	if got := f.unnamed(); got != "" {
		t.Errorf("unnamed = %q, want none: both names are taken", got)
	}
	if !strings.Contains(f.log.String(), "edge.yaml has a plugin of this name in another file") {
		t.Errorf("nothing is said about auth.wasm of the folder:\n%s", f.log.String())
	}
	write(t, elsewhere, answers(t, 202))
	testenv.Eventually(t, "the new content serves", func() bool { return f.status("auth") == 202 })
}

// TestFolderThatComesLater, goes and comes again.
func TestFolderThatComesLater(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testenv.Dir(t), "plugins")
	h := host(t, wasmhost.Config{Dir: dir, Auto: true}, wasmhost.Options{})
	if err := h.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "a.wasm"), answers(t, 201+round))
		testenv.Eventually(t, "the plugin runs", func() bool { return len(h.Unnamed()) == 1 })
		os.RemoveAll(dir)
		testenv.Eventually(t, "the plugin is gone", func() bool { return len(h.Unnamed()) == 0 })
	}
}

// TestReloadReportsWhatIsBroken, again each time it is asked.
func TestReloadReportsWhatIsBroken(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	for _, name := range []string{"auth", "b"} {
		write(t, filepath.Join(dir, name+".wasm"), answers(t, 201))
	}
	cfg := named("auth")
	cfg.Dir = dir
	h := host(t, cfg, wasmhost.Options{}) // not started: nothing happens by itself
	write(t, filepath.Join(dir, "auth.wasm"), []byte("broken"))
	write(t, filepath.Join(dir, "b.wasm"), []byte("broken too"))
	for range 2 {
		err := h.Reload(context.Background())
		if err == nil || !strings.Contains(err.Error(), `"auth"`) {
			t.Errorf("Reload = %v, want the named plugin in it", err)
		}
		if err != nil && strings.Contains(err.Error(), `"b"`) {
			t.Errorf("Reload = %v, but b only happens to lie in the folder: it is logged and counted", err)
		}
	}
	write(t, filepath.Join(dir, "auth.wasm"), answers(t, 202))
	if err := h.Reload(context.Background()); err != nil {
		t.Errorf("Reload with a broken unnamed plugin = %v", err)
	}
	for _, s := range h.Stats() {
		if s.Name == "b" && s.Failures != 1 {
			t.Errorf("b counts %d broken contents, want 1", s.Failures)
		}
	}
	os.Remove(filepath.Join(dir, "b.wasm"))
	if err := h.Reload(context.Background()); err != nil {
		t.Errorf("Reload = %v", err)
	}
	if len(h.Unnamed()) != 0 {
		t.Errorf("unnamed = %v", h.Unnamed())
	}
	// What is no regular file is broken, not a reason to hang.
	os.Remove(filepath.Join(dir, "auth.wasm"))
	os.Mkdir(filepath.Join(dir, "auth.wasm"), 0o700)
	if err := h.Reload(context.Background()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Reload = %v, want it to refuse a folder", err)
	}
}
