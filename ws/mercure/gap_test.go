package mercure_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/mercure"
)

// begins asserts what a stream that asks for an id says it begins behind, and returns it.
func (h *hub) begins(lastID, want string) *stream {
	h.t.Helper()
	s := h.subscribe("", "topic", "*", "lastEventID", lastID)
	if got := s.resp.Header.Get("Last-Event-ID"); got != want {
		h.t.Errorf("asked for what follows %s, the stream begins behind %q, want %q", lastID, got, want)
	}
	return s
}

// TestFleetAway has a node that was not there while another published: it has updates from before and after, and must not say that those are all.
func TestFleetAway(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	a, b := node(t, server.Addr), node(t, server.Addr)
	heard := b.subscribe("", "topic", "*")
	before := a.publish("topic", "t", "data", "before")
	heard.want("before")
	b.end()
	missed := a.publish("topic", "t", "data", "missed")
	b.begin()
	heard = b.subscribe("", "topic", "*")
	after := a.publish("topic", "t", "data", "after")
	heard.want("after")

	b.begins(before, "earliest").want("after") // what there is, without what the client has
	b.begins(missed, "earliest").want("before")
	b.begins(after, after)
	last := a.publish("topic", "t", "data", "last")
	heard.want("last")
	b.begins(after, after).want("last")
	b.begins(last, last)
	if e := a.begins(before, before).want("missed"); e.id != missed {
		t.Errorf("%+v", e)
	}
}

// TestFleetLost has a broker that is killed: each node misses what the others have published meanwhile.
func TestFleetLost(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	a, b := node(t, server.Addr), node(t, server.Addr)
	heard := b.subscribe("", "topic", "*")
	before := a.publish("topic", "t", "data", "before")
	heard.want("before")
	b.begins(before, before)
	server.Kill()
	testenv.Eventually(t, "both nodes have lost the broker", func() bool {
		return a.space.Hub().Broker().Lost > 0 && b.space.Hub().Broker().Lost > 0
	})
	a.publish("topic", "t", "data", "alone")
	own := b.publish("topic", "t", "data", "own")
	heard.want("own")
	testenv.Eventually(t, "a node knows that it is alone", func() bool {
		s := b.subscribe("", "topic", "*", "lastEventID", own)
		defer s.close()
		return s.resp.Header.Get("Last-Event-ID") == "earliest"
	})
	server.Start()
	testenv.Eventually(t, "the fleet is together again", func() bool {
		return a.space.Hub().Broker().Lost == 0 && b.space.Hub().Broker().Lost == 0
	})
	last := own // what the stream that stayed has: it is sent away, and told when it comes back
	for e := range heard.events {
		if e.id != "" {
			last = e.id
		}
	}
	heard = b.begins(last, "earliest")
	testenv.Eventually(t, "who comes is told that it is everything again", func() bool {
		after := a.publish("topic", "t", "data", "after")
		heard.want("after")
		s := b.subscribe("", "topic", "*", "lastEventID", after)
		defer s.close()
		return s.resp.Header.Get("Last-Event-ID") == after
	})
	b.begins(before, "earliest").want("own")
	b.begins(last, "earliest")
}

// TestAloneIsWhole has a hub without others, which is never away from anything.
func TestAloneIsWhole(t *testing.T) {
	t.Parallel()
	h := start(t)
	before := h.publish("topic", "t", "data", "before")
	h.publish("topic", "t", "data", "next")
	h.end()
	h.begin()
	h.begins(before, before).want("next")
}

// TestFleetUpgrade has a hub that moves to a newer process, which listens before the older one lets go: nothing is missing.
func TestFleetUpgrade(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	other, older := node(t, server.Addr), node(t, server.Addr)
	heard := older.subscribe("", "topic", "*")
	before := other.publish("topic", "t", "data", "before")
	heard.want("before")

	spare := node(t, server.Addr) // whose broker the newer process has
	spare.end()
	newer := &hub{t: t, limits: older.limits, cfg: older.cfg, space: spare.space, http: spare.http}
	var err error
	newer.Server, err = mercure.New(newer.cfg, mercure.Options{
		Logger: slog.New(slog.NewTextHandler(&newer.log, nil)), Limits: newer.limits, Space: newer.space, Later: true,
	})
	check(t, err)
	check(t, newer.Start(t.Context()))
	spare.Server = newer.Server // for its server, and its cleanup
	check(t, older.Hold())
	moved := other.publish("topic", "t", "data", "moved")
	check(t, newer.TakeOver())
	older.Leave(func(context.Context, []byte) error { return nil })
	if e := newer.begins(before, before).want("moved"); e.id != moved {
		t.Errorf("%+v", e)
	}
}
