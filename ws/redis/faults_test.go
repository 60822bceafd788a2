package redis_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
	"github.com/edge-server/edge/ws/redis"
)

func through(c redis.Config) func(testing.TB) ws.Broker { return calm.through(c) }

func (p patience) through(c redis.Config) func(testing.TB) ws.Broker {
	fleet := prefix()
	return func(testing.TB) ws.Broker { return p.broker(c, fleet) }
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
	brokertest.RunLoss(t, brokertest.Faulty{New: hasty.through(config(s.Addr)), Lose: s.Pause, Return: s.Resume})
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

func TestSlowWays(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(testenv.Redis(t).Addr)
	each := patience{5 * time.Minute, 6 * time.Second}
	brokertest.RunSlowWays(t, brokertest.Faulty{New: each.through(config(p.Addr)), Lose: func() { p.Slow(3500 * time.Millisecond) }, Return: p.Heal})
}

func TestNodeApart(t *testing.T) {
	t.Parallel()
	s := testenv.Redis(t)
	fleet := prefix()
	brokertest.RunApart(t, brokertest.Faulty{
		New: func(testing.TB) ws.Broker { return brief.broker(config(s.Addr), fleet) },
		NewApart: func(t testing.TB) (ws.Broker, func(), func()) {
			p := testenv.StartToxiproxy(t).Proxy(s.Addr)
			return brief.broker(config(p.Addr), fleet), p.Cut, p.Restore
		},
	})
}

// TestSentinelFailover runs alone: sentinels judge servers by how soon they answer.
func TestSentinelFailover(t *testing.T) {
	servers := testenv.RedisSentinel(t)
	for _, s := range servers.Sentinels {
		do(t, s, "SENTINEL", "SET", "main", "down-after-milliseconds", "2000")
	}
	c := config(servers.Addrs()...)
	c.Master = "main"
	alive := []*testenv.Server{servers.Master, servers.Replica}
	master := func() (i int) {
		testenv.Eventually(t, "there is a master", func() bool {
			for i = range alive {
				role, err := testenv.RedisDo(alive[i].Addr, "ROLE")
				if err == nil && strings.HasPrefix(role, "master") {
					return true
				}
			}
			return false
		})
		return i
	}
	brokertest.RunLoss(t, brokertest.Faulty{New: hasty.through(c), Lose: func() {
		if len(alive) == 1 {
			alive[0].Pause()
			return
		}
		i := master() // not the first one if the sentinels have replaced it because the machine was slow
		alive[i].Kill()
		alive = slices.Delete(alive, i, i+1)
	}, Return: func() {
		alive[0].Resume()
		master()
	}})
}

// TestNoGhosts: who comes and goes while the way is disturbed leaves nothing behind.
func TestNoGhosts(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(testenv.Redis(t).Addr)
	brokertest.RunGhosts(t, brokertest.Restless{
		New:     restless.through(config(p.Addr)),
		Disturb: []func(){p.Cut, p.Swallow, func() { p.Slow(200 * time.Millisecond) }, func() { p.Reset(0) }},
		Calm: func() {
			p.Heal()
			p.Restore()
		},
	})
}
