package brokertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// Fleet makes the brokers of a test.
type Fleet struct {
	// New makes a broker of one more node of the same fleet.
	New func(t testing.TB) ws.Broker

	// Alone says that a node is its own fleet.
	Alone bool

	// Loose says that publications of several nodes that are not kept may come in different orders on different nodes.
	Loose bool
}

// nodes starts as many as there may be, at most n.
func (f Fleet) nodes(t testing.TB, n int) []*Node {
	if f.Alone {
		n = 1
	}
	list := make([]*Node, n)
	for i := range list {
		list[i] = Start(t, f.New(t), fmt.Sprint(t.Name(), "-", i))
	}
	for _, node := range list {
		testenv.Eventually(t, "the nodes know each other", func() bool { return f.Alone || node.Stats().Peers == n-1 })
	}
	return list
}

// Run runs the suite. make is called once for each test, with a fleet of its own.
func Run(t *testing.T, fleet func(t testing.TB) Fleet) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Fleet)
	}{
		{"Publish", testPublish}, {"Order", testOrder}, {"OrderOfKept", testOrderOfKept}, {"Watch", testWatch},
		{"History", testHistory}, {"HistoryExpires", testHistoryExpires}, {"Presence", testPresence}, {"PresenceOrder", testPresenceOrder},
		{"Channels", testChannels}, {"Tell", testTell}, {"Ask", testAsk}, {"Stop", testStop}, {"Names", testNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, fleet(t))
		})
	}
}

var (
	news  = ws.Address{Space: "pusher/main", Channel: "news"}
	other = ws.Address{Space: "pusher/other", Channel: "news"}
	room  = ws.Address{Space: "pusher/main", Channel: "presence-room"}
)

// testPublish: every node that watches gets it once, with all that belongs to it; others get nothing.
func testPublish(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	for _, n := range nodes {
		n.Subscribe(news)
		n.Subscribe(other)
	}
	p := ws.Publication{Message: ws.Prepare(ws.Binary, []byte{0, 255, ':', 1}), Except: 1<<62 + 7, ExceptUser: "üser:1"}
	if at, err := nodes[0].Publish(t.Context(), news, p, ws.Keep{}); err != nil || at != (ws.Position{}) {
		t.Errorf("%v, %v", at, err)
	}
	nodes[len(nodes)-1].Publish(t.Context(), news, ws.Publication{Message: ws.PrepareText("")}, ws.Keep{Size: 1})
	for _, n := range nodes {
		n.AwaitThat(news, "two publications", func(got []string) bool { return len(got) == 2 })
		n.mu.Lock()
		i := slices.IndexFunc(n.got[news], func(p ws.Publication) bool { return p.Message.Kind() == ws.Binary })
		if i < 0 {
			t.Fatal("the binary one is missing")
		}
		got, kept := n.got[news][i], n.got[news][1-i]
		if string(got.Message.Payload()) != "\x00\xff:\x01" || got.Except != p.Except || got.ExceptUser != p.ExceptUser || got.Position != (ws.Position{}) {
			t.Errorf("%s got %+v", n.id, got)
		}
		if kept.Message.Kind() != ws.Text || kept.Position.Offset != 1 || kept.Position.Epoch == "" {
			t.Errorf("%s got %+v", n.id, kept)
		}
		if len(n.got[other]) > 0 {
			t.Errorf("%s got %v in another space", n.id, n.got[other])
		}
		n.mu.Unlock()
	}
}

// testOrder: what a node publishes comes in its order everywhere, once; and in the same order everywhere unless the fleet is loose.
func testOrder(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	for _, n := range nodes {
		n.Subscribe(news)
	}
	count := testenv.Count(200, 20_000)
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for j := range count {
				n.Say(news, fmt.Sprintf("%d %06d", i, j), ws.Keep{})
			}
		})
	}
	wg.Wait()
	var first []string
	for k, n := range nodes {
		n.AwaitThat(news, "all", func(got []string) bool { return len(got) == count*len(nodes) })
		got := n.Heard(news)
		if k == 0 {
			first = got
		} else if !f.Loose && !slices.Equal(first, got) {
			t.Errorf("%s saw another order", n.id)
		}
		byNode := map[byte][]string{}
		for _, text := range got {
			byNode[text[0]] = append(byNode[text[0]], text)
		}
		for i, list := range byNode {
			if !slices.IsSorted(list) || len(slices.Compact(list)) != count {
				t.Errorf("%s saw those of %c in disorder, or twice", n.id, i)
			}
		}
	}
}

// testOrderOfKept: what is kept comes in the order of its offsets, everywhere, without a hole.
func testOrderOfKept(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	for _, n := range nodes {
		n.Subscribe(news)
	}
	count := testenv.Count(50, 2000)
	keep := ws.Keep{Size: 3 * count, TTL: time.Minute}
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for j := range count {
				if at := n.Say(news, fmt.Sprint(i, " ", j), keep); at.Offset == 0 {
					t.Error("no position")
					return
				}
			}
		})
	}
	wg.Wait()
	past, err := nodes[0].History(t.Context(), news, ws.Position{}, 0)
	if err != nil || !past.Whole || past.Now.Offset != uint64(count*len(nodes)) {
		t.Fatalf("%d kept, now %v, whole %v, %v", len(past.Publications), past.Now, past.Whole, err)
	}
	want := texts(past)
	for _, n := range nodes {
		n.Await(news, want...)
		n.mu.Lock()
		for i, p := range n.got[news] {
			if p.Position != (ws.Position{Epoch: past.Now.Epoch, Offset: uint64(i + 1)}) {
				t.Errorf("publication %d is at %v", i, p.Position)
			}
		}
		n.mu.Unlock()
	}
}

func texts(p ws.Past) []string {
	var list []string
	for _, p := range p.Publications {
		list = append(list, string(p.Message.Payload()))
	}
	return list
}

// testWatch: the first and the last of the fleet are told so, and who does not watch gets nothing.
func testWatch(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	a, z := nodes[0], nodes[len(nodes)-1]
	if !a.Subscribe(news) {
		t.Error("the first one was not the first")
	}
	if z != a && z.Subscribe(news) {
		t.Error("the second one was the first")
	}
	a.Say(news, "1", ws.Keep{})
	a.Await(news, "1")
	z.Await(news, "1")
	if z != a && a.Unsubscribe(news) {
		t.Error("not the last one was the last")
	}
	z.Say(news, "2", ws.Keep{})
	z.Await(news, "1", "2")
	if z != a && len(a.Heard(news)) != 1 {
		t.Errorf("who does not watch got %q", a.Heard(news))
	}
	if !z.Unsubscribe(news) {
		t.Error("the last one was not the last")
	}
	if !z.Subscribe(news) {
		t.Error("the first one was not the first again")
	}
}

func testHistory(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 2)
	a, z := nodes[0], nodes[len(nodes)-1]
	if past, err := z.History(t.Context(), news, ws.Position{}, 0); err != nil || !past.Whole || past.Now != (ws.Position{}) || len(past.Publications) > 0 {
		t.Errorf("of nothing: %+v, %v", past, err)
	}
	if past, err := z.History(t.Context(), news, ws.Position{Epoch: "e", Offset: 1}, 0); err != nil || past.Whole {
		t.Errorf("of an epoch that is lost: %+v, %v", past, err)
	}
	keep := ws.Keep{Size: 3, TTL: time.Minute}
	var at []ws.Position
	for i := range 5 {
		at = append(at, a.Say(news, fmt.Sprint(i), keep))
	}
	a.Say(news, "not kept", ws.Keep{})
	for _, test := range []struct {
		name  string
		after ws.Position
		limit int
		want  []string
		whole bool
	}{
		{"all", ws.Position{}, 0, []string{"2", "3", "4"}, false},
		{"after the latest", at[4], 0, nil, true},
		{"after the second", at[2], 0, []string{"3", "4"}, true},
		{"all that are there", at[1], 0, []string{"2", "3", "4"}, true},
		{"one is missing", at[0], 0, []string{"2", "3", "4"}, false},
		{"limit", at[1], 2, []string{"3", "4"}, false},
		{"limit that suffices", at[2], 2, []string{"3", "4"}, true},
		{"the latest", ws.Position{}, 1, []string{"4"}, false},
		{"another epoch", ws.Position{Epoch: "other", Offset: 4}, 0, []string{"2", "3", "4"}, false},
		{"the future", ws.Position{Epoch: at[4].Epoch, Offset: 9}, 0, nil, false},
	} {
		past, err := z.History(t.Context(), news, test.after, test.limit)
		if err != nil || !slices.Equal(texts(past), test.want) || past.Whole != test.whole || past.Now != at[4] {
			t.Errorf("%s: %q now %v whole %v, %v; want %q %v", test.name, texts(past), past.Now, past.Whole, err, test.want, test.whole)
		}
		for i, p := range past.Publications {
			if want := 5 - uint64(len(past.Publications)) + uint64(i) + 1; p.Position.Offset != want {
				t.Errorf("%s: %d is at %v", test.name, i, p.Position)
			}
		}
	}
	z.Say(news, "5", ws.Keep{Size: 1, TTL: time.Minute})
	if past, err := a.History(t.Context(), news, ws.Position{}, 0); err != nil || !slices.Equal(texts(past), []string{"5"}) {
		t.Errorf("a smaller size keeps %q, %v", texts(past), err)
	}
}

func testHistoryExpires(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 2)
	a, z := nodes[0], nodes[len(nodes)-1]
	old := a.Say(news, "old", ws.Keep{Size: 3, TTL: 50 * time.Millisecond})
	testenv.Eventually(t, "the history expires", func() bool {
		past, err := z.History(t.Context(), news, ws.Position{}, 0)
		return err == nil && len(past.Publications) == 0
	})
	if past, err := z.History(t.Context(), news, old, 0); err != nil || past.Whole {
		t.Errorf("%+v, %v", past, err)
	}
	if at := a.Say(news, "for ever", ws.Keep{Size: 3}); f.Alone && at.Offset == 0 || !f.Alone && (at.Epoch == old.Epoch || at.Offset != 1) {
		t.Errorf("after %v came %v", old, at)
	}
	if past, err := z.History(t.Context(), news, ws.Position{}, 0); !f.Alone && (err != nil || !slices.Equal(texts(past), []string{"for ever"}) || !past.Whole) {
		t.Errorf("%+v, %v", past, err)
	}
}

func testPresence(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	a, b, z := nodes[0], nodes[len(nodes)/2], nodes[len(nodes)-1]
	for _, n := range nodes {
		n.Subscribe(room)
	}
	if r := a.Enter(room, "ann", 1); !r.Changed || !slices.Equal(names(r.Members), []string{"ann"}) || string(r.Members[0].Info) != `{"of":"ann"}` || r.Members[0].Conn != 0 {
		t.Errorf("%+v", r)
	}
	if r := b.Enter(room, "bob", 2); !r.Changed || !slices.Equal(names(r.Members), []string{"ann", "bob"}) {
		t.Errorf("%+v", r)
	}
	if r := z.Enter(room, "ann", 3); r.Changed || !slices.Equal(names(r.Members), []string{"ann", "bob"}) {
		t.Errorf("a second connection elsewhere: %+v", r)
	}
	if r := a.Enter(room, "ann", 4); r.Changed || len(r.Members) != 2 {
		t.Errorf("a second connection here: %+v", r)
	}
	if a.Exit(room, "ann", 1) || a.Exit(room, "ann", 4) {
		t.Error("ann left while she was there")
	}
	if got := b.Users(room); !slices.Equal(got, []string{"ann", "bob"}) {
		t.Errorf("there are %q", got)
	}
	if !z.Exit(room, "ann", 3) {
		t.Error("ann did not leave with her last connection")
	}
	for _, n := range nodes {
		n.Await(room, "+ann", "+bob", "-ann")
		if got := n.Users(room); !slices.Equal(got, []string{"bob"}) {
			t.Errorf("there are %q", got)
		}
		n.mu.Lock()
		if p := n.got[room]; p[0].Except != 1 || p[0].ExceptUser != "ann" || p[1].Except != 2 || p[0].Position != (ws.Position{}) {
			t.Errorf("%+v", p[:2])
		}
		n.mu.Unlock()
	}
	r, err := a.Join(t.Context(), room, ws.Member{ID: "quiet", Conn: 9}, nil)
	if err != nil || !r.Changed || len(r.Members) != 2 || len(r.Members[1].Info) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := a.Leave(t.Context(), room, ws.Member{ID: "quiet", Conn: 9}, nil); err != nil || !r.Changed {
		t.Errorf("%+v, %v", r, err)
	}
	b.Say(room, "end", ws.Keep{})
	a.Await(room, "+ann", "+bob", "-ann", "end")
	if past, err := a.History(t.Context(), room, ws.Position{}, 0); err != nil || len(past.Publications) > 0 {
		t.Errorf("announcements are in the history: %+v, %v", past, err)
	}
}

// testPresenceOrder: everybody sees the same comings and goings in the same order, and each user come and go in turns.
func testPresenceOrder(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	for _, n := range nodes {
		n.Subscribe(room)
	}
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for j := range testenv.Count(10, 300) {
				user := fmt.Sprint("u", j%3)
				conn := ws.ConnID(i*1000 + j + 1)
				n.Enter(room, user, conn)
				n.Exit(room, user, conn)
			}
		})
	}
	wg.Wait()
	nodes[0].Enter(room, "end", 1_000_000)
	var first []string
	for i, n := range nodes {
		n.AwaitThat(room, "all", func(got []string) bool { return len(got) > 0 && got[len(got)-1] == "+end" })
		got := n.Heard(room)
		if i == 0 {
			first = got
		} else if !slices.Equal(got, first) {
			t.Errorf("%s saw\n%q, %s\n%q", n.id, got, nodes[0].id, first)
		}
	}
	there := map[string]bool{}
	for _, text := range first {
		come := text[0] == '+'
		if there[text[1:]] == come {
			t.Fatalf("%s came or went twice: %q", text[1:], first)
		}
		there[text[1:]] = come
	}
	for user, is := range there {
		if is != (user == "end") {
			t.Errorf("%s is there: %v", user, is)
		}
	}
}

func testChannels(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	for _, n := range nodes {
		n.Subscribe(news)
		n.Subscribe(room)
		n.Enter(room, "ann", 1)
		n.Enter(room, n.id, 2)
	}
	// A node that is busy may be left out of a list.
	await := func(what, space, prefix string, is func([]ws.ChannelInfo) bool) {
		t.Helper()
		testenv.Eventually(t, what, func() bool {
			list, err := nodes[0].Channels(t.Context(), space, prefix)
			return err == nil && is(list)
		})
	}
	want := ws.ChannelInfo{Name: room.Channel, Subscribers: len(nodes), Users: len(nodes) + 1}
	await("the members are counted once", room.Space, "presence-", func(list []ws.ChannelInfo) bool { return len(list) == 1 && list[0] == want })
	await("both channels", room.Space, "", func(list []ws.ChannelInfo) bool { return len(list) == 2 })
	await("nothing", "nobody's", "", func(list []ws.ChannelInfo) bool { return len(list) == 0 })
	n := nodes[len(nodes)-1]
	for i := range 3000 { // more than a message holds
		n.mu.Lock()
		n.occupied[ws.Address{Space: "many", Channel: fmt.Sprintf("a-channel-with-a-longer-name-%060d", i)}] = 1
		n.mu.Unlock()
	}
	await("many channels", "many", "a-channel", func(list []ws.ChannelInfo) bool { return len(list) == 3000 })
}

func testTell(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	for i, c := range []ws.Command{
		{User: "ann", Send: ws.PrepareText("hi"), Code: 4009, Reason: "bye"},
		{Conn: 1<<62 + 1, Send: ws.Prepare(ws.Binary, []byte{255})}, {All: true, Code: 4200},
	} {
		if err := nodes[i%len(nodes)].Tell(t.Context(), "s", c); err != nil {
			t.Error(err)
		}
	}
	for _, n := range nodes {
		want := []string{"s 0 ann false text hi 4009 bye", "s 4611686018427387905  false binary \xff 0 ", "s 0  true  4200 "}
		testenv.Eventually(t, "the commands arrive", func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return len(n.done) == 3
		})
		slices.Sort(n.done)
		slices.Sort(want)
		if !slices.Equal(n.done, want) {
			t.Errorf("%s did %q, want %q", n.id, n.done, want)
		}
	}
}

// testAsk: the node that gave out the ID of a connection answers for it, and nobody else; who asks learns that it has gone.
func testAsk(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 3)
	a, z := nodes[0], nodes[len(nodes)-1]
	theirs := connOf(z.id)
	send := ws.Command{Conn: theirs, Send: ws.PrepareText("hi"), Code: 4000, Reason: "bye"}
	if a == z {
		if _, err := a.Ask(t.Context(), "s", send, nil); !errors.Is(err, ws.ErrClosed) {
			t.Errorf("alone: %v", err)
		}
		return
	}
	if _, err := a.Ask(t.Context(), "s", send, nil); err != nil {
		t.Error(err)
	}
	z.mu.Lock()
	if want := fmt.Sprintf("s %d  false text hi 4000 bye", theirs); !slices.Equal(z.done, []string{want}) {
		t.Errorf("%q was done, want %q", z.done, want)
	}
	z.mu.Unlock()
	if got, err := a.Ask(t.Context(), "s", ws.Command{Conn: theirs}, []byte("who?")); err != nil || string(got) != z.id+": s who?" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := a.Ask(t.Context(), "s", ws.Command{Conn: theirs}, []byte("fail")); err == nil || err.Error() != "it was to fail" {
		t.Errorf("an error of the other node: %v", err)
	}
	for name, id := range map[string]ws.ConnID{"which has gone": theirs + 1, "of nobody": connOf("nobody")} {
		if _, err := a.Ask(t.Context(), "s", ws.Command{Conn: id}, []byte("who?")); !errors.Is(err, ws.ErrClosed) {
			t.Errorf("one %s: %v", name, err)
		}
	}
	var wg sync.WaitGroup
	for i := range 100 { // more than are answered at a time
		wg.Go(func() {
			if got, err := a.Ask(t.Context(), "s", ws.Command{Conn: theirs}, fmt.Append(nil, i)); err != nil || string(got) != fmt.Sprint(z.id, ": s ", i) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// connOf is an even ID that a node of that name may have given out.
func connOf(node string) ws.ConnID {
	for bits := range ws.ConnID(1 << 15) {
		if id := bits<<48 + 2; id.Of(node) {
			return id
		}
	}
	panic("no ID is the node's")
}

// testStop: nothing is delivered any more, and the others see the members go that have left.
func testStop(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 2)
	a, z := nodes[0], nodes[len(nodes)-1]
	z.Subscribe(news)
	z.Enter(room, "ann", 1)
	z.Exit(room, "ann", 1)
	z.Unsubscribe(news)
	if err := z.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := z.Stop(t.Context()); err != nil && !errors.Is(err, ws.ErrClosed) {
		t.Errorf("a second Stop: %v", err)
	}
	if a == z {
		return
	}
	a.Subscribe(news)
	a.Say(news, "x", ws.Keep{})
	a.Await(news, "x")
	if got := z.Heard(news); len(got) > 0 {
		t.Errorf("after Stop came %q", got)
	}
	testenv.Eventually(t, "the other one is forgotten", func() bool { return a.Stats().Peers == 0 })
}

// testNames: a channel may be called anything, and is nobody else.
func testNames(t *testing.T, f Fleet) {
	nodes := f.nodes(t, 2)
	list := []ws.Address{
		{Space: "s", Channel: "a b"}, {Space: "s", Channel: "a.b"}, {Space: "s", Channel: "a.>"}, {Space: "s", Channel: "*"}, {Space: "s", Channel: ">"},
		{Space: "s", Channel: "{x}"}, {Space: "s/a", Channel: ""}, {Space: "s", Channel: "a\x00b"}, {Space: "s", Channel: "ü\r\n%"}, {Space: "", Channel: "sa"},
		{Space: "s", Channel: "control"}, {Space: "s", Channel: string(make([]byte, 200))},
	}
	for _, n := range nodes {
		for _, a := range list {
			n.Subscribe(a)
		}
	}
	for _, a := range list {
		nodes[0].Say(a, fmt.Sprint(a), ws.Keep{Size: 2, TTL: time.Minute})
		nodes[0].Enter(a, "u \x00:", 1)
	}
	for _, n := range nodes {
		for _, a := range list {
			n.Await(a, fmt.Sprint(a), "+u \x00:")
			if got := n.Users(a); !slices.Equal(got, []string{"u \x00:"}) {
				t.Errorf("%q has %q", a, got)
			}
			if past, err := n.History(t.Context(), a, ws.Position{}, 0); err != nil || len(past.Publications) != 1 {
				t.Errorf("%q has %+v, %v", a, past, err)
			}
		}
	}
}
