package brokertest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// Forgetful is a fleet whose server can be replaced by one that is in the past.
type Forgetful struct {
	// New makes a broker of one more node.
	New func(t testing.TB) ws.Broker

	// Save is the past; Replace kills the server, and another one has what was saved.
	Save, Replace func()

	// Again says that Replace may be called twice.
	Again bool
}

// RunPast replaces the server by one that does not know of the latest that the one before had confirmed: who came and went, who watches, and
// what was published. Those who are there are there afterwards, and nobody else; what is published reaches all, once; and positions of the
// time that the server has forgotten still have their meaning.
func RunPast(t *testing.T, f Forgetful) {
	nodes := Fleet{New: f.New}.nodes(t, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	left, come := ws.Address{Space: "s", Channel: "left"}, ws.Address{Space: "s", Channel: "come"}
	for _, n := range nodes {
		n.Subscribe(news)
		n.Subscribe(room)
	}
	for i, n := range nodes {
		n.Enter(room, fmt.Sprint("stays", i), ws.ConnID(i+1))
	}
	a.Enter(room, "goes", 10)
	b.Enter(room, "everywhere", 11)
	b.Subscribe(left)
	var at []ws.Position
	var want []string
	say := func(text string) {
		t.Helper()
		at = append(at, nodes[len(want)%3].Say(news, text, kept))
		want = append(want, text)
		for _, n := range nodes {
			n.Await(news, want...)
		}
	}
	say("1")
	say("2")

	f.Save()
	a.Exit(room, "goes", 10)
	a.Enter(room, "comes", 12)
	c.Enter(room, "everywhere", 13)
	b.Exit(room, "everywhere", 11)
	b.Unsubscribe(left)
	c.Subscribe(come)
	say("3")
	say("4")
	announced := []string{"+stays0", "+stays1", "+stays2", "+goes", "+everywhere", "-goes", "+comes"}
	for _, n := range nodes {
		awaitAll(n, room, announced...)
	}

	replace := func() {
		heals := a.Stats().Heals
		f.Replace()
		for _, n := range nodes {
			testenv.Eventually(t, n.id+" has lost the server and found it", func() bool { return n.Stats().Heals > heals && n.Stats().Lost == 0 })
		}
	}
	check := func() {
		t.Helper()
		for _, n := range nodes {
			n.awaitMembers(room, []string{"comes", "everywhere", "stays0", "stays1", "stays2"})
			awaitAll(n, room, announced...)
			if got := n.Stats(); got.Malformed > 0 || got.Local > 0 {
				t.Errorf("%s: %+v", n.id, got)
			}
		}
	}
	replace()
	say("5")
	say("6")
	check()
	for _, test := range []struct {
		name  string
		after ws.Position
		want  []string
		whole bool
	}{
		{"after the last of the time that was forgotten", at[3], []string{"5", "6"}, true},
		{"one was seen by others", at[2], []string{"5", "6"}, false},
		{"of the time that was saved, and two were seen by others", at[1], []string{"5", "6"}, false},
		{"the first", at[0], []string{"2", "5", "6"}, false},
		{"since then", at[4], []string{"6"}, true},
		{"the latest", at[5], nil, true},
		{"all", ws.Position{}, []string{"1", "2", "5", "6"}, false},
	} {
		past, err := b.History(t.Context(), news, test.after, 0)
		if err != nil || !slices.Equal(texts(past), test.want) || past.Whole != test.whole || past.Now != at[5] {
			t.Errorf("%s: %q now %v whole %v, %v; want %q %v", test.name, texts(past), past.Now, past.Whole, err, test.want, test.whole)
		}
	}
	if at[4].Epoch == at[3].Epoch {
		t.Errorf("%v was given out before: there was %v", at[4], at[3])
	}
	if !a.Subscribe(left) {
		t.Error("who has ended its subscription still has it")
	}
	if a.Subscribe(come) {
		t.Error("who has subscribed has not")
	}
	a.Unsubscribe(left)
	a.Unsubscribe(come)
	if !f.Again {
		return
	}
	replace()
	say("7")
	check()
	if past, err := c.History(t.Context(), news, at[5], 0); err != nil || past.Whole {
		t.Errorf("of an epoch that nobody knows: %+v, %v", past, err)
	}
	if c.Exit(room, "everywhere", 13); !slices.Equal(sorted(a.Users(room)), []string{"comes", "stays0", "stays1", "stays2"}) {
		t.Errorf("there are %q", a.Users(room))
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
