package kvlru_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
	"github.com/edge-server/edge/wasmhost"
)

func TestNative(t *testing.T) {
	t.Parallel()
	plugintest.RustTests(t, "kv-lru")
}

func TestStore(t *testing.T) {
	t.Parallel()
	module := plugintest.Rust(t, "kv-lru")
	t.Run("suite", func(t *testing.T) {
		kvtest.Run(t, func(t *testing.T) kv.Store { return plugintest.Store(t, module, nil) })
	})

	t.Run("a full store forgets what was used least", func(t *testing.T) {
		t.Parallel()
		s := store(t, module, map[string]any{"max_size": "1MiB"})
		for i := range 3000 {
			set(t, s, fmt.Sprint(i), strings.Repeat("x", 1000))
			if _, found := get(t, s, "0"); !found {
				t.Fatalf("what is used all the time went after %d keys", i)
			}
		}
		if _, found := get(t, s, "1"); found {
			t.Error("what was used least is there")
		}
		if err := s.Set(t.Context(), []kv.Item{{Key: "k", Value: make([]byte, 2<<20)}}); !errors.Is(err, kv.ErrLimit) {
			t.Errorf("a value larger than the store: %v", err)
		}
	})

	t.Run("a full store refuses", func(t *testing.T) {
		t.Parallel()
		s := store(t, module, map[string]any{"max_size": "64KiB", "when_full": "refuse"})
		set(t, s, "k", strings.Repeat("x", 60<<10))
		if err := s.Set(t.Context(), []kv.Item{{Key: "l", Value: make([]byte, 8<<10)}}); !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), "max_size") {
			t.Errorf("error = %v", err)
		}
		if s.Stats().Refused != 1 {
			t.Errorf("stats = %+v", s.Stats())
		}
	})

	// max_size is more than the plugin may have: keys go, nothing breaks.
	t.Run("less memory than it wants", func(t *testing.T) {
		t.Parallel()
		s := store(t, module, map[string]any{"max_size": "1GiB"}, memoryOf(4*bytesize.MiB))
		for i := range 10_000 {
			set(t, s, fmt.Sprint(i), strings.Repeat("x", 1000))
		}
		if _, found := get(t, s, "9999"); !found {
			t.Error("the last key is not there")
		}
		if _, found := get(t, s, "0"); found {
			t.Error("4 MiB hold 10 MB")
		}
	})

	t.Run("config", func(t *testing.T) {
		t.Parallel()
		for config, want := range map[string]string{"max_size": "is not a size", "when_full": "is none of", "size": "there is no such key"} {
			if _, err := plugintest.TryStore(t, module, map[string]any{config: "lots"}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", config, err)
			}
		}
	})
}

// BenchmarkGet is the bar: a get through the guest takes at most 4 times that of the native driver, in the same run.
func BenchmarkGet(b *testing.B) {
	native, err := memory.New(kv.MemoryConfig{MaxSize: bytesize.GiB})
	if err != nil {
		b.Fatal(err)
	}
	guest := store(b, plugintest.Rust(b, "kv-lru"), nil)
	b.Cleanup(func() { _ = native.Close(context.Background()) })
	for _, ttl := range []bool{false, true} {
		for _, c := range []struct {
			name  string
			store kv.Store
		}{{"native", native}, {"guest", guest}} {
			b.Run(fmt.Sprintf("%s/ttl=%v", c.name, ttl), func(b *testing.B) {
				item := kv.Item{Key: "cart:7", Value: []byte(strings.Repeat("x", 256))}
				if ttl {
					item.Expires = time.Now().Add(time.Hour)
				}
				items := []kv.Item{item}
				if err := c.store.Set(context.Background(), items); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := c.store.Get(context.Background(), items); err != nil || !items[0].Found {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func store(t testing.TB, module string, config any, settings ...plugintest.Setting) kv.Store {
	t.Helper()
	s := plugintest.Store(t, module, config, settings...)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func set(t testing.TB, s kv.Store, key, value string) {
	t.Helper()
	if err := s.Set(t.Context(), []kv.Item{{Key: key, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s kv.Store, key string) (string, bool) {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	return string(items[0].Value), items[0].Found
}

func memoryOf(size bytesize.Size) plugintest.Setting {
	return func(m *wasmhost.ModuleConfig) { m.Limits.Memory = size }
}
