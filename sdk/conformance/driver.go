package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// RunDriver tests the KV driver at path, which README.md describes.
func RunDriver(t *testing.T, path string) {
	t.Helper()
	module := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	module.File = path
	log := &testenv.Log{}
	config := wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"driver": module}}
	opts := wasmhost.Options{Logger: slog.New(slog.NewJSONHandler(log, nil)), CacheDir: testenv.Dir(t)}
	if r := wasmhost.Survey("driver", config, opts); !slices.Contains(r.Exports, abi.KVClock) {
		t.Errorf("the driver exports %v, not %s: each look at the clock is a call", r.Exports, abi.KVClock)
	}
	host, err := wasmhost.New(t.Context(), config, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Stop(context.Background()) })
	p, _ := host.Plugin("driver")
	ctx := t.Context()
	if _, err := p.OpenDriver(ctx, map[string]any{"refuse": true}); err == nil || wasmhost.Errno(err) != abi.ErrInvalid {
		t.Errorf("open with {refuse: true}: %v, want %v", err, abi.ErrInvalid)
	}
	d, err := p.OpenDriver(ctx, map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Features(), abi.KVFeatureTTL|abi.KVFeatureCAS|abi.KVFeatureIncr|abi.KVFeatureBatch|abi.KVFeatureScan|abi.KVFeatureEvict; got != want {
		t.Errorf("features = %b, want %b", got, want)
	}
	driver{t, ctx, d}.run()
	if err := d.Tick(ctx, time.UnixMilli(1700000000123)); err != nil {
		t.Error(err)
	}
	if err := d.Close(ctx); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"ticked 1700000000123", "closed"} {
		testenv.Eventually(t, "the driver logs "+line, func() bool { return strings.Contains(log.String(), `"msg":"`+line+`"`) })
	}
}

// driver says each step in a line.
type driver struct {
	t   *testing.T
	ctx context.Context
	d   *wasmhost.Driver
}

func (d driver) run() {
	const minute = time.Minute
	d.get("a", "absent")
	d.set("a", "one", wasmhost.SetOptions{}, 0)
	d.get("a", "one 1 endless")
	d.set("a", "two\x00\xff", wasmhost.SetOptions{TTL: minute}, 0)
	d.get("a", "two\x00\xff 2 ending")
	d.set("a", "", wasmhost.SetOptions{Flags: abi.SetKeepTTL}, 0)
	d.get("a", " 3 ending")
	large := string(bytes.Repeat([]byte("large "), 30_000))
	d.set("large", large, wasmhost.SetOptions{}, 0)
	d.get("large", large+" 1 endless")

	d.set("a", "x", wasmhost.SetOptions{Flags: abi.SetNX}, abi.ErrExists)
	d.set("b", "x", wasmhost.SetOptions{Flags: abi.SetXX}, abi.ErrCondition)
	d.set("b", "x", wasmhost.SetOptions{Flags: abi.SetNX}, 0)
	d.set("b", "y", wasmhost.SetOptions{Flags: abi.SetIfVersion, Version: 7}, abi.ErrCondition)
	d.set("b", "y", wasmhost.SetOptions{Flags: abi.SetIfVersion, Version: 1}, 0)
	d.get("b", "y 2 endless")
	d.is("delete of another version", d.d.Delete(d.ctx, "b", 1), abi.ErrCondition)
	d.is("delete", d.d.Delete(d.ctx, "b", 2), 0)
	d.is("delete again", d.d.Delete(d.ctx, "b", 0), 0)
	d.get("b", "absent")

	d.incr("n", 5, minute, "5")
	d.incr("n", -7, 0, "-2")
	d.get("n", "-2 2 ending")
	d.incr("n", 1<<40, 0, fmt.Sprint(1<<40-2))
	if _, err := d.d.Incr(d.ctx, "large", 1, 0); err == nil {
		d.t.Error("a word was incremented")
	}
	for key, want := range map[string]bool{"n": true, "b": false} {
		if there, err := d.d.Expire(d.ctx, key, 0); there != want || err != nil {
			d.t.Errorf("expire %s = %v, %v; want %v", key, there, err, want)
		}
	}
	d.get("n", fmt.Sprint(1<<40-2, " 3 endless"))
	d.set("short", "x", wasmhost.SetOptions{TTL: 10 * time.Millisecond}, 0)
	testenv.Eventually(d.t, "a key ends", func() bool {
		e, err := d.d.Get(d.ctx, "short")
		return err == nil && !e.Found
	})

	d.batch()
	d.scan()
	d.is("clear", d.d.Clear(d.ctx), 0)
	d.get("a", "absent")
}

// is compares errors; 0 is none.
func (d driver) is(what string, got error, want abi.Errno) {
	d.t.Helper()
	if want == 0 && got != nil || want != 0 && (got == nil || wasmhost.Errno(got) != want) {
		d.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (d driver) set(key, value string, o wasmhost.SetOptions, want abi.Errno) {
	d.t.Helper()
	d.is("set "+key, d.d.Set(d.ctx, key, []byte(value), o), want)
}

func (d driver) get(key, want string) {
	d.t.Helper()
	e, err := d.d.Get(d.ctx, key)
	got := "absent"
	if e.Found {
		end := "endless"
		if e.TTL > 0 && e.TTL <= time.Minute+time.Second {
			end = "ending"
		}
		got = fmt.Sprintf("%s %d %s", e.Value, e.Version, end)
	}
	if err != nil || got != want {
		d.t.Errorf("get %s = %.100q, %v; want %.100q", key, got, err, want)
	}
}

func (d driver) incr(key string, delta int64, ttl time.Duration, want string) {
	d.t.Helper()
	if n, err := d.d.Incr(d.ctx, key, delta, ttl); fmt.Sprint(n) != want || err != nil {
		d.t.Errorf("incr %s = %d, %v; want %s", key, n, err, want)
	}
}

func (d driver) batch() {
	outcomes, err := d.d.Batch(d.ctx, []abi.Op{
		{Op: abi.OpGet, Key: []byte("nobody")},
		{Op: abi.OpSet, Key: []byte("c"), Value: []byte("see")},
		{Op: abi.OpGet, Key: []byte("c")},
		{Op: abi.OpIncr, Key: []byte("m"), Value: binary.LittleEndian.AppendUint64(nil, 3)},
		{Op: abi.OpSet, Key: []byte("c"), Value: []byte("x"), Flags: abi.SetNX},
		{Op: abi.OpDelete, Key: []byte("m")},
		{Op: abi.OpGet, Key: []byte("m")},
	})
	if err != nil || len(outcomes) != 7 {
		d.t.Fatalf("batch = %d outcomes, %v; want 7", len(outcomes), err)
	}
	for i, want := range []abi.Errno{abi.ErrNotFound, 0, 0, 0, abi.ErrExists, 0, abi.ErrNotFound} {
		d.is(fmt.Sprint("batch: operation ", i), outcomes[i].Err, want)
	}
	if got := string(outcomes[2].Value); got != "see" {
		d.t.Errorf("batch: get = %q, want see", got)
	}
	if got := outcomes[3].Value; !bytes.Equal(got, binary.LittleEndian.AppendUint64(nil, 3)) {
		d.t.Errorf("batch: incr = %x, want 3", got)
	}
}

func (d driver) scan() {
	want := []string{"s/1", "s/2", "s/3", "s/4", "s/5"}
	for _, key := range []string{"s/3", "s/5", "s/1", "s/4", "s/2", "r", "s"} {
		d.set(key, "x", wasmhost.SetOptions{}, 0)
	}
	for _, most := range []int{1, 2, 5, 100} {
		var keys []string
		var cursor []byte
		for pages := 0; ; pages++ {
			page, next, err := d.d.Scan(d.ctx, "s/", cursor, most)
			if err != nil || len(page) > most || pages > 10 {
				d.t.Fatalf("scan: page %d has %d keys, %v; want at most %d", pages, len(page), err, most)
			}
			keys = append(keys, page...)
			if cursor = next; len(cursor) == 0 {
				break
			}
		}
		if !slices.Equal(keys, want) {
			d.t.Errorf("scan by %d = %q, want %q", most, keys, want)
		}
	}
}
