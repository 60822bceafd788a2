package redis_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
	"github.com/edge-server/edge/ws/fleet"
	"github.com/edge-server/edge/ws/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var fleets atomic.Int64

// prefix makes the fleet of a test one of its own.
func prefix() string { return fmt.Sprint("test", fleets.Add(1), ":") }

func config(addresses ...string) redis.Config {
	c := redis.Config{}.Defaults().(redis.Config)
	c.Addresses = addresses
	return c
}

const (
	lease   = 1500 * time.Millisecond
	timeout = time.Second
)

func broker(c redis.Config, prefix string) ws.Broker {
	driver := redis.New(c, redis.Options{Prefix: prefix, Lease: lease, Timeout: timeout, Queue: 1000})
	return fleet.New(driver, fleet.Options{Name: "redis", Logger: slog.New(slog.DiscardHandler), Lease: lease, Timeout: timeout, Queue: 1000})
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
