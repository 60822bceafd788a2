package wasmhost_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

func kvGuest(t testing.TB, flags ...string) []byte {
	t.Helper()
	return read(t, testenv.CGuest(t, "wasmhost/testdata/kv.c", flags...))
}

func driver(t testing.TB, module []byte) (*wasmhost.Driver, *wasmhost.Plugin) {
	t.Helper()
	p := plugin(t, module, moduleConfig(), wasmhost.Options{})
	d, err := p.OpenDriver(context.Background(), map[string]any{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	return d, p
}

func TestKVDriver(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d, p := driver(t, kvGuest(t))
	if e, err := d.Get(ctx, "k"); err != nil || e.Found {
		t.Errorf("a key that is not there: %+v, %v", e, err)
	}
	if err := d.Set(ctx, "k", []byte("value"), wasmhost.SetOptions{TTL: 1500 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if e, err := d.Get(ctx, "k"); err != nil || string(e.Value) != "value" || e.TTL != 1500*time.Millisecond || e.Version != 1 {
		t.Errorf("get = %+v, %v", e, err)
	}
	for flags, want := range map[uint32]abi.Errno{abi.SetNX: abi.ErrExists, abi.SetIfVersion: abi.ErrCondition} {
		if err := d.Set(ctx, "k", nil, wasmhost.SetOptions{Flags: flags, Version: 9}); errnoOf(err) != want {
			t.Errorf("set with flags %d: %v, want %v", flags, err, want)
		}
	}
	if err := d.Set(ctx, "other", nil, wasmhost.SetOptions{Flags: abi.SetXX}); errnoOf(err) != abi.ErrCondition {
		t.Errorf("set XX: %v", err)
	}
	if err := d.Set(ctx, strings.Repeat("k", 65), nil, wasmhost.SetOptions{}); errnoOf(err) != abi.ErrTooLarge || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a key that is too large: %v", err)
	}
	if n, err := d.Incr(ctx, "n", 5, 0); n != 5 || err != nil {
		t.Errorf("incr = %d, %v", n, err)
	}
	if found, err := d.Expire(ctx, "k", time.Second); !found || err != nil {
		t.Errorf("expire = %v, %v", found, err)
	}
	if found, err := d.Expire(ctx, "none", time.Second); found || err != nil {
		t.Errorf("expire of nothing = %v, %v", found, err)
	}
	outcomes, err := d.Batch(ctx, []abi.Op{{Op: abi.OpGet, Key: []byte("k")}, {Op: abi.OpGet, Key: []byte("none")}})
	if err != nil || len(outcomes) != 2 || string(outcomes[0].Value) != "value" || errnoOf(outcomes[1].Err) != abi.ErrNotFound {
		t.Errorf("batch = %+v, %v", outcomes, err)
	}
	if err := d.Delete(ctx, "k", 0); err != nil {
		t.Error(err)
	}
	if err := d.Delete(ctx, "k", 0); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	for i := range 25 {
		if err := d.Set(ctx, fmt.Sprint("user:", i), []byte{1}, wasmhost.SetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if keys := scanAll(t, d, "user:"); len(keys) != 25 {
		t.Errorf("scan found %d keys: %v", len(keys), keys)
	}
	if err := d.Clear(ctx); err != nil { // by scan and delete: the guest has no kv_clear
		t.Error(err)
	}
	if keys := scanAll(t, d, ""); len(keys) != 0 {
		t.Errorf("after clear: %v", keys)
	}

	if _, err := d.Get(ctx, "bad"); errnoOf(err) != abi.ErrInternal {
		t.Errorf("a result outside of memory: %v", err)
	}
	if st := p.Stats(); st.Idle+st.Busy != 1 || st.Traps != 0 {
		t.Errorf("stats = %+v", st)
	}
	if _, err := d.Get(ctx, "trap"); err == nil || !strings.Contains(err.Error(), `kv driver "p"`) {
		t.Errorf("a trap: %v", err)
	}
	if e, err := d.Get(ctx, "user:1"); err != nil || e.Found { // a trap costs the memory, and the data with it
		t.Errorf("after a trap: %+v, %v", e, err)
	}
	if err := d.Set(ctx, "k", []byte("again"), wasmhost.SetOptions{}); err != nil {
		t.Errorf("after a trap: %v", err)
	}
}

func scanAll(t *testing.T, d *wasmhost.Driver, prefix string) []string {
	var all []string
	var cursor []byte
	for range 100 {
		keys, next, err := d.Scan(context.Background(), prefix, cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keys...)
		if cursor = next; len(next) == 0 {
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
	t.Fatal("the scan does not end")
	return nil
}

func errnoOf(err error) abi.Errno { return wasmhost.Errno(err) }

// TestKVDriverOpen: the driver's own words, one store per plugin, and a swap that would lose the data.
func TestKVDriverOpen(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var log testenv.Log
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, kvGuest(t))
	cfg := moduleConfig()
	cfg.File = file
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
	p, _ := h.Plugin("p")
	if _, err := p.OpenDriver(ctx, map[string]any{"x": 1}); err == nil || !strings.Contains(err.Error(), "x is no setting") {
		t.Errorf("error = %v", err)
	}
	d, err := p.OpenDriver(ctx, map[string]any{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.OpenDriver(ctx, nil); err == nil {
		t.Error("two stores share one driver")
	}
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "kv_tick", func() bool { return strings.Contains(log.String(), "kv_tick") })

	for i := range 30 {
		if err := d.Set(ctx, fmt.Sprint("key:", i), []byte(fmt.Sprint(i)), wasmhost.SetOptions{TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, file, section(kvGuest(t, "-DSILENT"), "new", "content"))
	if err := h.Reload(ctx); err != nil {
		t.Errorf("a swap that moves the data: %v", err)
	}
	if e, err := d.Get(ctx, "key:29"); err != nil || string(e.Value) != "29" || e.TTL != time.Hour || p.Stats().Generation != 2 {
		t.Errorf("after the swap: %+v, %v, generation %d", e, err, p.Stats().Generation)
	}
	if n := len(scanAll(t, d, "key:")); n != 30 {
		t.Errorf("after the swap there are %d keys", n)
	}
	write(t, file, kvGuest(t, "-DNOSCAN"))
	if err := h.Reload(ctx); err != nil { // from one that can scan to one that cannot
		t.Errorf("a swap that moves the data: %v", err)
	}
	if e, err := d.Get(ctx, "key:29"); err != nil || string(e.Value) != "29" {
		t.Errorf("after the second swap: %+v, %v", e, err)
	}
	write(t, file, kvGuest(t))
	if err := h.Reload(ctx); err == nil || !strings.Contains(err.Error(), "a replacement would lose") {
		t.Errorf("a swap that loses the data: %v", err)
	}
	if e, err := d.Get(ctx, "key:29"); err != nil || string(e.Value) != "29" {
		t.Errorf("after the refused swap: %+v, %v", e, err)
	}
	if err := d.Close(ctx); err != nil || !strings.Contains(log.String(), "kv_close") {
		t.Errorf("close: %v", err)
	}
	if err := h.Reload(ctx); err != nil {
		t.Errorf("a swap of a driver that nobody uses: %v", err)
	}
}

// TestKVDriverTogether: a driver whose data is inside serves many, one after the other; one whose data is outside has many instances.
func TestKVDriverTogether(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"-DSHARED"}} {
		d, p := driver(t, kvGuest(t, flags...))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 200 {
					if _, err := d.Incr(context.Background(), "n", 1, 0); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		n, err := d.Incr(context.Background(), "n", 0, 0)
		if flags == nil && (n != 16*200 || p.Stats().Idle != 1) || err != nil {
			t.Errorf("%v: %d, %v, %d instances", flags, n, err, p.Stats().Idle)
		}
	}
}

// BenchmarkKVDriver is a get of 128 bytes by a key of 32: through the host, and the guest's function alone in a bare engine. The
// bar is 0.3 µs between the two.
func BenchmarkKVDriver(b *testing.B) {
	ctx := context.Background()
	key := strings.Repeat("k", 32)
	b.Run("host", func(b *testing.B) {
		d, _ := driver(b, kvGuest(b))
		if err := d.Set(ctx, key, make([]byte, 128), wasmhost.SetOptions{}); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if e, err := d.Get(ctx, key); err != nil || !e.Found {
				b.Fatal(err)
			}
		}
	})
	b.Run("guest", func(b *testing.B) {
		rt := wazero.NewRuntime(ctx)
		defer rt.Close(ctx)
		must := func(_ any, err error) {
			if err != nil {
				b.Fatal(err)
			}
		}
		must(rt.NewHostModuleBuilder("edge_core_v1").NewFunctionBuilder().WithFunc(func(uint32, uint32) uint32 { return 0 }).Export("set_error").Instantiate(ctx))
		must(rt.NewHostModuleBuilder("http_handler").NewFunctionBuilder().WithFunc(func(uint32, uint32, uint32) {}).Export("log").Instantiate(ctx))
		mod, err := rt.Instantiate(ctx, kvGuest(b))
		must(nil, err)
		box, err := mod.ExportedFunction(abi.Mailbox).Call(ctx, 64)
		must(nil, err)
		mod.Memory().WriteString(uint32(box[0]>>32), key+strings.Repeat("v", 128))
		_, err = mod.ExportedFunction(abi.KVSet).Call(ctx, 32, 128, 0, 0, 0)
		must(nil, err)
		get, stack := mod.ExportedFunction(abi.KVGet), make([]uint64, 1)
		for b.Loop() {
			stack[0] = 32
			if err := get.CallWithStack(ctx, stack); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestKVDriverMovesUnderLoad: who writes while the driver's file is replaced again and again reads what it wrote.
func TestKVDriverMovesUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	file := filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, file, kvGuest(t))
	cfg := moduleConfig()
	cfg.File = file
	cfg.Limits.Wait = 30 * time.Second
	h := host(t, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{})
	p, _ := h.Plugin("p")
	d, err := p.OpenDriver(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	stopped, swaps := make(chan struct{}), testenv.Count(5, 100)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stopped:
					return
				default:
				}
				key, value := fmt.Sprintf("%d:%d", g, n%20), fmt.Sprint(n)
				if err := d.Set(ctx, key, []byte(value), wasmhost.SetOptions{}); err != nil {
					t.Error(err)
					return
				}
				if e, err := d.Get(ctx, key); err != nil || string(e.Value) != value {
					t.Errorf("%s: %q, %v, want %q", key, e.Value, err, value)
					return
				}
			}
		})
	}
	module := kvGuest(t)
	for n := range swaps {
		write(t, file, section(module, "n", fmt.Sprint(n)))
		if err := h.Reload(ctx); err != nil {
			t.Error(err)
		}
	}
	close(stopped)
	wg.Wait()
	if n := p.Stats().Generation; n != uint64(swaps)+1 {
		t.Errorf("generation %d after %d swaps", n, swaps)
	}
}
