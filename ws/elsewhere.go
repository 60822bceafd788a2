package ws

import (
	"context"
	"errors"
	"hash/fnv"
)

// What happens between the nodes of a space: a connection of another one is asked, a node that has died leaves something behind, members of
// channels are told of again, and the broker that joins the nodes may be lost for a while.

// Departure is what a node that died took away with it from a channel. One of the others is told: the one that noticed it first.
type Departure struct {
	Channel Address

	// User is who was in the channel by that node alone. Empty: this is about the node's subscribers.
	User string

	// Vacated says that nobody subscribes to the channel any more.
	Vacated bool

	// Undone says that the node was only cut off: this node, which the others took for dead, has that user again, or again a channel
	// that had no subscribers without it.
	Undone bool
}

// Handlers are what a space's owner does for the other nodes. None of them may wait for a client.
type Handlers struct {
	// Answer answers what Ask was called with on another node. c is a connection of this one.
	Answer func(ctx context.Context, c *Conn, request []byte) (answer []byte, err error)

	// Departed hears of departures. It must not wait.
	Departed func(Departure)

	// Roster makes what members of a channel get who were told of too few: all that are there now.
	Roster func(channel string, members []Member) *Prepared

	// Interrupted hears that what other nodes publish on a channel without a Keep may be missing. lost: from now on, for the broker is lost;
	// this may come more than once. Else: up to now. It must not wait.
	Interrupted func(channel string, lost bool)
}

// Handle sets the handlers; nil fields do nothing.
func (s *Space) Handle(h Handlers) { s.handlers.Store(&h) }

// Ask has the node that holds a connection answer a request, by its Handlers.Answer. ErrClosed: no node has such a connection. Those of
// this node are the caller's own business.
func (s *Space) Ask(ctx context.Context, id ConnID, request []byte) ([]byte, error) {
	return s.ask(ctx, Command{Conn: id}, request)
}

// TellOne is Tell for the connection of a command, and waits until the node that holds it has done it. ErrClosed: no node has it.
func (s *Space) TellOne(ctx context.Context, c Command) error {
	if conn := s.Find(c.Conn); conn != nil {
		return conn.obey(c)
	}
	if s.hub.Owns(c.Conn) {
		return ErrClosed
	}
	_, err := s.ask(ctx, c, nil)
	return err
}

func (s *Space) ask(ctx context.Context, c Command, request []byte) ([]byte, error) {
	answer, err := s.hub.broker.Ask(ctx, s.name, c, request)
	if !errors.Is(err, ErrClosed) { // that a connection has gone is no fault of the broker
		s.hub.failed(err)
	}
	return answer, err
}

// obey does what a command says.
func (c *Conn) obey(do Command) error {
	if do.Send != nil {
		if err := c.Send(do.Send); err != nil {
			return err
		}
	}
	if do.Code != 0 {
		if do.Send == nil && c.Ending() {
			return ErrClosed
		}
		c.Close(do.Code, do.Reason)
	}
	return nil
}

// Answer is of Node.
func (h *Hub) Answer(ctx context.Context, space string, c Command, request []byte) ([]byte, error) {
	s := h.existing(space)
	if s == nil {
		return nil, ErrClosed
	}
	conn := s.Find(c.Conn)
	if conn == nil {
		return nil, ErrClosed
	}
	if request == nil {
		return nil, conn.obey(c)
	}
	if handlers := s.handlers.Load(); handlers != nil && handlers.Answer != nil {
		return handlers.Answer(ctx, conn, request)
	}
	return nil, ErrClosed
}

// Departed is of Node.
func (h *Hub) Departed(d Departure) {
	s := h.existing(d.Channel.Space)
	if s == nil {
		return
	}
	if handlers := s.handlers.Load(); handlers != nil && handlers.Departed != nil {
		handlers.Departed(d)
	}
}

// Interrupted is of Node.
func (h *Hub) Interrupted(channel Address, lost bool) {
	s := h.existing(channel.Space)
	if s == nil {
		return
	}
	if handlers := s.handlers.Load(); handlers != nil && handlers.Interrupted != nil {
		handlers.Interrupted(channel.Channel, lost)
	}
}

// Of reports whether the ID was given out by a node of that name. One of 32768 other nodes looks the same.
func (id ConnID) Of(node string) bool { return uint64(id)>>idBits<<idBits == nodeBits(node) }

// nodeBits is what the IDs of a node's connections begin with.
func nodeBits(node string) uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(node))
	sum := hash.Sum64() // in which names that end differently share the upper bits
	sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd
	return sum >> 49 << idBits
}
