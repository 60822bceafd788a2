package fleet

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// TestWatchWithoutServer: a server that does not answer is no reason to refuse a subscriber. He gets what is said here, and when the server
// is back, what is said there.
func TestWatchWithoutServer(t *testing.T) {
	t.Parallel()
	s, node, b := listen(t)
	late := ws.Address{Space: "s", Channel: "late"}
	for name, fail := range map[string]*[]error{"listen": &s.failListen, "watch": &s.failWatch} {
		if _, err := b.Unwatch(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		*fail = []error{errGone}
		s.mu.Unlock()
		if occupied, err := b.Watch(t.Context(), late); err != nil || !occupied {
			t.Errorf("%s: the subscriber is refused: %v, %v", name, occupied, err)
		}
		l := b.lane(late)
		testenv.Eventually(t, "the server is told of the channel", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.unsynced) == 0 && l.watches[late].known
		})
	}
	_ = node
}

// TestRosterAfterLoss: who joins without a server is told of the members of this node, and of all when the server is back.
func TestRosterAfterLoss(t *testing.T) {
	t.Parallel()
	s, node, b := listen(t)
	s.mu.Lock()
	s.members = ws.Membership{Members: []ws.Member{{ID: "far"}, {ID: "near"}}, At: ws.Position{Epoch: "p", Offset: 5}}
	s.down = true
	s.mu.Unlock()
	b.lanes[0].lose(errGone)
	got, err := b.Join(t.Context(), channel, ws.Member{ID: "near"}, ws.PrepareText("+near"))
	if err != nil || !got.Partial || !got.Changed || len(got.Members) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := b.Join(t.Context(), channel, ws.Member{ID: "near"}, ws.PrepareText("+near")); err != nil || !again.Partial || again.Changed {
		t.Errorf("%+v, %v", again, err)
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	b.lanes[0].poke()
	rosters := func() int {
		node.mu.Lock()
		defer node.mu.Unlock()
		for _, r := range node.rosters {
			if len(r.Members) != 2 || r.At.Offset != 5 {
				t.Errorf("%+v", r)
			}
		}
		return len(node.rosters)
	}
	testenv.Eventually(t, "all members are told", func() bool { return rosters() == 1 })
	got, err = b.Join(t.Context(), channel, ws.Member{ID: "next"}, ws.PrepareText("+next"))
	if err != nil || got.Partial {
		t.Errorf("%+v, %v", got, err)
	}
	testenv.Eventually(t, "nothing is left to do", func() bool {
		l := b.lanes[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.online.Load() && len(l.unsettled)+len(l.later) == 0
	})
	if n := rosters(); n != 1 {
		t.Errorf("they are told %d times", n)
	}
}

// TestRosterOfForgetful: a server that has lost everything does not know the members of the other nodes until these are back, too.
func TestRosterOfForgetful(t *testing.T) {
	t.Parallel()
	s, node, b := listen(t)
	s.mu.Lock()
	s.lease = []Lease{Forgotten}
	s.mu.Unlock()
	l := b.lanes[0]
	l.lose(errGone)
	testenv.Eventually(t, "it is healed", func() bool { return b.BrokerStats().Heals == 1 })
	got, err := b.Join(t.Context(), channel, ws.Member{ID: "near"}, ws.PrepareText("+near"))
	if err != nil || !got.Partial {
		t.Errorf("%+v, %v", got, err)
	}
	testenv.Eventually(t, "it waits for the others", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.later) == 1
	})
	l.whole.Store(0) // the lease, an hour here, is over
	l.poke()
	testenv.Eventually(t, "all members are told", func() bool {
		node.mu.Lock()
		defer node.mu.Unlock()
		return len(node.rosters) == 1
	})
}
