package nats_test

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
	"github.com/edge-server/edge/ws/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var fleets atomic.Int64

// prefix makes the fleet of a test one of its own.
func prefix() string { return fmt.Sprint("test", fleets.Add(1)) }

func config(addr string) nats.Config {
	c := nats.Config{}.Defaults().(nats.Config)
	c.Servers = []string{"nats://" + addr}
	return c
}

const (
	lease   = 1500 * time.Millisecond
	timeout = time.Second
)

func broker(c nats.Config, prefix string) ws.Broker {
	driver := nats.New(c, nats.Options{Prefix: prefix, Lease: lease, Timeout: timeout})
	return fleet.New(driver, fleet.Options{Name: "nats", Logger: slog.New(slog.DiscardHandler), Lease: lease, Timeout: timeout, Queue: 1000})
}

func TestNATS(t *testing.T) {
	t.Parallel()
	c := config(testenv.NATS(t).Addr)
	brokertest.Run(t, func(testing.TB) brokertest.Fleet {
		p := prefix()
		return brokertest.Fleet{Loose: true, New: func(testing.TB) ws.Broker { return broker(c, p) }}
	})
}
