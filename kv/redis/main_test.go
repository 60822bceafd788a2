package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/redis"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// prefixes gives each store keys of its own.
var prefixes atomic.Int64

// config is that of a store at addresses, with a prefix of its own.
func config(addresses ...string) kv.RedisConfig {
	c := kv.DefaultRedisConfig()
	c.Addresses = addresses
	c.Name = "test"
	c.Prefix = fmt.Sprintf("test*%d:", prefixes.Add(1)) // with a character that patterns have a use for
	return c
}

// open opens a store that the test closes.
func open(t testing.TB, c kv.RedisConfig) *redis.Store {
	t.Helper()
	return openLogged(t, c, testLog)
}

func openLogged(t testing.TB, c kv.RedisConfig, log *slog.Logger) *redis.Store {
	t.Helper()
	s, err := redis.Open(context.Background(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func addresses(servers []*testenv.Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr)
	}
	return all
}

func run(t *testing.T, c func() kv.RedisConfig) {
	kvtest.Run(t, func(t *testing.T) kv.Store { return open(t, c()) })
}

func TestSingle(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	run(t, func() kv.RedisConfig { return config(server.Addr) })
}

func TestSingleWithoutAutoPipeline(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	run(t, func() kv.RedisConfig {
		c := config(server.Addr)
		c.AutoPipeline = false
		return c
	})
}

func TestSocket(t *testing.T) {
	t.Parallel()
	server := testenv.RedisSocket(t)
	run(t, func() kv.RedisConfig { return config("unix://" + server.Addr) })
}

func TestTLSAndPassword(t *testing.T) {
	t.Parallel()
	server, certificates := testenv.RedisTLS(t)
	run(t, func() kv.RedisConfig {
		c := config(server.Addr)
		c.TLS = &kv.TLSConfig{CA: certificates.CA, Cert: certificates.Cert, Key: certificates.Key}
		return c
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := addresses(testenv.RedisCluster(t))
	run(t, func() kv.RedisConfig { return config(nodes...) })
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	s := testenv.RedisSentinel(t)
	run(t, func() kv.RedisConfig {
		c := config(s.Addrs()...)
		c.Master = "main"
		return c
	})
}

var testLog = slog.New(slog.DiscardHandler)
