package nats

import (
	"context"
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

// TestAnswerLost: what Renew finds is not forgotten when its answer does not arrive, or the connection breaks.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t)
	c := Config{}.Defaults().(Config)
	c.Servers = []string{"nats://" + s.Addr}
	d := New(c, Options{Prefix: "p", Lease: time.Minute, Timeout: 30 * time.Second})
	if err := d.Start(t.Context(), "a", deaf{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Stop(t.Context()) })
	unheard := func() { // the server does it, and nobody hears of it
		t.Helper()
		if _, err := d.link.js.Publish(t.Context(), "p.n."+d.node, nil); err != nil {
			t.Fatal(err)
		}
	}
	renew := func(want ...fleet.Lease) {
		t.Helper()
		for _, lease := range append(want, fleet.Kept, fleet.Kept) {
			if got, err := d.Renew(t.Context(), false); got != lease || err != nil {
				t.Fatalf("%d, %v; want %d", got, err, lease)
			}
		}
	}
	unheard()
	renew(fleet.Forgotten)
	if err := d.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	renew(fleet.Ended)
	s.Kill()
	s.Start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		if err := d.Connect(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	unheard()
	renew(fleet.Forgotten)
}
