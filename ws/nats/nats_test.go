package nats_test

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
	"github.com/edge-server/edge/ws/nats"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var fleets atomic.Int64

// prefix makes the fleet of a test one of its own.
func prefix() string { return fmt.Sprint("test", fleets.Add(1)) }

func config(addr string) nats.Config {
	c := nats.Config{}.Defaults().(nats.Config)
	c.Servers = []string{"nats://" + addr}
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

func broker(c nats.Config, prefix string) ws.Broker { return calm.broker(c, prefix) }

func (p patience) broker(c nats.Config, prefix string) ws.Broker {
	driver := nats.New(c, nats.Options{Prefix: prefix, Lease: p.lease, Timeout: p.timeout})
	return fleet.New(driver, fleet.Options{Name: "nats", Logger: slog.New(slog.DiscardHandler), Lease: p.lease, Timeout: p.timeout, Queue: 1000})
}

func TestNATS(t *testing.T) {
	t.Parallel()
	c := config(testenv.NATS(t).Addr)
	brokertest.Run(t, func(testing.TB) brokertest.Fleet {
		p := prefix()
		return brokertest.Fleet{Loose: true, New: func(testing.TB) ws.Broker { return broker(c, p) }}
	})
}

func BenchmarkNATS(b *testing.B) {
	c := config(testenv.NATS(b).Addr)
	brokertest.Bench(b, func(testing.TB) brokertest.Fleet {
		p := prefix()
		return brokertest.Fleet{New: func(testing.TB) ws.Broker { return broker(c, p) }}
	})
}

// TestRefused: a start says what is wrong and where.
func TestRefused(t *testing.T) {
	t.Parallel()
	server := testenv.NATS(t)
	for name, tt := range map[string]struct {
		change func(*nats.Config)
		want   []string
	}{
		"nobody":  {func(c *nats.Config) { c.Servers = []string{fmt.Sprint("nats://127.0.0.1:", testenv.FreePort(t))} }, []string{"ws.broker.nats: nats://127.0.0.1:", "no servers available"}},
		"no file": {func(c *nats.Config) { c.TLS = &tlsclient.Config{CA: "/does/not/exist"} }, []string{"tls.ca", "/does/not/exist"}},
		"alone":   {func(c *nats.Config) { c.Replicas = 3 }, []string{"replicas"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(server.Addr)
			tt.change(&c)
			b := broker(c, prefix())
			err := b.Start(t.Context(), &brokertest.Node{Broker: b})
			if err == nil {
				t.Fatal("it started")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error says %q, want %q", err, part)
				}
			}
		})
	}
}
