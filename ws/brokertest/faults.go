package brokertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// Faulty is a fleet whose server can be lost.
type Faulty struct {
	// New makes a broker of one more node.
	New func(t testing.TB) ws.Broker

	// NewApart makes one whose way to the server the functions cut and restore.
	NewApart func(t testing.TB) (b ws.Broker, cut, restore func())

	// Lose and Return take the server away from all nodes and give it back.
	Lose, Return func()
}

var kept = ws.Keep{Size: 100, TTL: time.Minute}

func (f Faulty) nodes(t testing.TB) []*Node {
	return Fleet{New: f.New}.nodes(t, 3)
}

// RunLoss takes the server away and gives it back, several times: what is published meanwhile reaches the own node, once; afterwards all is
// as it was, and those that came and went meanwhile are announced.
func RunLoss(t *testing.T, f Faulty) {
	nodes := f.nodes(t)
	for _, n := range nodes {
		n.Subscribe(news)
		n.Subscribe(room)
	}
	for i, n := range nodes {
		n.Enter(room, fmt.Sprint("stays", i), ws.ConnID(i+1))
		n.Enter(room, fmt.Sprint("goes", i), ws.ConnID(i+10))
	}
	want := make([][]string, len(nodes))
	say := func(n int, text string, keep ws.Keep, to ...int) {
		t.Helper()
		nodes[n].Say(news, text, keep)
		for _, i := range to {
			want[i] = append(want[i], text)
			nodes[i].AwaitThat(news, fmt.Sprintf("%q", want[i]), func(got []string) bool {
				return slices.Equal(withoutLate(got, i), want[i]) && len(slices.Compact(slices.Sorted(slices.Values(got)))) == len(got)
			})
		}
	}
	say(0, "before", kept, 0, 1, 2)
	for round := range testenv.Count(2, 10) {
		f.Lose()
		began := time.Now()
		for i := range nodes {
			// The first of these waits for the server until its timeout.
			say(i, fmt.Sprint("lost", round, " ", i), kept, i)
		}
		for i, n := range nodes {
			n.AwaitLost()
			say(i, fmt.Sprint("still", round, i), ws.Keep{}, i)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("without a server three nodes took %s for six publications", took)
		}
		if round == 0 {
			nodes[0].Enter(room, "comes", 50)
			if !nodes[1].Exit(room, "goes1", 11) {
				t.Error("who goes without a server does not go")
			}
			if got := nodes[0].Users(room); !slices.Equal(got, []string{"stays0", "goes0", "comes"}) {
				t.Errorf("without a server there are %q", got)
			}
			nodes[2].Subscribe(ws.Address{Space: "s", Channel: "new"})
		}
		f.Return()
		for _, n := range nodes {
			n.AwaitOnline()
		}
		say(round%3, fmt.Sprint("back", round), kept, 0, 1, 2)
		say((round+1)%3, fmt.Sprint("back too", round), ws.Keep{}, 0, 1, 2)
	}
	members := []string{"comes", "goes0", "goes2", "stays0", "stays1", "stays2"}
	for _, n := range nodes {
		n.awaitMembers(room, members)
		n.AwaitThat(room, "the comings and goings", func(got []string) bool {
			got = slices.Sorted(slices.Values(got))
			return slices.Equal(got, []string{"+comes", "+goes0", "+goes1", "+goes2", "+stays0", "+stays1", "+stays2", "-goes1"}[:len(got)]) && len(got) == 8
		})
		if n.Stats().Losses == 0 || n.Stats().Heals == 0 || n.Stats().Local == 0 {
			t.Errorf("the counters show no loss: %+v", n.Stats())
		}
	}
	nodes[1].Say(ws.Address{Space: "s", Channel: "new"}, "x", ws.Keep{})
	nodes[2].Await(ws.Address{Space: "s", Channel: "new"}, "x")
	if err := nodes[0].Tell(t.Context(), "s", ws.Command{All: true}); err != nil {
		t.Error(err)
	}
}

// awaitMembers says who is there when these are not, in the end.
func (n *Node) awaitMembers(at ws.Address, members []string) {
	n.t.Helper()
	var got []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		got = n.Users(at)
		slices.Sort(got)
		if slices.Equal(got, members) {
			return
		}
	}
	n.t.Fatalf("node %s has the members %q, want %q", n.id, got, members)
}

// RunApart cuts one node off: the others go on, see its members go within the lease, and come again afterwards; it gets what was kept
// meanwhile, in order and once.
func RunApart(t *testing.T, f Faulty, lease time.Duration) {
	b, cut, restore := f.NewApart(t)
	apart := Start(t, b, "apart")
	a, z := Start(t, f.New(t), "a"), Start(t, f.New(t), "z")
	nodes := []*Node{a, z, apart}
	for _, n := range nodes {
		n.Subscribe(news)
		n.Subscribe(room)
	}
	for _, n := range nodes {
		n.Enter(room, n.id, 1)
		n.Enter(room, "everywhere", 2)
	}
	apart.Enter(room, "nobody's", 3)
	awaitAll(a, room, "+a", "+everywhere", "+nobody's", "+z", "+apart")
	for range 2 { // who is long enough there may say that others are dead
		time.Sleep(lease * 3 / 5)
	}
	a.Say(news, "1", kept)
	apart.Await(news, "1")
	cut()
	a.Say(news, "2", kept)
	z.Say(news, "3", kept)
	began := time.Now()
	apart.AwaitLost()
	apart.Say(news, "here", ws.Keep{})
	a.Await(news, "1", "2", "3")
	awaitAll(a, room, "+a", "+everywhere", "+nobody's", "+z", "+apart", "-apart", "-nobody's")
	awaitAll(z, room, "+z", "+everywhere", "+nobody's", "+apart", "-apart", "-nobody's", "+a")
	for user, want := range map[string]int{"-apart": 1, "-nobody's": 1, "-everywhere": 0, "~": 1, "-": 0} {
		testenv.Eventually(t, fmt.Sprintf("of those who are left, %q is told to %d", user, want), func() bool {
			return count(append(a.Departures(room), z.Departures(room)...), user) == want
		})
	}
	if took := time.Since(began); took > lease+10*time.Second {
		t.Errorf("the members went after %s, the lease is %s", took, lease)
	}
	a.Say(news, "4", kept)
	a.Enter(room, "late", 5)
	restore()
	apart.AwaitOnline()
	apart.AwaitThat(news, "what was kept", func(got []string) bool {
		return slices.Equal(without(got, "here"), []string{"1", "2", "3", "4"}) && len(got) == 5
	})
	for _, n := range nodes {
		testenv.Eventually(t, "all members are back", func() bool {
			got := n.Users(room)
			slices.Sort(got)
			return slices.Equal(got, []string{"a", "apart", "everywhere", "late", "nobody's", "z"})
		})
	}
	a.AwaitThat(room, "they come again", func(got []string) bool {
		return count(got, "+apart") == 2 && count(got, "+nobody's") == 2 && count(got, "+everywhere") == 1 && count(got, "-apart") == 1
	})
	testenv.Eventually(t, "who was cut off says that its members are not dead", func() bool {
		got := apart.Departures(room)
		slices.Sort(got)
		return slices.Equal(got, []string{"+apart", "+nobody's"})
	})
	apart.AwaitThat(room, "who came meanwhile", func(got []string) bool { return count(got, "+late") == 1 })
	if apart.Stats().Recovered == 0 {
		t.Errorf("nothing was recovered: %+v", apart.Stats())
	}
}

// awaitAll waits until exactly these came, in any order.
func awaitAll(n *Node, of ws.Address, want ...string) {
	n.t.Helper()
	slices.Sort(want)
	n.AwaitThat(of, fmt.Sprintf("%q in any order", want), func(got []string) bool {
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// withoutLate leaves out what other nodes said to a server that did not answer, but heard them, and has done it later.
func withoutLate(list []string, node int) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool {
		return strings.HasPrefix(s, "lost") && !strings.HasSuffix(s, fmt.Sprint(" ", node))
	})
}

func without(list []string, text string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == text })
}

func count(list []string, text string) int { return len(list) - len(without(list, text)) }

// RunSlow publishes while the server is slow: nothing is lost, doubled or out of order.
func RunSlow(t *testing.T, f Faulty) {
	nodes := f.nodes(t)
	for _, n := range nodes {
		n.Subscribe(news)
	}
	f.Lose()
	var want []string
	for i := range 9 {
		text := fmt.Sprint(i)
		want = append(want, text)
		nodes[i%3].Say(news, text, kept)
	}
	for _, n := range nodes {
		n.Await(news, want...)
	}
	f.Return()
	for _, n := range nodes {
		if s := n.Stats(); s.Losses > 0 || s.Local > 0 {
			t.Errorf("slow is not lost: %+v", s)
		}
	}
}
