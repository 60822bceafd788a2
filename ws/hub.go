package ws

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Hub needs.
type Options struct {
	Logger *slog.Logger

	// Broker joins this node to others. Nil: there are none, NewMemory is used.
	Broker Broker

	// NodeID differs between the nodes of a fleet. Empty: random.
	NodeID string
}

// Hub owns all spaces, and what their connections share.
type Hub struct {
	log    *slog.Logger
	broker Broker
	nodeID string

	ids     idMaker
	writers writerPool
	wheel   wheel

	mu     sync.RWMutex // guards spaces
	spaces map[string]*Space

	serving  sync.WaitGroup // connections; none is added once stopping is set
	gate     sync.RWMutex   // held shortly while a connection is added; guards stopping
	stopping bool

	brokerErrors atomic.Uint64
}

// ErrClosed says that the connection, or the hub, has ended or is about to.
var ErrClosed = errors.New("ws: the connection is closed")

// NewHub starts nothing yet.
func NewHub(opts Options) *Hub {
	h := &Hub{log: opts.Logger, broker: opts.Broker, nodeID: opts.NodeID, spaces: map[string]*Space{}}
	if h.nodeID == "" {
		var b [8]byte
		rand.Read(b[:])
		h.nodeID = hex.EncodeToString(b[:])
	}
	if h.broker == nil {
		h.broker = NewMemory()
	}
	h.ids.init(h.nodeID)
	h.writers.init()
	h.wheel.init()
	return h
}

// Start connects to the broker.
func (h *Hub) Start(ctx context.Context) error {
	if err := h.broker.Start(ctx, h); err != nil {
		return err
	}
	h.wheel.start()
	return nil
}

// Space finds a space, or makes it. The name is part of what the nodes of a fleet share: "pusher/app1", "raw/chat".
func (h *Hub) Space(name string) *Space {
	h.mu.RLock()
	s := h.spaces[name]
	h.mu.RUnlock()
	if s != nil {
		return s
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s = h.spaces[name]; s == nil {
		s = newSpace(h, name)
		h.spaces[name] = s
	}
	return s
}

// Forget takes away a space that nothing uses any more.
func (h *Hub) Forget(s *Space) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.spaces, s.name)
}

// existing is Space for what comes from a broker, which may speak of a space that this node does not have.
func (h *Hub) existing(name string) *Space {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.spaces[name]
}

// Spaces lists the spaces there are, in no order.
func (h *Hub) Spaces() []*Space {
	h.mu.RLock()
	defer h.mu.RUnlock()
	list := make([]*Space, 0, len(h.spaces))
	for _, s := range h.spaces {
		list = append(list, s)
	}
	return list
}

// ID names the node.
func (h *Hub) ID() string { return h.nodeID }

// Deliver is of Node: it puts a publication into the queues of the subscribers.
func (h *Hub) Deliver(channel Address, p Publication) {
	if s := h.existing(channel.Space); s != nil {
		s.deliver(channel.Channel, p)
	}
}

// Do is of Node.
func (h *Hub) Do(space string, c Command) int {
	if s := h.existing(space); s != nil {
		return s.do(c)
	}
	return 0
}

// Subscribers is of Node.
func (h *Hub) Subscribers(channel Address) int {
	if s := h.existing(channel.Space); s != nil {
		return s.localSubscribers(channel.Channel)
	}
	return 0
}

// Occupied is of Node.
func (h *Hub) Occupied(space, prefix string) []ChannelInfo {
	if s := h.existing(space); s != nil {
		return s.occupied(prefix)
	}
	return nil
}

// Patience is the broker's.
func (h *Hub) Patience() time.Duration { return h.broker.Patience() }

// failed counts an error of the broker. They come by the thousand when a broker is lost: Stats shows them, the log stays quiet.
func (h *Hub) failed(err error) {
	if err != nil {
		h.brokerErrors.Add(1)
	}
}

// enter adds a connection, unless the hub stops.
func (h *Hub) enter() bool {
	h.gate.RLock()
	defer h.gate.RUnlock()
	if h.stopping {
		return false
	}
	h.serving.Add(1)
	return true
}

// stops reports whether the hub takes connections no more.
func (h *Hub) stops() bool {
	h.gate.RLock()
	defer h.gate.RUnlock()
	return h.stopping
}

// ConnID names a connection in the whole fleet. It is positive, and tells nothing about how many there are.
type ConnID int64

// String is the ID as users see it: 16 hexadecimal digits.
func (id ConnID) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return hex.EncodeToString(b[:])
}

// Owns reports whether the ID was given out by this node. One of 32768 other nodes looks the same.
func (h *Hub) Owns(id ConnID) bool { return uint64(id)>>idBits<<idBits == h.ids.node }

// ParseConnID reads what String wrote.
func ParseConnID(text string) (ConnID, error) {
	n, err := strconv.ParseUint(text, 16, 63)
	if err != nil || len(text) != 16 || n == 0 {
		return 0, errors.New("ws: a connection's ID is 16 hexadecimal digits")
	}
	return ConnID(n), nil
}

// idMaker counts, in an order that looks random: 15 bits name the node, 48 bits are a counter under a permutation.
type idMaker struct {
	node    uint64
	factor  uint64 // odd, so that multiplication is a permutation
	offset  uint64
	counter atomic.Uint64
}

const idBits = 48

func (m *idMaker) init(node string) {
	m.node = nodeBits(node)
	var b [16]byte
	rand.Read(b[:])
	m.factor = binary.LittleEndian.Uint64(b[:]) | 1
	m.offset = binary.LittleEndian.Uint64(b[8:])
}

func (m *idMaker) next() ConnID {
	for {
		n := (m.counter.Add(1)*m.factor + m.offset) & (1<<idBits - 1)
		if id := ConnID(m.node | n); id != 0 {
			return id
		}
	}
}
