package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
	"github.com/edge-server/edge/kv/memory"
	kvredis "github.com/edge-server/edge/kv/redis"
	"github.com/edge-server/edge/wasmhost"
)

// kvDuel is a driver beside what it is promised to be compared with, both in this process.
type kvDuel struct {
	key, title, about string
	callers           int
	sides             [2]kvSide // the driver, and what stands beside it
	bar               bar       // about the ratio of their rates, the driver's first
	what              string    // the promise
}

// kvSide opens what does one operation at a time on the key with a number.
type kvSide struct {
	name string
	open func(ctx context.Context, space *workspace) (do func(n int64) error, shut func() error, err error)
}

var kvDuels = []kvDuel{
	{
		key: "driver-boltdb", title: "the driver boltdb", callers: 64,
		about: "64 goroutines set, `sync: always`: what is acknowledged is on the disk. Beside it one transaction of bbolt for each set.",
		sides: [2]kvSide{{"boltdb", openBolt}, {"one transaction per set", openBareBolt}},
		bar:   bar{limit: 5}, what: "boltdb, 64 callers, sync always: sets per second beside one transaction for each",
	},
	{
		key: "driver-redis", title: "the driver redis", callers: 64,
		about: "64 goroutines get. Beside it go-redis with a pool of 64 connections.",
		sides: [2]kvSide{{"redis, autopipelined", openRedisStore}, {"go-redis, pooled", openRedisPool}},
		bar:   bar{limit: 2}, what: "redis, 64 callers: gets per second beside go-redis with a pool",
	},
	{
		key: "driver-wasm", title: "the driver wasm", callers: 1,
		about: "One goroutine gets from the LRU of plugins-wasm/kv-lru. Beside it the driver memory.",
		sides: [2]kvSide{{"wasm, kv-lru", openGuest}, {"memory", openMemory}},
		bar:   bar{limit: 0.25}, what: "wasm, LRU in a guest: gets per second beside the driver memory (a quarter: a get takes at most 4 times as long)",
	},
}

// kvDuelResult is what a duel measured: operations per second of both sides, by rounds.
type kvDuelResult struct {
	duel  kvDuel
	rates [2][]float64
}

func (r kvDuelResult) ratio() float64 {
	return spreadOf(r.rates[0]).median / spreadOf(r.rates[1]).median
}

// benchKVDrivers runs the duels, the sides by turns.
func benchKVDrivers(ctx context.Context, opts options, space *workspace, progress io.Writer) (results []kvDuelResult, err error) {
	for _, duel := range kvDuels {
		result, err := duel.run(ctx, opts, space, progress)
		if err != nil {
			return nil, interrupted(ctx, fmt.Errorf("%s: %w", duel.key, err))
		}
		results = append(results, result)
	}
	return results, nil
}

func (d kvDuel) run(ctx context.Context, opts options, space *workspace, progress io.Writer) (result kvDuelResult, err error) {
	result.duel = d
	var does [2]func(int64) error
	for i, side := range d.sides {
		do, shut, err := side.open(ctx, space)
		if err != nil {
			return result, fmt.Errorf("%s: %w", side.name, err)
		}
		defer func() { err = errors.Join(err, shut()) }()
		does[i] = do
	}
	for round := range opts.kvRounds + 1 { // the first one warms
		for turn := range does {
			side := (round + turn) % len(does)
			rate, err := d.rate(ctx, does[side], opts.kvDuration)
			if err != nil {
				return result, fmt.Errorf("%s: %w", d.sides[side].name, err)
			}
			if round > 0 {
				result.rates[side] = append(result.rates[side], rate)
				fmt.Fprintf(progress, "kv %s %d/%d %-24s %9.0f/s\n", d.key, round, opts.kvRounds, d.sides[side].name, rate)
			}
		}
	}
	return result, nil
}

// rate lets the callers work until duration is over.
func (d kvDuel) rate(ctx context.Context, do func(int64) error, duration time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var next, done atomic.Int64
	errs := make([]error, d.callers)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range d.callers {
		wg.Go(func() { // ends with ctx
			n := int64(0)
			for ctx.Err() == nil && errs[i] == nil {
				for range 8 { // looking at ctx costs as much as a get
					if errs[i] = do(next.Add(1)); errs[i] != nil {
						break
					}
					n++
				}
			}
			done.Add(n)
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), errors.Join(errs...)
}

// kvDriverSection writes what a duel measured.
func kvDriverSection(r kvDuelResult, opts options, where machine) section {
	var b strings.Builder
	fmt.Fprintf(&b, "### Key-value: %s\n\n%s Values of 256 bytes.\n\n", r.duel.title, r.duel.about)
	fmt.Fprintf(&b, "%s. %s\n\n", time.Now().Format(time.DateOnly), where)
	fmt.Fprintf(&b, "Medians of %d interleaved runs of %s, in one process.\n\n", opts.kvRounds, opts.kvDuration)
	writeRow(&b, "what", "operations/s", "×", "min / median / max")
	writeRule(&b, 3)
	for i, side := range r.duel.sides {
		spread := spreadOf(r.rates[i])
		writeRow(&b, side.name, formatNumber(spread.median, 0), formatNumber(spread.median/spreadOf(r.rates[1]).median, 2), spread.format(0))
	}
	fmt.Fprintf(&b, "\n```sh\ngo run ./internal/bench -kv\n```\n")
	return section{key: "kv " + r.duel.key, text: b.String()}
}

// benchKeys is how many keys are written.
const benchKeys = 10_000

func benchKey(n int64) string { return "key:" + strconv.FormatInt(n%benchKeys, 10) }

// setsOf sets in a store, getsOf gets what was set before.
func setsOf(store kv.Store) func(int64) error {
	return func(n int64) error {
		return store.Set(context.Background(), []kv.Item{{Key: benchKey(n), Value: kvValue}})
	}
}

func getsOf(store kv.Store) (func(int64) error, error) {
	get := func(int64) error {
		items := []kv.Item{{Key: kvKey}}
		err := store.Get(context.Background(), items)
		if err == nil && len(items[0].Value) != len(kvValue) {
			err = errKVAnswer
		}
		return err
	}
	return get, store.Set(context.Background(), []kv.Item{{Key: kvKey, Value: kvValue}})
}

func openBolt(ctx context.Context, space *workspace) (func(int64) error, func() error, error) {
	cfg := kv.DefaultBoltConfig()
	cfg.File, cfg.Bucket, cfg.Sync = space.path("kv-edge.db"), "bench", kv.SyncAlways
	store, err := boltdb.Open(ctx, boltdb.NewFiles(slog.New(slog.DiscardHandler)), "bench", cfg)
	if err != nil {
		return nil, nil, err
	}
	return setsOf(store), func() error { return store.Close(context.Background()) }, nil
}

func openBareBolt(_ context.Context, space *workspace) (func(int64) error, func() error, error) {
	db, err := bolt.Open(space.path("kv-bare.db"), 0o600, nil)
	if err != nil {
		return nil, nil, err
	}
	bucket := []byte("bench")
	err = db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err })
	return func(n int64) error {
		return db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put([]byte(benchKey(n)), kvValue) })
	}, db.Close, err
}

func redisSocket(space *workspace) string { return space.path(redisKV + ".sock") }

func openRedisStore(ctx context.Context, space *workspace) (func(int64) error, func() error, error) {
	cfg := kv.DefaultRedisConfig()
	cfg.Addresses = []string{"unix://" + redisSocket(space)}
	store, err := kvredis.Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	get, err := getsOf(store)
	return get, func() error { return store.Close(context.Background()) }, err
}

func openRedisPool(ctx context.Context, space *workspace) (func(int64) error, func() error, error) {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: redisSocket(space), PoolSize: 64})
	return func(int64) error {
		got, err := client.Get(context.Background(), kvKey).Bytes()
		if err == nil && len(got) != len(kvValue) {
			err = errKVAnswer
		}
		return err
	}, client.Close, client.Set(ctx, kvKey, kvValue, 0).Err()
}

func openMemory(context.Context, *workspace) (func(int64) error, func() error, error) {
	store, err := memory.New(kv.MemoryConfig{})
	if err != nil {
		return nil, nil, err
	}
	get, err := getsOf(store)
	return get, func() error { return store.Close(context.Background()) }, err
}

func openGuest(ctx context.Context, space *workspace) (func(int64) error, func() error, error) {
	module, err := buildLRU(ctx, space)
	if err != nil {
		return nil, nil, err
	}
	cache := space.path("kv-lru.cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, nil, err
	}
	plugin := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	plugin.File = module
	host, err := wasmhost.New(ctx, wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"lru": plugin}},
		wasmhost.Options{Logger: slog.New(slog.DiscardHandler), CacheDir: cache})
	if err != nil {
		return nil, nil, err
	}
	shut := func() error { return host.Stop(context.Background()) }
	lru, _ := host.Plugin("lru")
	driver, err := lru.OpenDriver(ctx, nil)
	if err != nil {
		return nil, nil, errors.Join(err, shut())
	}
	store := core.NewPluginDriver(driver)
	get, err := getsOf(store)
	return get, func() error { return errors.Join(store.Close(context.Background()), shut()) }, err
}

// buildLRU compiles the SDK and the plugin, as `make plugins` does.
func buildLRU(ctx context.Context, space *workspace) (string, error) {
	compiler := "/usr/bin/rustc" // Debian's has the target as a package; one of rustup that is before it in PATH may lack it
	if _, err := os.Stat(compiler); err != nil {
		compiler = space.tool["rustc"]
	}
	rustc := func(args ...string) func(out string) *exec.Cmd {
		return func(out string) *exec.Cmd {
			args := append([]string{"--edition", "2021", "--target", "wasm32-unknown-unknown", "-C", "opt-level=3", "-C", "panic=abort", "-o", out}, args...)
			return exec.CommandContext(ctx, compiler, args...)
		}
	}
	crate, err := space.buildOnce("libedge_guest.rlib", rustc("--crate-type", "rlib", "--crate-name", "edge_guest",
		"--cfg", `feature="std"`, "--cfg", `feature="alloc"`, "sdk/rust/src/lib.rs"))
	if err != nil {
		return "", err
	}
	return space.buildOnce("kv-lru.wasm", rustc("--crate-type", "cdylib", "-C", "lto", "-C", "strip=symbols", "-C", "link-arg=-zstack-size=65536",
		"--extern", "edge_guest="+crate, "plugins-wasm/kv-lru/kv-lru.rs"))
}
