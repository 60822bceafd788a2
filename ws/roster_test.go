package ws_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// remote is a broker that is elsewhere: it takes its time to listen, and delivers after it has answered.
type remote struct {
	ws.Broker
	listening chan struct{} // Watch waits for it, unless it is nil
	listens   atomic.Bool
	refuse    atomic.Bool
	partial   atomic.Bool
	forgets   atomic.Bool
	watches   atomic.Int32

	mu   sync.Mutex
	node ws.Node
	held []func() // nil: delivered at once
}

func newRemote() *remote { return &remote{Broker: ws.NewMemory()} }

func (r *remote) Start(ctx context.Context, node ws.Node) error {
	r.node = node
	return r.Broker.Start(ctx, &lateNode{node, r})
}

func (r *remote) Watch(ctx context.Context, of ws.Address) (bool, error) {
	r.watches.Add(1)
	if r.refuse.Load() {
		return false, fmt.Errorf("no")
	}
	if r.listening != nil {
		<-r.listening
	}
	r.listens.Store(true)
	return r.Broker.Watch(ctx, of)
}

func (r *remote) Join(ctx context.Context, of ws.Address, m ws.Member, announce *ws.Prepared) (ws.Membership, error) {
	got, err := r.Broker.Join(ctx, of, m, announce)
	if got.Partial = r.partial.Load(); got.Partial {
		got.Members = []ws.Member{m}
	}
	return got, err
}

func (r *remote) History(ctx context.Context, of ws.Address, after ws.Position, limit int) (ws.Past, error) {
	if r.forgets.Load() {
		return ws.Past{}, fmt.Errorf("no")
	}
	return r.Broker.History(ctx, of, after, limit)
}

func (r *remote) Patience() time.Duration { return time.Second }

// late has what is published wait for deliver.
func (r *remote) late() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = []func(){}
}

func (r *remote) deliver() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.held {
		d()
	}
	r.held = nil
}

type lateNode struct {
	ws.Node
	r *remote
}

func (n *lateNode) Deliver(of ws.Address, p ws.Publication) {
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	if n.r.held != nil {
		n.r.held = append(n.r.held, func() { n.Node.Deliver(of, p) })
		return
	}
	n.Node.Deliver(of, p)
}

// roomProtocol subscribes a client to what it asks for, and says who is there: "is:" and the users.
func roomProtocol(t *testing.T) *echo {
	return &echo{message: func(c *ws.Conn, _ ws.Kind, message []byte) {
		user := string(message)
		if user == "leave" {
			_, err := c.Space().Unsubscribe(context.Background(), c, "room", ws.UnsubscribeOptions{Announce: func(m ws.Member) *ws.Prepared {
				return ws.PrepareText("-" + m.ID)
			}})
			if err != nil {
				t.Error(err)
			}
			c.Send(ws.PrepareText("left"))
			return
		}
		_, err := c.Space().Subscribe(context.Background(), c, "room", ws.SubscribeOptions{
			Member: &ws.Member{ID: user}, Announce: ws.PrepareText("+" + user), Reply: func(s ws.Subscribed) *ws.Prepared {
				return usersFrame("is:", s.Membership.Members)
			},
		})
		if err != nil {
			c.Send(ws.PrepareText("refused"))
		}
	}}
}

func usersFrame(word string, members []ws.Member) *ws.Prepared {
	var users []string
	for _, m := range members {
		users = append(users, m.ID)
	}
	slices.Sort(users)
	return ws.PrepareText(word + strings.Join(users, ","))
}

func (w *world) say(c *websocket.Conn, text string) {
	w.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// wants reads what must come, in this order.
func (w *world) wants(c *websocket.Conn, want ...string) {
	w.t.Helper()
	for _, text := range want {
		if got := read(w.t, c); got != text {
			w.t.Fatalf("got %q, want %q of %q", got, text, want)
		}
	}
}

// TestSubscribedIsListening: nobody is told that he is subscribed while the broker is still being asked to deliver, whoever asked first.
func TestSubscribedIsListening(t *testing.T) {
	t.Parallel()
	const clients = 20
	r := newRemote()
	r.listening = make(chan struct{})
	early := atomic.Int32{}
	w := startWith(t, ws.Options{Broker: r}, &echo{open: func(c *ws.Conn) {
		go func() { // ends with the broker's answer
			_, err := c.Space().Subscribe(context.Background(), c, "news", ws.SubscribeOptions{Reply: func(ws.Subscribed) *ws.Prepared {
				if !r.listens.Load() {
					early.Add(1)
				}
				return ws.PrepareText("subscribed")
			}})
			if err != nil {
				t.Error(err)
			}
		}()
	}})
	var list []*websocket.Conn
	for range clients {
		list = append(list, w.dial())
	}
	testenv.Eventually(t, "all wait", func() bool {
		info, err := w.space.Channel(t.Context(), "news")
		return err == nil && info.Subscribers == clients
	})
	close(r.listening)
	for _, c := range list {
		w.wants(c, "subscribed")
	}
	if early.Load() > 0 || r.watches.Load() != 1 {
		t.Errorf("%d were told so before this node listened, and the broker was asked %d times", early.Load(), r.watches.Load())
	}
}

// TestWatchRefused: who comes after one that was refused asks again.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	r := newRemote()
	w := startWith(t, ws.Options{Broker: r}, roomProtocol(t))
	r.refuse.Store(true)
	a, b := w.dial(), w.dial()
	w.say(a, "ann")
	w.wants(a, "refused")
	r.refuse.Store(false)
	w.say(b, "bob")
	w.wants(b, "is:bob")
	w.say(a, "ann")
	w.wants(a, "is:ann,bob")
	w.wants(b, "+ann")
}

// TestKnownMembers: who is told of the members is not told of them once more when the announcements arrive.
func TestKnownMembers(t *testing.T) {
	t.Parallel()
	r := newRemote()
	w := startWith(t, ws.Options{Broker: r}, roomProtocol(t))
	a, b, c, d := w.dial(), w.dial(), w.dial(), w.dial()
	w.say(a, "ann")
	w.wants(a, "is:ann")
	r.late()
	w.say(b, "bob")
	w.wants(b, "is:ann,bob")
	w.say(c, "cid")
	w.wants(c, "is:ann,bob,cid")
	w.say(b, "leave")
	w.wants(b, "left")
	w.say(d, "dan")
	w.wants(d, "is:ann,cid,dan")
	r.deliver()
	w.say(b, "eve")
	w.wants(b, "is:ann,cid,dan,eve")
	w.wants(a, "+bob", "+cid", "-bob", "+dan", "+eve")
	w.wants(c, "-bob", "+dan", "+eve")
	w.wants(d, "+eve")
}

// TestRoster: who was told of too few members is told of all, before what comes next, and nobody else is.
func TestRoster(t *testing.T) {
	t.Parallel()
	r := newRemote()
	w := startWith(t, ws.Options{Broker: r}, roomProtocol(t))
	w.space.Handle(ws.Handlers{Roster: func(_ string, members []ws.Member) *ws.Prepared { return usersFrame("all:", members) }})
	of := ws.Address{Space: "test", Channel: "room"}
	a, b := w.dial(), w.dial()
	w.say(a, "ann")
	w.wants(a, "is:ann")
	r.partial.Store(true)
	w.say(b, "bob")
	w.wants(b, "is:bob")
	all := ws.Membership{Members: []ws.Member{{ID: "ann"}, {ID: "bob"}, {ID: "cid"}}, At: ws.Position{Epoch: "e", Offset: 7}}
	change := func(text string, offset uint64) {
		r.node.Deliver(of, ws.Publication{Message: ws.PrepareText(text), Change: ws.Position{Epoch: "e", Offset: offset}})
	}
	r.node.Roster(of, all, false)
	r.node.Roster(of, all, false)
	change("+cid", 7)
	change("+dan", 8)
	r.node.Roster(of, all, true)
	w.wants(a, "+bob", "+cid", "+dan", "all:ann,bob,cid")
	w.wants(b, "all:ann,bob,cid", "+dan", "all:ann,bob,cid")
}

// TestSlowWatch: who will not wait for the broker does not, and the others are served.
func TestSlowWatch(t *testing.T) {
	t.Parallel()
	r := newRemote()
	r.listening = make(chan struct{})
	type outcome struct {
		ws.Subscribed
		err error
	}
	hasty, patient := make(chan outcome, 1), make(chan outcome, 1)
	var first atomic.Bool
	w := startWith(t, ws.Options{Broker: r}, &echo{open: func(c *ws.Conn) {
		ctx, cancel, to := context.Background(), context.CancelFunc(func() {}), patient
		if first.CompareAndSwap(false, true) {
			ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
			to = hasty
		}
		go func() { // ends with the broker's answer, or ctx
			defer cancel()
			got, err := c.Space().Subscribe(ctx, c, "news", ws.SubscribeOptions{Member: &ws.Member{ID: "u"}})
			to <- outcome{got, err}
		}()
	}})
	w.dial()
	if got := <-hasty; !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("%+v", got)
	}
	w.dial()
	testenv.Eventually(t, "the other one waits", func() bool {
		info, err := w.space.Channel(t.Context(), "news")
		return err == nil && info.Subscribers == 1
	})
	close(r.listening)
	if got := <-patient; got.err != nil || !got.Occupied || !got.Membership.Changed || r.watches.Load() != 1 {
		t.Errorf("%+v", got)
	}
}

// TestHistoryRefused: a member who was announced, and then refused, is said to have gone.
func TestHistoryRefused(t *testing.T) {
	t.Parallel()
	r := newRemote()
	var count atomic.Int32
	w := startWith(t, ws.Options{Broker: r}, &echo{open: func(c *ws.Conn) {
		opts := ws.SubscribeOptions{}
		if count.Add(1) > 1 {
			opts = ws.SubscribeOptions{
				Member: &ws.Member{ID: "u", Farewell: ws.PrepareText("-u")}, Announce: ws.PrepareText("+u"), Recover: &ws.Position{},
			}
		}
		if _, err := c.Space().Subscribe(context.Background(), c, "news", opts); (err == nil) != (opts.Member == nil) {
			t.Error(err)
		}
	}})
	r.forgets.Store(true)
	a := w.dial()
	w.dial()
	w.wants(a, "+u", "-u")
}

// TestSubscribeAgain: a subscription that fails when it was ended already takes nothing with it.
func TestSubscribeAgain(t *testing.T) {
	t.Parallel()
	r := newRemote()
	r.listening = make(chan struct{})
	conns := make(chan *ws.Conn, 1)
	w := startWith(t, ws.Options{Broker: r}, &echo{open: func(c *ws.Conn) { conns <- c }})
	w.dial()
	c := <-conns
	subscribe := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() { // ends with the broker's answer, or ctx
			_, err := w.space.Subscribe(ctx, c, "news", ws.SubscribeOptions{})
			done <- err
		}()
		testenv.Eventually(t, "it waits", func() bool {
			_, there := c.Subscribed("news")
			return there && r.watches.Load() == 1
		})
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := subscribe(ctx)
	if u, err := w.space.Unsubscribe(t.Context(), c, "news", ws.UnsubscribeOptions{}); err != nil || !u.Was {
		t.Fatal(u, err)
	}
	second := subscribe(t.Context())
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(r.listening)
	if err := <-second; err != nil {
		t.Error(err)
	}
	if _, there := c.Subscribed("news"); !there || w.hub.Stats().Spaces[0].Channels != 1 {
		t.Error("the second subscription has gone with the first")
	}
}
