package redis_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/internal/tlsclient"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
	"github.com/edge-server/edge/ws/fleet"
	"github.com/edge-server/edge/ws/redis"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var fleets atomic.Int64

// prefix makes the fleet of a test one of its own.
func prefix() string { return fmt.Sprint("test", fleets.Add(1), ":") }

func config(addresses ...string) redis.Config {
	c := redis.Config{}.Defaults().(redis.Config)
	c.Addresses = addresses
	return c
}

// patience is how long a broker waits for its server. A machine that is busy may stop for seconds, and what is not lost must not seem so.
type patience struct{ lease, timeout time.Duration }

var (
	calm  = patience{30 * time.Second, 15 * time.Second}
	hasty = patience{30 * time.Second, 2 * time.Second}  // notices a server that says nothing
	brief = patience{12 * time.Second, 15 * time.Second} // is soon taken for dead

	restless = patience{10 * time.Second, 500 * time.Millisecond} // notices everything, also what is not so
)

func broker(c redis.Config, prefix string) ws.Broker { return calm.broker(c, prefix) }

func (p patience) broker(c redis.Config, prefix string) ws.Broker {
	driver := redis.New(c, redis.Options{Prefix: prefix, Lease: p.lease, Timeout: p.timeout, Queue: 1000})
	return fleet.New(driver, fleet.Options{Name: "redis", Logger: slog.New(slog.DiscardHandler), Lease: p.lease, Timeout: p.timeout, Queue: 1000})
}

func suite(t *testing.T, c redis.Config) {
	brokertest.Run(t, func(testing.TB) brokertest.Fleet {
		p := prefix()
		return brokertest.Fleet{New: func(testing.TB) ws.Broker { return broker(c, p) }}
	})
}

func TestSingle(t *testing.T) {
	t.Parallel()
	suite(t, config(testenv.Redis(t).Addr))
}

func TestCluster(t *testing.T) {
	t.Parallel()
	var addresses []string
	for _, n := range testenv.RedisCluster(t) {
		addresses = append(addresses, n.Addr)
	}
	c := config(addresses...)
	c.Partitions = 5
	suite(t, c)
}

func BenchmarkSingle(b *testing.B) {
	c := config(testenv.Redis(b).Addr)
	brokertest.Bench(b, func(testing.TB) brokertest.Fleet {
		p := prefix()
		return brokertest.Fleet{New: func(testing.TB) ws.Broker { return broker(c, p) }}
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server, certificates := testenv.RedisTLS(t)
	c := config(server.Addr)
	c.TLS = &tlsclient.Config{CA: certificates.CA, Cert: certificates.Cert, Key: certificates.Key}
	p := prefix()
	a, b := brokertest.Start(t, broker(c, p), "a"), brokertest.Start(t, broker(c, p), "b")
	of := ws.Address{Space: "s", Channel: "c"}
	b.Subscribe(of)
	a.Say(of, "secret", ws.Keep{})
	b.Await(of, "secret")
}

// TestRefused: a start says what is wrong and where.
func TestRefused(t *testing.T) {
	t.Parallel()
	locked := testenv.Redis(t, "--requirepass", "secret")
	open := testenv.Redis(t)
	for name, tt := range map[string]struct {
		change func(*redis.Config)
		want   []string
	}{
		"nobody":     {func(c *redis.Config) { c.Addresses = []string{fmt.Sprint("127.0.0.1:", testenv.FreePort(t))} }, []string{"ws.broker.redis: 127.0.0.1:", "connection refused"}},
		"password":   {func(c *redis.Config) { c.Addresses, c.Password = []string{locked.Addr}, "hunter2" }, []string{locked.Addr, "WRONGPASS"}},
		"no cluster": {func(c *redis.Config) { c.Mode = redis.ModeCluster }, []string{open.Addr, "cluster"}},
		"no file":    {func(c *redis.Config) { c.TLS = &tlsclient.Config{CA: "/does/not/exist"} }, []string{"ws.broker.redis.tls.ca", "/does/not/exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(open.Addr)
			tt.change(&c)
			b := broker(c, prefix())
			err := b.Start(t.Context(), &brokertest.Node{Broker: b})
			if err == nil {
				t.Fatal("it started")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the error says %q, want %q", err, part)
				}
			}
		})
	}
}
