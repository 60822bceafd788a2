package ws

import (
	"context"
	"time"
)

// Broker is what the nodes of a fleet share. A Hub has one; NewMemory makes the one of a single node.
//
// All methods may be called from many goroutines. They return the broker's errors, wrapped: the hub counts them.
type Broker interface {
	// Start begins to deliver to node. Stop ends that; nothing is delivered once it has returned.
	Start(ctx context.Context, node Node) error
	Stop(ctx context.Context) error

	// Patience is how long an operation may take until it is done without what the nodes share. 0: there is nothing that is waited for, and
	// what an answer contains was delivered before.
	Patience() time.Duration

	// Publish makes a message known to every node that watches the channel, this one included, in one order per channel, and
	// remembers it when keep says so. The memory broker delivers before it returns.
	Publish(ctx context.Context, to Address, p Publication, keep Keep) (Position, error)

	// Watch is called when the channel gets its first subscriber on this node, Unwatch when the last one has left. They report
	// whether that was the first, or last, of the fleet. What is published once Watch has returned is delivered; an error says that it is not,
	// and Unwatch ends the attempt.
	Watch(ctx context.Context, channel Address) (occupied bool, err error)
	Unwatch(ctx context.Context, channel Address) (vacated bool, err error)

	// History returns what was published after a position; see Past.
	History(ctx context.Context, channel Address, after Position, limit int) (Past, error)

	// Join adds a connection of a user to the members of a channel, Leave takes it away. When that was the user's first, or last,
	// connection in the fleet, announce is published to the others on the channel, in the same order of events in which Members sees it.
	// announce may be nil.
	Join(ctx context.Context, channel Address, m Member, announce *Prepared) (Membership, error)
	Leave(ctx context.Context, channel Address, m Member, announce *Prepared) (Membership, error)

	// Members lists the users of a channel, each once.
	Members(ctx context.Context, channel Address) ([]Member, error)

	// Channels lists the occupied channels of a space whose names have the prefix.
	Channels(ctx context.Context, space, prefix string) ([]ChannelInfo, error)

	// Tell has every node, this one included, do something with connections that may be anywhere.
	Tell(ctx context.Context, space string, c Command) error

	// Ask has the node that holds the connection of a command carry it out or, with a request, answer that: see Node.Answer. ErrClosed: no
	// other node has such a connection. Other errors are those of that node, or say that it could not be asked.
	Ask(ctx context.Context, space string, c Command, request []byte) (answer []byte, err error)
}

// Node is what a Broker delivers to: a Hub.
type Node interface {
	// ID differs between the nodes of a fleet.
	ID() string

	// Deliver hands over what was published, once per publication, one at a time and in order for each channel.
	Deliver(channel Address, p Publication)

	// Do carries out a command for the connections of this node, and reports how many it concerned.
	Do(space string, c Command) int

	// Subscribers counts the subscribers of a channel on this node; Occupied lists the channels that have any.
	Subscribers(channel Address) int
	Occupied(space, prefix string) []ChannelInfo

	// Answer is Do for one connection, or the answer to request if that is not nil. ErrClosed: it is not here.
	Answer(ctx context.Context, space string, c Command, request []byte) (answer []byte, err error)

	// Departed tells what a node has taken with it that died, to one of the others. It must not wait.
	Departed(d Departure)

	// Roster tells who is in a channel, to subscribers who were told of too few: those whose Membership was Partial or, with all, every
	// one. It comes in the order of what is delivered on the channel. It must not wait.
	Roster(channel Address, now Membership, all bool)

	// Interrupted tells that publications without a Keep may be missing on a channel that has subscribers here. lost: the broker is lost,
	// which may be told more than once; the end of that is told by a call without it, and so is what was missed otherwise. It must not wait.
	Interrupted(channel Address, lost bool)
}

// Address is a channel of a space.
type Address struct {
	Space   string
	Channel string
}

// Position is a place in the history of a channel. The epoch changes when the history was lost: then offsets of the old one mean nothing.
type Position struct {
	Epoch  string
	Offset uint64
}

// Publication is a message on its way to the subscribers of a channel.
type Publication struct {
	Message  *Prepared
	Position Position // zero without history

	// Change is the place of an announcement of Join and Leave among those of the channel. Zero for what is none, and what only this node
	// has heard.
	Change Position

	// Before are the last positions that the epoch of Position or Change has of those before it, the latest first: whoever knows one of
	// them, or less of it, knows that much of this epoch.
	Before []Position

	// Except is the connection that does not get it. Default 0: all get it.
	Except ConnID

	// ExceptUser is the user none of whose connections gets it. Default empty: all get it.
	ExceptUser string

	roster uint8 // what Node.Roster tells, and to whom

	woken *line // collects whom the delivery wakes, in place of the writers; of who publishes, see PublishAll
}

// Keep says how much of a channel is remembered. The zero value is nothing.
type Keep struct {
	Size int           // the latest so many publications
	TTL  time.Duration // for so long after the latest; 0: for as long as the broker runs
}

// Past is an answer of the history.
type Past struct {
	// Publications after the position that was asked for, oldest first.
	Publications []Publication

	// Now is the position of the latest publication.
	Now Position

	// Whole says that nothing is missing between the position asked for and Now: the epoch is the same and nothing was forgotten.
	Whole bool
}

// Member is a user in a channel.
type Member struct {
	ID   string // of the user
	Info []byte // what the others may know, JSON for most protocols
	Conn ConnID // the connection by which the user is there; 0 in lists

	// Farewell is announced to the others when the user's last node dies, which cannot call Leave. Nil: nothing. Not in lists.
	Farewell *Prepared
}

// Membership is what a Join or Leave found.
type Membership struct {
	// Changed says that the user was not there before, or is not any more.
	Changed bool

	// Members as they are now, each user once, and the latest change that they contain. Only Join fills it.
	Members []Member
	At      Position

	// Partial says that they are those of this node alone, because the others could not be asked. Node.Roster tells when they can.
	Partial bool
}

// ChannelInfo is a line in the list of channels.
type ChannelInfo struct {
	Name        string
	Subscribers int // connections
	Users       int // different members; 0 for channels without members
}

// Command is something to do with connections, wherever they are. One of Conn, User and All says with which.
type Command struct {
	Conn ConnID
	User string
	All  bool

	// Send is sent to them. Nil: nothing.
	Send *Prepared

	// Code closes them, after Send. 0: they stay.
	Code   CloseCode
	Reason string
}
