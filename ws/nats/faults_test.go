package nats_test

import (
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
	"github.com/edge-server/edge/ws/nats"
)

func through(c nats.Config) func(testing.TB) ws.Broker { return calm.through(c) }

func (p patience) through(c nats.Config) func(testing.TB) ws.Broker {
	fleet := prefix()
	return func(testing.TB) ws.Broker { return p.broker(c, fleet) }
}

// server starts one whose log is shown when the test fails.
func server(t *testing.T) *testenv.Server {
	s := testenv.NATS(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s:\n%s", s.Addr, s.Log())
		}
	})
	return s
}

// TestServerKilled: it comes back empty.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	s := server(t)
	brokertest.RunLoss(t, brokertest.Faulty{New: through(config(s.Addr)), Lose: s.Kill, Return: s.Start})
}

// TestServerKilledWithFiles: it comes back with its history.
func TestServerKilledWithFiles(t *testing.T) {
	t.Parallel()
	s := server(t)
	c := config(s.Addr)
	c.Storage = nats.StorageFile
	brokertest.RunLoss(t, brokertest.Faulty{New: through(c), Lose: s.Kill, Return: s.Start})
}

// TestServerPaused: connections stay open, and nobody answers.
func TestServerPaused(t *testing.T) {
	t.Parallel()
	s := server(t)
	t.Cleanup(s.Resume)
	brokertest.RunLoss(t, brokertest.Faulty{New: hasty.through(config(s.Addr)), Lose: s.Pause, Return: s.Resume})
}

func TestNetworkCut(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(testenv.NATS(t).Addr)
	brokertest.RunLoss(t, brokertest.Faulty{New: through(config(p.Addr)), Lose: p.Cut, Return: p.Restore})
}

func TestServerSlow(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(testenv.NATS(t).Addr)
	brokertest.RunSlow(t, brokertest.Faulty{New: through(config(p.Addr)), Lose: func() { p.Slow(100 * time.Millisecond) }, Return: p.Heal})
}

func TestSlowWays(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(testenv.NATS(t).Addr)
	each := patience{5 * time.Minute, 6 * time.Second}
	brokertest.RunSlowWays(t, brokertest.Faulty{New: each.through(config(p.Addr)), Lose: func() { p.Slow(2 * time.Second) }, Return: p.Heal})
}

func TestNodeApart(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t)
	fleet := prefix()
	brokertest.RunApart(t, brokertest.Faulty{
		New: func(testing.TB) ws.Broker { return brief.broker(config(s.Addr), fleet) },
		NewApart: func(t testing.TB) (ws.Broker, func(), func()) {
			p := testenv.StartToxiproxy(t).Proxy(s.Addr)
			return brief.broker(config(p.Addr), fleet), p.Cut, p.Restore
		},
	})
}

// TestNoGhosts: who comes and goes while the way is disturbed leaves nothing behind.
func TestNoGhosts(t *testing.T) {
	t.Parallel()
	p := testenv.StartToxiproxy(t).Proxy(server(t).Addr)
	brokertest.RunGhosts(t, brokertest.Restless{
		New:     restless.through(config(p.Addr)),
		Disturb: []func(){p.Cut, p.Swallow, func() { p.Slow(200 * time.Millisecond) }, func() { p.Reset(0) }},
		Calm: func() {
			p.Heal()
			p.Restore()
		},
	})
}
