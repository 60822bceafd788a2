package fleet

import (
	"context"
	"errors"
	"testing"
	"time"

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
	testenv.Eventually(t, "all members are told", func() bool { return len(node.told()) == 1 })
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
	if got := node.told(); len(got) != 1 || len(got[0].Members) != 2 || got[0].At.Offset != 5 {
		t.Errorf("they are told %+v", got)
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
	testenv.Eventually(t, "all members are told", func() bool { return len(node.told()) == 1 })
}

// TestRosterRefused: a server that will not say who is there is asked again.
func TestRosterRefused(t *testing.T) {
	t.Parallel()
	s, node, b := listen(t)
	l := b.lanes[0]
	s.mu.Lock()
	s.down, s.failMembers = true, []error{errRefused}
	s.members = ws.Membership{Members: []ws.Member{{ID: "near"}, {ID: "far"}}}
	s.mu.Unlock()
	l.lose(errGone)
	if _, err := b.Join(t.Context(), channel, ws.Member{ID: "near"}, nil); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	l.poke()
	testenv.Eventually(t, "all members are told, after a refusal", func() bool {
		l.poke() // as the lease does
		s.mu.Lock()
		refused := len(s.failMembers) == 0
		s.mu.Unlock()
		return refused && len(node.told()) == 1
	})
}

// TestGoneRoom: what is left to do for a room that was forgotten does not concern the one that came after it.
func TestGoneRoom(t *testing.T) {
	t.Parallel()
	_, _, b := listen(t)
	l := b.lanes[0]
	old := l.lockRoom(channel)
	l.unlockRoom(old)
	if _, err := b.Join(t.Context(), channel, ws.Member{ID: "near"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.syncRoom(t.Context(), old); err != nil {
		t.Error(err)
	}
	if got, err := b.Leave(t.Context(), channel, ws.Member{ID: "near"}, nil); err != nil || !got.Changed {
		t.Errorf("the member was forgotten with a room that is not his: %+v, %v", got, err)
	}
}

// TestLateCaller: who comes too late has not waited for the server, and says nothing of it.
func TestLateCaller(t *testing.T) {
	t.Parallel()
	_, _, b := listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if got, err := b.Join(ctx, channel, ws.Member{ID: "near"}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestQuietPresence: a log of changes that is quiet is forgotten, which is no hole after a loss in which it would have been remembered.
func TestQuietPresence(t *testing.T) {
	t.Parallel()
	entry := func(offset uint64) Entry { return Entry{At: ws.Position{Epoch: "new", Offset: offset}} }
	was := Head{Position: ws.Position{Epoch: "old", Offset: 5}}
	begun := Head{Position: ws.Position{Epoch: "new", Offset: 2}}
	for name, c := range map[string]struct {
		seen, now        Head
		entries          []Entry
		long, lost, dead bool
		wanted           bool
	}{
		"quiet":                  {seen: was, wanted: true},
		"quiet for long":         {seen: was, long: true},
		"begun again":            {seen: was, now: begun, entries: []Entry{entry(1), entry(2)}, wanted: true},
		"begun again, cut":       {seen: was, now: begun, entries: []Entry{entry(2)}},
		"begun, for long":        {now: begun, entries: []Entry{entry(1), entry(2)}, long: true},
		"begun":                  {now: begun, entries: []Entry{entry(1), entry(2)}, wanted: true},
		"of a server that lost":  {seen: was, lost: true},
		"of a node that is dead": {seen: was, dead: true},
		"alive, for long":        {seen: Head{Position: entry(1).At}, now: begun, entries: []Entry{entry(2)}, long: true, wanted: true},
	} {
		l := newLane(&Broker{}, 0, nil)
		if c.long {
			l.since = time.Now().Add(-PresenceLasts)
		}
		if c.lost {
			l.whole.Store(time.Now().Add(time.Hour).UnixNano())
		}
		w := &watch{dead: c.dead}
		w.now[Presence] = c.seen
		past := NewPast(c.entries, uint64(len(c.entries)), c.now, c.seen.Position, 0)
		if got := l.wholePresence(w, &past); got != c.wanted {
			t.Errorf("%s: %v", name, got)
		}
	}
}
