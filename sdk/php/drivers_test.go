package phpsdk_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/kv/redis"
)

// opener makes the store of a storage that PHP calls name.
type opener func(t testing.TB, name string) kv.Store

// TestOnDrivers runs the caches, the sessions and the operations over the drivers that keep their data elsewhere.
func TestOnDrivers(t *testing.T) {
	t.Parallel()
	for name, driver := range map[string]func(testing.TB) opener{"redis": onRedis, "boltdb": onBolt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRPCOn(t, testenv.Dir(t), "unix", driver(t))
			phpunit(t, server.Addr(), "--testsuite", "integration", "--exclude-group", "memory")
		})
	}
}

// inMemory is where PHP's tests run that are about the client.
func inMemory(t testing.TB, name string) kv.Store {
	t.Helper()
	sizes := map[string]bytesize.Size{"main": 64 * bytesize.MiB, "cache": 4 * bytesize.MiB, "small": 10 * bytesize.KiB}
	store, err := memory.New(kv.MemoryConfig{MaxSize: sizes[name]})
	check(t, err)
	return store
}

func onRedis(t testing.TB) opener {
	t.Helper()
	server := testenv.RedisSocket(t)
	return func(t testing.TB, name string) kv.Store {
		t.Helper()
		cfg := kv.DefaultRedisConfig()
		cfg.Addresses = []string{"unix://" + server.Addr}
		cfg.Prefix = name + ":"
		store, err := redis.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
		check(t, err)
		return store
	}
}

func onBolt(t testing.TB) opener {
	t.Helper()
	files := boltdb.NewFiles(slog.New(slog.DiscardHandler))
	path := filepath.Join(testenv.Dir(t), "kv.db")
	return func(t testing.TB, name string) kv.Store {
		t.Helper()
		cfg := kv.DefaultBoltConfig()
		cfg.File, cfg.Bucket = path, name
		store, err := boltdb.Open(context.Background(), files, name, cfg)
		check(t, err)
		return store
	}
}
