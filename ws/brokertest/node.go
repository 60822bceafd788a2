// Package brokertest holds what every ws.Broker must do, as tests.
package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// Node is a node of a fleet: what a broker delivers to, and the broker.
type Node struct {
	ws.Broker

	t  testing.TB
	id string

	mu       sync.Mutex
	got      map[ws.Address][]ws.Publication
	done     []string
	occupied map[ws.Address]int
	departed []ws.Departure
	rosters  []roster

	interrupted map[ws.Address]int
}

// roster is what Roster was called with.
type roster struct {
	of  ws.Address
	now ws.Membership
}

// Start makes a node and starts its broker, until the test ends or Stop is called.
func Start(t testing.TB, b ws.Broker, id string) *Node {
	t.Helper()
	n := newNode(t, b, id)
	if err := b.Start(t.Context(), n); err != nil {
		t.Fatalf("start %s: %v", id, err)
	}
	t.Cleanup(n.End)
	return n
}

func newNode(t testing.TB, b ws.Broker, id string) *Node {
	return &Node{Broker: b, t: t, id: id, got: map[ws.Address][]ws.Publication{}, occupied: map[ws.Address]int{}, interrupted: map[ws.Address]int{}}
}

// End stops the broker; again, it does nothing.
func (n *Node) End() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n.Stop(ctx) // one whose server is gone says so
}

// ID is of ws.Node.
func (n *Node) ID() string { return n.id }

// Deliver is of ws.Node.
func (n *Node) Deliver(channel ws.Address, p ws.Publication) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got[channel] = append(n.got[channel], p)
}

// Do is of ws.Node.
func (n *Node) Do(space string, c ws.Command) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := ""
	if c.Send != nil {
		text = c.Send.Kind().String() + " " + string(c.Send.Payload())
	}
	n.done = append(n.done, fmt.Sprintf("%s %d %s %v %s %d %s", space, c.Conn, c.User, c.All, text, c.Code, c.Reason))
	return 0
}

// Answer is of ws.Node: the node has the connections whose IDs are its own and even, and says what it was asked.
func (n *Node) Answer(_ context.Context, space string, c ws.Command, request []byte) ([]byte, error) {
	switch {
	case c.Conn%2 != 0:
		return nil, ws.ErrClosed
	case request == nil:
		n.Do(space, c)
		return nil, nil
	case string(request) == "fail":
		return nil, errors.New("it was to fail")
	}
	return fmt.Appendf(nil, "%s: %s %s", n.id, space, request), nil
}

// Departed is of ws.Node.
func (n *Node) Departed(d ws.Departure) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.departed = append(n.departed, d)
}

// Roster is of ws.Node.
func (n *Node) Roster(channel ws.Address, now ws.Membership, _ bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rosters = append(n.rosters, roster{channel, now})
}

// Rosters lists what was told of who is in a channel.
func (n *Node) Rosters(of ws.Address) []ws.Membership {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []ws.Membership
	for _, r := range n.rosters {
		if r.of == of {
			list = append(list, r.now)
		}
	}
	return list
}

// Interrupted is of ws.Node.
func (n *Node) Interrupted(channel ws.Address, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if lost {
		return // the end is what Interruptions counts
	}
	n.interrupted[channel]++
}

// Interruptions counts how often the node was told that something may be missing on a channel.
func (n *Node) Interruptions(of ws.Address) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.interrupted[of]
}

// Departures lists what the node was told of others: "-USER", "-" for their last subscribers, "~" for others, and with + what is back.
func (n *Node) Departures(of ws.Address) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	for _, d := range n.departed {
		sign := "-"
		switch {
		case d.Channel != of:
			continue
		case d.Undone:
			sign = "+"
		case d.User == "" && !d.Vacated:
			sign = "~"
		}
		list = append(list, sign+d.User)
	}
	return list
}

// Subscribers is of ws.Node.
func (n *Node) Subscribers(channel ws.Address) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.occupied[channel]
}

// Occupied is of ws.Node.
func (n *Node) Occupied(space, prefix string) []ws.ChannelInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []ws.ChannelInfo
	for a, subscribers := range n.occupied {
		if a.Space == space && strings.HasPrefix(a.Channel, prefix) {
			list = append(list, ws.ChannelInfo{Name: a.Channel, Subscribers: subscribers})
		}
	}
	return list
}

// Subscribe is what a hub does for the first subscriber.
func (n *Node) Subscribe(of ws.Address) bool {
	n.t.Helper()
	n.mu.Lock()
	n.occupied[of]++
	n.mu.Unlock()
	first, err := n.Watch(n.t.Context(), of)
	if err != nil {
		n.t.Errorf("%s: watch %v: %v", n.id, of, err)
	}
	return first
}

// Unsubscribe is what a hub does for the last subscriber.
func (n *Node) Unsubscribe(of ws.Address) bool {
	n.t.Helper()
	n.mu.Lock()
	delete(n.occupied, of)
	n.mu.Unlock()
	last, err := n.Unwatch(n.t.Context(), of)
	if err != nil {
		n.t.Errorf("%s: unwatch %v: %v", n.id, of, err)
	}
	return last
}

// Say publishes a text and expects no error.
func (n *Node) Say(to ws.Address, text string, keep ws.Keep) ws.Position {
	n.t.Helper()
	at, err := n.Publish(n.t.Context(), to, ws.Publication{Message: ws.PrepareText(text)}, keep)
	if err != nil {
		n.t.Errorf("%s: publish %q: %v", n.id, text, err)
	}
	return at
}

// Heard lists the texts that came on a channel.
func (n *Node) Heard(of ws.Address) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	for _, p := range n.got[of] {
		list = append(list, string(p.Message.Payload()))
	}
	return list
}

// Await waits until the node has heard exactly that, in that order.
func (n *Node) Await(of ws.Address, want ...string) {
	n.t.Helper()
	n.AwaitThat(of, fmt.Sprintf("%q", want), func(got []string) bool { return slices.Equal(got, want) })
}

// AwaitThat waits until what the node has heard is as wanted.
func (n *Node) AwaitThat(of ws.Address, what string, is func([]string) bool) {
	n.t.Helper()
	var last []string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if last = n.Heard(of); is(last) {
			return
		}
	}
	n.t.Fatalf("%s: on %v came %.2000q, want %s", n.id, of, last, what)
}

// Enter joins and expects no error.
func (n *Node) Enter(of ws.Address, user string, conn ws.ConnID) ws.Membership {
	n.t.Helper()
	m := ws.Member{ID: user, Info: []byte(`{"of":"` + user + `"}`), Conn: conn, Farewell: ws.PrepareText("-" + user)}
	r, err := n.Join(n.t.Context(), of, m, ws.PrepareText("+"+user))
	if err != nil {
		n.t.Errorf("%s: join %s: %v", n.id, user, err)
	}
	return r
}

// Exit leaves and expects no error.
func (n *Node) Exit(of ws.Address, user string, conn ws.ConnID) bool {
	n.t.Helper()
	r, err := n.Leave(n.t.Context(), of, ws.Member{ID: user, Conn: conn}, ws.PrepareText("-"+user))
	if err != nil {
		n.t.Errorf("%s: leave %s: %v", n.id, user, err)
	}
	return r.Changed
}

// Users lists the members of a channel.
func (n *Node) Users(of ws.Address) []string {
	list, err := n.Members(n.t.Context(), of)
	if err != nil {
		n.t.Errorf("%s: members: %v", n.id, err)
	}
	return names(list)
}

func names(list []ws.Member) []string {
	var users []string
	for _, m := range list {
		users = append(users, m.ID)
	}
	return users
}

// Stats are those of a broker with faults.
func (n *Node) Stats() ws.BrokerStats {
	return n.Broker.(interface{ BrokerStats() ws.BrokerStats }).BrokerStats()
}

// AwaitLost waits until the broker has noticed that its server is gone, AwaitOnline until it is back.
func (n *Node) AwaitLost() {
	n.t.Helper()
	testenv.Eventually(n.t, n.id+" notices the loss", func() bool { return n.Stats().Lost > 0 })
}

// AwaitOnline waits until nothing is lost.
func (n *Node) AwaitOnline() {
	n.t.Helper()
	for end := time.Now().Add(time.Minute); n.Stats().Lost > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("%s does not come back: %+v", n.id, n.Stats())
		}
	}
}

var _ ws.Node = (*Node)(nil)
