package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
	"github.com/edge-server/edge/ws/redis"
)

func through(c redis.Config) func(testing.TB) ws.Broker {
	p := prefix()
	return func(testing.TB) ws.Broker { return broker(c, p) }
}

// TestServerKilled: it comes back empty.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	s := testenv.Redis(t)
	brokertest.RunLoss(t, brokertest.Faulty{New: through(config(s.Addr)), Lose: s.Kill, Return: s.Start})
}

// TestServerPaused: connections stay open, and nobody answers.
func TestServerPaused(t *testing.T) {
	t.Parallel()
	s := testenv.Redis(t)
	t.Cleanup(s.Resume)
	brokertest.RunLoss(t, brokertest.Faulty{New: through(config(s.Addr)), Lose: s.Pause, Return: s.Resume})
}

func TestNetworkCut(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(testenv.Redis(t).Addr)
	brokertest.RunLoss(t, brokertest.Faulty{New: through(config(p.Addr)), Lose: p.Cut, Return: p.Restore})
}

func TestServerSlow(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(testenv.Redis(t).Addr)
	brokertest.RunSlow(t, brokertest.Faulty{New: through(config(p.Addr)), Lose: func() { p.Slow(150 * time.Millisecond) }, Return: p.Heal})
}

func TestNodeApart(t *testing.T) {
	t.Parallel()
	s := testenv.Redis(t)
	fleet := prefix()
	brokertest.RunApart(t, brokertest.Faulty{
		New: func(testing.TB) ws.Broker { return broker(config(s.Addr), fleet) },
		NewApart: func(t testing.TB) (ws.Broker, func(), func()) {
			p := testenv.StartToxiproxy(t).Proxy(s.Addr)
			return broker(config(p.Addr), fleet), p.Cut, p.Restore
		},
	}, lease)
}

func TestSentinelFailover(t *testing.T) { // alone: sentinels judge servers by how soon they answer
	servers := testenv.RedisSentinel(t)
	c := config(servers.Addrs()...)
	c.Master = "main"
	lost := false
	brokertest.RunLoss(t, brokertest.Faulty{New: through(c), Lose: func() {
		if !lost {
			servers.Master.Kill()
			lost = true
			return
		}
		servers.Replica.Pause()
	}, Return: func() {
		servers.Replica.Resume()
		testenv.Eventually(t, "the replica is the master", func() bool {
			role, err := testenv.RedisDo(servers.Replica.Addr, "ROLE")
			return err == nil && strings.HasPrefix(role, "master")
		})
	}})
}
