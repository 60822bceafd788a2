package core

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/sdk/abi"
)

// edgeIn starts a server with an edge.yaml of its own.
func edgeIn(t *testing.T, dir, yaml string) (*Edge, *testenv.Log) {
	t.Helper()
	cfg := configIn(t, dir, yaml)
	log := &testenv.Log{}
	e, err := New(t.Context(), cfg, Options{ConfigPath: filepath.Join(dir, "edge.yaml"), LogOutput: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e, log
}

func configIn(t *testing.T, dir, yaml string) *Config {
	t.Helper()
	writeFile(t, filepath.Join(dir, "edge.yaml"), []byte("version: 1\n"+yaml))
	cfg, err := Load(filepath.Join(dir, "edge.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path+".new", content, 0o644), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func lruModule(t *testing.T) []byte {
	t.Helper()
	module, err := os.ReadFile(testenv.RustGuest(t, "plugins-wasm/kv-lru/kv-lru.rs"))
	if err != nil {
		t.Fatal(err)
	}
	return module
}

const pluginStores = `
kv:
  near: {driver: memory}
  mine: {driver: wasm, plugin: kv-lru, config: {max_size: 1MiB}}
plugins: {modules: {kv-lru: {limits: {memory: 8MiB, wait: 30s}}}}
`

// TestPluginStore: a store whose data a plugin keeps, which lies in the folder, is replaced there again and again while it is
// used, and removed.
func TestPluginStore(t *testing.T) {
	t.Parallel()
	dir, module := testenv.Dir(t), lruModule(t)
	file := filepath.Join(dir, "plugins-wasm", "kv-lru.wasm")
	writeFile(t, file, module)
	e, log := edgeIn(t, dir, pluginStores)
	if unnamed := e.world.Load().unnamedPlugins(); len(unnamed) != 0 || len(e.Plugins()) != 1 {
		t.Errorf("plugins %v, of which %d on every route", e.Plugins(), len(unnamed))
	}
	store := e.stores["mine"]
	if !store.Can().Has(kv.CanUpdate | kv.CanIncrement | kv.CanScan | kv.CanTTL | kv.CanEvict) {
		t.Errorf("can %b", store.Can())
	}
	generation := func() uint64 { return e.Plugins()[0].Generation }

	stopped := make(chan struct{})
	var wg sync.WaitGroup
	var sum atomic.Int64
	for g := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stopped:
					return
				default:
				}
				item := []kv.Item{{Key: fmt.Sprintf("%d:%d", g, n%50), Value: []byte(fmt.Sprint(n)), Expires: time.Now().Add(time.Hour)}}
				got := []kv.Item{{Key: item[0].Key}}
				if err := errors.Join(store.Set(t.Context(), item), store.Get(t.Context(), got)); err != nil || string(got[0].Value) != fmt.Sprint(n) {
					t.Errorf("%s: %q, %v, want %d", item[0].Key, got[0].Value, err, n)
					return
				}
				if _, err := store.Increment(t.Context(), "sum", 1, time.Time{}); err != nil {
					t.Error(err)
					return
				}
				sum.Add(1)
			}
		})
	}
	for n := range testenv.Count(3, 50) {
		writeFile(t, file, section(module, fmt.Sprint("swap ", n)))
		testenv.Eventually(t, "the new content serves", func() bool { return generation() == uint64(n)+2 })
	}
	close(stopped)
	wg.Wait()
	if n, err := store.Increment(t.Context(), "sum", 0, time.Time{}); n != sum.Load() || err != nil {
		t.Errorf("the sum is %d, %v; %d were added", n, err, sum.Load())
	}

	if err := os.Remove(file); err != nil { // rm; the last content serves on
		t.Fatal(err)
	}
	testenv.Eventually(t, "the server says degraded", func() bool { return len(e.degraded()) == 1 })
	if n, err := store.Increment(t.Context(), "sum", 0, time.Time{}); n != sum.Load() || err != nil {
		t.Errorf("without the file: %d, %v", n, err)
	}
	if strings.Contains(log.String(), `"level":"error"`) {
		t.Errorf("log:\n%s", log)
	}

	writeFile(t, file, module)
	next := configIn(t, dir, strings.Replace(pluginStores, "memory: 8MiB", "memory: 9MiB", 1))
	if err := e.Reload(t.Context(), next); err == nil || !strings.Contains(err.Error(), "needs a restart: plugins.modules.kv-lru;") {
		t.Errorf("a reload that changes the plugin of a store: %v", err)
	}
	next = configIn(t, dir, pluginStores+"http: {listen: [{address: '127.0.0.1:0'}], routes: []}\n")
	if err := e.Reload(t.Context(), next); err == nil || !strings.Contains(err.Error(), "needs a restart: http") {
		t.Errorf("error = %v", err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := store.Get(t.Context(), []kv.Item{{Key: "k"}}); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

// section appends a section that changes a module's content and nothing else.
func section(module []byte, text string) []byte {
	content := append([]byte{byte(len("note"))}, "note"+text...)
	return append(append(slices.Clone(module), 0, byte(len(content))), content...)
}

// TestPluginStoreFails: what the plugin refuses is said with store, plugin and reason; a trap ends one operation and names the plugin.
func TestPluginStoreFails(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	writeFile(t, filepath.Join(dir, "plugins-wasm", "kv-lru.wasm"), lruModule(t))
	trap, err := os.ReadFile(testenv.CGuest(t, "wasmhost/testdata/kv.c"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "plugins-wasm", "trap.wasm"), trap)

	cfg := configIn(t, dir, "kv: {mine: {driver: wasm, plugin: kv-lru, config: {size: 1}}}\nplugins: {}\n")
	if _, err := New(t.Context(), cfg, Options{LogOutput: &testenv.Log{}}); err == nil || !strings.Contains(err.Error(), `"mine"`) ||
		!strings.Contains(err.Error(), "config.size: there is no such key") {
		t.Errorf("error = %v", err)
	}
	cfg = configIn(t, dir, "kv: {mine: {driver: wasm, plugin: gone}}\nplugins: {}\n")
	if _, err := New(t.Context(), cfg, Options{LogOutput: &testenv.Log{}}); err == nil || !strings.Contains(err.Error(), "gone.wasm") {
		t.Errorf("error = %v", err)
	}

	e, _ := edgeIn(t, dir, "kv: {mine: {driver: wasm, plugin: trap}}\nplugins: {}\n")
	err = e.stores["mine"].Get(t.Context(), []kv.Item{{Key: "trap"}})
	if err == nil || !strings.Contains(err.Error(), `kv driver "trap": kv_get`) {
		t.Errorf("a trap: %v", err)
	}
	if err := e.stores["mine"].Set(t.Context(), []kv.Item{{Key: "k", Value: []byte("v")}}); err != nil {
		t.Errorf("after a trap: %v", err)
	}
	var keys []string
	for i := range 5 {
		if err := e.stores["mine"].Set(t.Context(), []kv.Item{{Key: fmt.Sprint("s", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	for cursor := ""; ; { // as plugins scan
		page, next, err := PluginStore(e.stores["mine"]).Scan(t.Context(), "s", []byte(cursor), 2)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, page...)
		if cursor = string(next); cursor == "" {
			break
		}
	}
	if slices.Sort(keys); len(slices.Compact(keys)) != 5 {
		t.Errorf("scan found %q", keys)
	}
	if err := e.stores["mine"].Delete(t.Context(), []kv.Item{{Key: strings.Repeat("k", 100_000)}}); !errors.Is(err, kv.ErrLimit) && !errors.Is(err, abi.ErrTooLarge) {
		t.Errorf("a key that is too large for the guest: %v", err)
	}
}

func TestPluginStoreConfig(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"kv: {a: {driver: wasm}}":            "kv.a.plugin: must name the plugin",
		"kv: {a: {plugin: p}}":               "kv.a.plugin: only a store with the driver wasm has one",
		"kv: {a: {config: {x: 1}}}":          "kv.a.config: only a store with the driver wasm",
		"kv: {a: {driver: wasm, plugin: p}}": `kv.a.plugin: the plugin "p" needs a plugins section`,
		"kv: {a: {driver: wasm, plugin: p}, b: {driver: wasm, plugin: p}}\nplugins: {}": `kv.b.plugin: "p" keeps the data of the store a already`,
		"kv: {a: {driver: wasm, plugin: p}}\nplugins: {}\nhttp: {middleware: [p]}":      `kv.a.plugin: "p" is used by the http section as well`,
		"kv: {a: {driver: wasm, plugin: p}}\nplugins: {modules: {p: {allow: {kv: [a]}}}}": "kv.a.plugin: the store would wait for itself: " +
			"plugins.modules.p.allow.kv leads back to it (a uses a)",
		"kv: {a: {driver: wasm, plugin: p}, b: {driver: wasm, plugin: q}, c: {}}\nplugins: {modules: {p: {allow: {kv: [c, b]}}, q: {allow: {kv: [a]}}}}": "(a uses b uses a)",
	} {
		dir := testenv.Dir(t)
		writeFile(t, filepath.Join(dir, "edge.yaml"), []byte("version: 1\n"+yaml))
		if _, err := Load(filepath.Join(dir, "edge.yaml"), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", yaml, err, want)
		}
	}
	cfg := configIn(t, testenv.Dir(t), "kv: {a: {driver: wasm, plugin: p}, b: {driver: wasm, plugin: q}, c: {}}\n"+
		"plugins: {modules: {p: {allow: {kv: [b, c]}}, q: {allow: {kv: [c]}}}}")
	if order := cfg.storesInOrder(); !slices.Equal(order, []string{"c", "b", "a"}) {
		t.Errorf("stores open in the order %v", order)
	}
}
