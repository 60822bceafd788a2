package brokertest

import (
	"fmt"
	"slices"
	"sync/atomic"
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

var (
	kept = ws.Keep{Size: 100, TTL: 10 * time.Minute}
	said atomic.Int64 // makes what Reach says unique
)

func (f Faulty) nodes(t testing.TB) []*Node {
	return Fleet{New: f.New}.nodes(t, 3)
}

// talk is what is said on a channel. What a node says while it has no server reaches itself, and others only if the server did hear it: of
// that, the others are not asked. A node may lose its server when no test means it to, on a machine that stops for seconds.
type talk struct {
	of    ws.Address
	nodes []*Node
	want  []string
	alone map[string]*Node // what was said without a server, and who said it
}

func (f Faulty) talk(nodes []*Node) *talk {
	return &talk{of: news, nodes: nodes, alone: map[string]*Node{}}
}

// all says a text to all nodes, which get it in this order.
func (t *talk) all(n *Node, text string) {
	n.t.Helper()
	for t.here(n, text) {
		text += "'"
	}
	t.want = append(t.want, text)
}

// here says a text without a server, and reports whether it was so.
func (t *talk) here(n *Node, text string) bool {
	n.t.Helper()
	if n.Say(t.of, text, kept) != (ws.Position{}) {
		return false
	}
	t.alone[text] = n
	n.AwaitThat(t.of, text+" at its own node", func(got []string) bool { return slices.Contains(got, text) })
	return true
}

// await waits until the nodes have heard all that they must, and nothing twice.
func (t *talk) await(nodes ...*Node) {
	for _, n := range nodes {
		n.t.Helper()
		n.AwaitThat(t.of, fmt.Sprintf("%q in this order, and %v at their nodes", t.want, t.alone), func(got []string) bool {
			all := slices.DeleteFunc(slices.Clone(got), func(text string) bool { return t.alone[text] != nil })
			return slices.Equal(all, t.want) && len(slices.Compact(sorted(got))) == len(got)
		})
		for text, who := range t.alone {
			if got := n.Heard(t.of); who == n && !slices.Contains(got, text) {
				n.t.Errorf("%s does not hear itself say %q: %q", n.id, text, got)
			}
		}
	}
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
	talk := f.talk(nodes)
	talk.all(nodes[0], "before")
	talk.await(nodes...)
	for round := range testenv.Count(2, 10) {
		f.Lose()
		for i, n := range nodes {
			// The first of these waits for the server until its timeout.
			if text := fmt.Sprint("lost", round, i); !talk.here(n, text) {
				talk.want = append(talk.want, text) // the server's last deed
			}
		}
		for i, n := range nodes {
			n.AwaitLost()
			if text := fmt.Sprint("still", round, i); !talk.here(n, text) {
				t.Errorf("%s has said %q to a server that is lost", n.id, text)
			}
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
		talk.all(nodes[round%3], fmt.Sprint("back", round))
		talk.await(nodes...)
		nodes[(round+1)%3].Reach(room, nodes...)
	}
	for _, n := range nodes {
		n.awaitMembers(room, []string{"comes", "goes0", "goes2", "stays0", "stays1", "stays2"})
		n.AwaitThat(room, "the comings and goings, once", func(got []string) bool {
			got = slices.DeleteFunc(got, func(text string) bool { return text[0] == '?' })
			return slices.Equal(sorted(got), []string{"+comes", "+goes0", "+goes1", "+goes2", "+stays0", "+stays1", "+stays2", "-goes1"})
		})
		if n.Stats().Losses == 0 || n.Stats().Heals == 0 || n.Stats().Local == 0 {
			t.Errorf("the counters show no loss: %+v", n.Stats())
		}
	}
	nodes[1].Reach(ws.Address{Space: "s", Channel: "new"}, nodes[2])
	testenv.Eventually(t, "all are told", func() bool { return nodes[0].Tell(t.Context(), "s", ws.Command{All: true}) == nil })
}

// Reach says something that is not kept, until it is heard by the others: who has no server just then misses it.
func (n *Node) Reach(of ws.Address, others ...*Node) {
	n.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		text := fmt.Sprint("?", n.id, said.Add(1))
		n.Say(of, text, ws.Keep{})
		for soon := time.Now().Add(2 * time.Second); time.Now().Before(soon); time.Sleep(2 * time.Millisecond) {
			if !slices.ContainsFunc(others, func(o *Node) bool { return !slices.Contains(o.Heard(of), text) }) {
				return
			}
		}
	}
	n.t.Fatalf("%s reaches not all others on %v", n.id, of)
}

// awaitMembers says who is there when these are not, in the end.
func (n *Node) awaitMembers(at ws.Address, members []string) {
	n.t.Helper()
	var got []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got = sorted(n.Users(at)); slices.Equal(got, members) {
			return
		}
	}
	n.t.Fatalf("node %s has the members %q, want %q", n.id, got, members)
}

// RunApart cuts one node off: the others go on, see its members go when its lease is over, and come again afterwards; it gets what was kept
// meanwhile, in order and once. The lease must be longer than a busy machine stops.
func RunApart(t *testing.T, f Faulty) {
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
	side := ws.Address{Space: "s", Channel: "side"}
	a.Enter(side, "a", 1)
	apart.Enter(room, "nobody's", 3)
	awaitAll(a, room, "+a", "+everywhere", "+nobody's", "+z", "+apart")
	talk := f.talk(nodes)
	talk.all(a, "1")
	talk.await(nodes...)
	cut()
	talk.all(a, "2")
	talk.all(z, "3")
	apart.AwaitLost()
	talk.here(apart, "here")
	apart.Subscribe(side)
	if m := apart.Enter(side, "alone", 6); !m.Partial || !slices.Equal(names(m.Members), []string{"alone"}) {
		t.Errorf("who is cut off has the members %+v", m)
	}
	talk.await(a, z)
	awaitAll(a, room, "+a", "+everywhere", "+nobody's", "+z", "+apart", "-apart", "-nobody's")
	awaitAll(z, room, "+z", "+everywhere", "+nobody's", "+apart", "-apart", "-nobody's", "+a")
	for user, want := range map[string]int{"-apart": 1, "-nobody's": 1, "-everywhere": 0, "~": 1, "-": 0} {
		testenv.Eventually(t, fmt.Sprintf("of those who are left, %q is told to %d", user, want), func() bool {
			return count(append(a.Departures(room), z.Departures(room)...), user) == want
		})
	}
	talk.all(a, "4")
	a.Enter(room, "late", 5)
	restore()
	apart.AwaitOnline()
	talk.await(nodes...)
	for _, n := range nodes {
		n.awaitMembers(room, []string{"a", "apart", "everywhere", "late", "nobody's", "z"})
	}
	a.AwaitThat(room, "they come again", func(got []string) bool {
		return count(got, "+apart") == 2 && count(got, "+nobody's") == 2 && count(got, "+everywhere") == 1 && count(got, "-apart") == 1
	})
	testenv.Eventually(t, "who was cut off says that its members are not dead", func() bool {
		return slices.Equal(sorted(apart.Departures(room)), []string{"+apart", "+nobody's"})
	})
	testenv.Eventually(t, "who came alone is told of all", func() bool {
		return slices.ContainsFunc(apart.Rosters(side), func(m ws.Membership) bool { return slices.Equal(sorted(names(m.Members)), []string{"a", "alone"}) })
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

func without(list []string, text string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == text })
}

func count(list []string, text string) int { return len(list) - len(without(list, text)) }

// RunSlow publishes while the server is slow, far less than the nodes wait: nothing is lost, doubled or out of order.
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

// RunSlowWays subscribes while each way to the server and back takes less than the nodes wait, and all of them together more: a server that
// answers is not lost.
func RunSlowWays(t *testing.T, f Faulty) {
	n := Start(t, f.New(t), "slow")
	testenv.Eventually(t, "it has greeted the others, and has nothing else to do", func() bool { return n.Stats().Operations > 0 })
	f.Lose()
	n.Subscribe(news)
	n.Say(news, "slowly", ws.Keep{})
	n.Await(news, "slowly")
	f.Return()
	if s := n.Stats(); s.Losses > 0 || s.Local > 0 || s.Errors > 0 {
		t.Errorf("slow is not lost: %+v", s)
	}
}
