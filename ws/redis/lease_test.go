package redis

import (
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

type deaf struct{}

func (deaf) Published(ws.Address, fleet.Log, ws.Position, []byte) {}
func (deaf) Told([]byte)                                          {}
func (deaf) Departed(ws.Departure)                                {}
func (deaf) Interrupted(ws.Address, bool)                         {}
func (deaf) Lost(int, error)                                      {}

// TestAnswerLost: what Renew finds is not forgotten when its answer does not arrive.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	s := testenv.Redis(t)
	c := Config{}.Defaults().(Config)
	c.Addresses = []string{s.Addr}
	start := func(node string) *lane {
		d := New(c, Options{Prefix: "p:", Lease: time.Minute, Timeout: 30 * time.Second, Queue: 10})
		if err := d.Start(t.Context(), node, deaf{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Stop(t.Context()) })
		l := d.lanes[0]
		if err := l.Connect(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := start("a"), start("b")
	unheard := func(l *lane) {
		t.Helper()
		if _, err := l.run(t.Context(), renewScript, l.driver.node, 60_000, newEpoch(), false, l.lease, newEpoch()); err != nil {
			t.Fatal(err)
		}
	}
	renew := func(l *lane, want ...fleet.Lease) {
		t.Helper()
		for _, lease := range append(want, fleet.Kept, fleet.Kept) {
			if got, err := l.Renew(t.Context(), false); got != lease || err != nil {
				t.Fatalf("%d, %v; want %d", got, err, lease)
			}
		}
	}
	renew(b, fleet.Forgotten)
	unheard(a)
	renew(a, fleet.Doubted) // it is told to tell all that it has, as if it had been forgotten
	of := ws.Address{Space: "s", Channel: "c"}
	if _, err := a.Join(t.Context(), of, ws.Member{ID: "ann"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := testenv.RedisDo(s.Addr, "ZADD", "p:nodes", "1", "a"); err != nil { // its lease is over
		t.Fatal(err)
	}
	if _, err := b.Renew(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	unheard(a)
	unheard(a)
	renew(a, fleet.Ended)
	if _, err := testenv.RedisDo(s.Addr, "FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	renew(a, fleet.Forgotten)
	unheard(b)
	renew(b, fleet.Doubted)
	s.Kill()
	s.Start()
	for _, l := range []*lane{a, b} {
		if err := l.Connect(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		unheard(l)
		renew(l, fleet.Doubted)
	}
}
