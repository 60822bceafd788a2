// Package fleet makes a ws.Broker of a server that nodes share. A Driver knows the server; this package knows what it means to
// lose it.
//
//	Broker   what the hub sees: delivers in order and once, keeps the members of this node, talks to the other nodes
//	lane     a part of the channels that is lost and healed by itself: a slot of a Redis cluster, or everything
//	Driver   what a server can do: subscribe, publish, logs, members, leases
//
// While a lane is lost, what is published on its channels reaches the subscribers of this node alone, and members are those of
// this node. Its keeper tries to get the server back; then it subscribes again, renews the lease, tells the server which channels and
// members there are, and has subscribers get what they missed from the logs.
package fleet

import (
	"context"
	"time"

	"github.com/edge-server/edge/ws"
)

// Log is a sequence of messages of a channel that the server remembers.
type Log uint8

// The logs of a channel. A message that is in neither has no position.
const (
	History  Log = iota // publications with a ws.Keep
	Presence            // who came and went; the latest PresenceKept of them
	logs
)

// PresenceKept is how much of the log Presence a driver remembers, and PresenceLasts for how long after the latest change at least, while a
// node that it does not take for dead watches the channel.
const (
	PresenceKept  = 64
	PresenceLasts = 10 * time.Minute
)

// Driver is a server that nodes share.
type Driver interface {
	// Start looks for the server once, and fails if it cannot be reached or refuses. What arrives later goes to sink.
	Start(ctx context.Context, node string, sink Sink) error

	// Stop ends everything that runs; nothing goes to the sink once it has returned.
	Stop(ctx context.Context) error

	// Lanes are the parts; a channel always belongs to the same one, on all nodes: the hash of its name decides.
	Lanes() []Lane

	// Trips is how many times a question may go to the server and back. Where that is more than one, and in Renew, the driver itself sees to
	// it that each takes no longer than the timeout.
	Trips() int

	// Broken reports whether an error means that the server, or the way to it, is not there. Others are answers.
	Broken(err error) bool
}

// Lane is a part of a server. Everything may be repeated: what is done already is no error and changes nothing.
type Lane interface {
	// Connect makes a new connection for what arrives, ends the one from before, and listens to what is told and published on the
	// channels. It returns when the server has confirmed all of it.
	Connect(ctx context.Context, channels []ws.Address) error

	// Listen adds a channel to what Connect listens to, and returns when the server has confirmed it. Unlisten does not wait.
	Listen(ctx context.Context, channel ws.Address) error
	Unlisten(ctx context.Context, channel ws.Address) error

	// Publish sends to all nodes that listen, in one order for all if keep says that it is remembered.
	Publish(ctx context.Context, to ws.Address, message []byte, keep ws.Keep) (ws.Position, error)

	// Past reads a log after a position, see ws.Broker.History.
	Past(ctx context.Context, log Log, of ws.Address, after ws.Position, limit int) (Past, error)

	// Watch notes that this node has subscribers, who have the logs up to seen, and says whether it is the only one and where the logs are.
	Watch(ctx context.Context, channel ws.Address, seen [2]ws.Position) (first bool, now [2]Head, err error)
	Unwatch(ctx context.Context, channel ws.Address) (last bool, err error)

	// Join adds a user of this node to a channel. Changed: no node had that user; then announce, unless it is nil, goes into the log
	// Presence and to all nodes, in the order of the changes. farewell is what goes there when this node dies. The members come with the
	// position in Presence up to which they are known.
	Join(ctx context.Context, channel ws.Address, m ws.Member, announce, farewell []byte) (ws.Membership, error)
	Leave(ctx context.Context, channel ws.Address, user string, announce []byte) (changed bool, err error)
	Members(ctx context.Context, channel ws.Address) (ws.Membership, error)

	// Renew says that this node lives. With reap it also takes away the members of nodes whose lease is over, with their farewells. What it
	// finds it says again until it has once returned it without an error.
	Renew(ctx context.Context, reap bool) (Lease, error)

	// Held lists what the server thinks this node has.
	Held(ctx context.Context) ([]Held, error)

	// Resign ends the lease of a node that has left all channels.
	Resign(ctx context.Context) error

	// Tell sends to all nodes.
	Tell(ctx context.Context, message []byte) error
}

// Lease is what Renew found.
type Lease uint8

// Kept: nothing has happened. Forgotten: the server does not know this node, because it is new or the server has lost its data.
// Ended: the lease was over, and others have taken this node's members away. Doubted: the server is not the one it was, and may have
// forgotten the latest changes.
const (
	Kept Lease = iota
	Forgotten
	Ended
	Doubted
)

// Held is what the server thinks this node has of a channel.
type Held struct {
	Channel ws.Address
	Watched bool
	Users   []string
}

// LeaseTime is the lease that a server is told, and RenewEvery how often it is renewed: together they are less than the lease in
// which the members of a dead node must have gone.
func LeaseTime(lease time.Duration) time.Duration { return lease * 3 / 4 }

// RenewEvery is the pause between two calls of Renew.
func RenewEvery(lease time.Duration) time.Duration { return lease / 5 }

// Sink is where a driver brings what arrives. Calls for one channel come one at a time. The bytes belong to the sink.
type Sink interface {
	Published(of ws.Address, log Log, at ws.Position, message []byte)
	Told(message []byte)

	// Departed says that Renew has taken a user, or this or the last subscriber, of a dead node away from a channel.
	Departed(d ws.Departure)

	// Lost says that something may not have arrived, or will not until Connect is called again.
	Lost(lane int, err error)
}

// Past is an answer of Lane.Past.
type Past struct {
	Entries []Entry // oldest first
	Now     Head
	Whole   bool
}

// Entry is a message of a log.
type Entry struct {
	At      ws.Position
	Message []byte
}

// NewPast sorts out what a server has of a log: everything it kept after the offset of after if the epoch is now's or one that led to it,
// else everything. kept is how much it remembers in all.
func NewPast(entries []Entry, kept uint64, now Head, after ws.Position, limit int) Past {
	p := Past{Now: now}
	here, lost, ok := now.from(after)
	switch {
	case after == ws.Position{}:
		p.Whole = !lost && kept == now.Offset
	case ok:
		p.Whole = !lost && here.Offset <= now.Offset && now.Offset-here.Offset <= kept
	}
	for ok && len(entries) > 0 && entries[0].At.Offset <= here.Offset {
		entries = entries[1:]
	}
	if limit > 0 && len(entries) > limit {
		entries, p.Whole = entries[len(entries)-limit:], false
	}
	p.Entries = entries
	return p
}
