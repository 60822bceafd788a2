package ws

import (
	"sync/atomic"
	"time"
)

// counters are what a space counts.
type counters struct {
	opened    atomic.Uint64
	received  atomic.Uint64 // messages
	published atomic.Uint64
	delivered atomic.Uint64 // publications times subscribers
	dropped   atomic.Uint64
	slow      atomic.Uint64 // connections that were disconnected for it
	lost      atomic.Uint64 // connections that did not answer a ping
	flooded   atomic.Uint64 // connections that sent more than limits.rate
	malformed atomic.Uint64 // connections that broke the protocol
	channels  atomic.Int64

	refusedFull      atomic.Uint64
	refusedIP        atomic.Uint64
	refusedUser      atomic.Uint64
	refusedOrigin    atomic.Uint64
	refusedHandshake atomic.Uint64
	refusedProtocol  atomic.Uint64 // by Accept

	fanOuts    atomic.Uint64
	fanOutTime atomic.Int64 // nanoseconds
}

func (c *counters) fannedOut(subscribers int, took time.Duration) {
	c.delivered.Add(uint64(subscribers))
	c.fanOuts.Add(1)
	c.fanOutTime.Add(int64(took))
}

// Stats is a snapshot of a hub.
type Stats struct {
	Spaces       []SpaceStats
	BrokerErrors uint64
	Broker       *BrokerStats // nil for the memory broker
}

// BrokerStats is a snapshot of what joins this node to others. Everything but the first seven only grows.
type BrokerStats struct {
	Driver  string
	Parts   int    // that are lost and healed by themselves
	Lost    int    // of these, now
	Why     string // one of them is lost
	Peers   int    // other nodes
	Waiting int    // operations under way

	Operations    uint64
	OperationTime time.Duration
	Errors        uint64
	Full          uint64 // operations for which the queue had no room
	Received      uint64 // publications
	Recovered     uint64 // of these, from what the server keeps
	Gaps          uint64 // times when that did not reach back far enough
	Duplicates    uint64 // that were not delivered again
	Malformed     uint64 // messages that no node can have sent
	Local         uint64 // publications that reached this node alone
	Losses        uint64
	Heals         uint64
	Partial       uint64 // lists of channels without a node that did not answer
}

// SpaceStats is a snapshot of a space. Everything but Connections, Channels and Queued only grows.
type SpaceStats struct {
	Name        string
	Connections int
	Channels    int
	Queued      int // messages that wait for clients

	Opened    uint64
	Received  uint64 // messages of clients
	Published uint64
	Delivered uint64 // publications times subscribers of this node
	Dropped   uint64 // of these, for want of room in a queue

	// Connections that were ended.
	Slow      uint64 // took too little
	Lost      uint64 // did not answer a ping
	Flooded   uint64 // sent more than limits.rate
	Malformed uint64 // broke the protocol

	// Handshakes that were refused, by reason: full, ip, user, origin, handshake, protocol.
	Refused map[string]uint64

	// FanOuts is how many publications were put into queues on this node, FanOutTime how long that took in all.
	FanOuts    uint64
	FanOutTime time.Duration
}

// Broker takes a snapshot of what joins this node to others, nil when nothing does.
func (h *Hub) Broker() *BrokerStats {
	if b, ok := h.broker.(interface{ BrokerStats() BrokerStats }); ok {
		stats := b.BrokerStats()
		return &stats
	}
	return nil
}

// Stats takes a snapshot.
func (h *Hub) Stats() Stats {
	stats := Stats{BrokerErrors: h.brokerErrors.Load()}
	stats.Broker = h.Broker()
	for _, s := range h.Spaces() {
		stats.Spaces = append(stats.Spaces, s.Stats())
	}
	return stats
}

// Stats takes a snapshot.
func (s *Space) Stats() SpaceStats {
	c := &s.counters
	queued := 0
	for _, conn := range s.Conns() {
		queued += conn.Queued()
	}
	return SpaceStats{
		Queued: queued,
		Name:   s.name, Connections: s.Len(), Channels: int(c.channels.Load()),
		Opened: c.opened.Load(), Received: c.received.Load(), Published: c.published.Load(), Delivered: c.delivered.Load(),
		Dropped: c.dropped.Load(), Slow: c.slow.Load(), Lost: c.lost.Load(), Flooded: c.flooded.Load(), Malformed: c.malformed.Load(),
		Refused: map[string]uint64{
			"full": c.refusedFull.Load(), "ip": c.refusedIP.Load(), "user": c.refusedUser.Load(), "origin": c.refusedOrigin.Load(),
			"handshake": c.refusedHandshake.Load(), "protocol": c.refusedProtocol.Load(),
		},
		FanOuts: c.fanOuts.Load(), FanOutTime: time.Duration(c.fanOutTime.Load()),
	}
}
