package fleet

import (
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/ws"
)

// counters are what a broker counts.
type counters struct {
	asked      atomic.Uint64
	askedTime  atomic.Int64
	errors     atomic.Uint64
	full       atomic.Uint64
	received   atomic.Uint64
	recovered  atomic.Uint64
	gaps       atomic.Uint64
	duplicates atomic.Uint64
	malformed  atomic.Uint64
	local      atomic.Uint64
	losses     atomic.Uint64
	heals      atomic.Uint64
	partial    atomic.Uint64
}

func (c *counters) failed(err error) {
	if err != nil {
		c.errors.Add(1)
	}
}

// BrokerStats takes a snapshot.
func (b *Broker) BrokerStats() ws.BrokerStats {
	c := &b.stats
	s := ws.BrokerStats{
		Driver: b.opts.Name, Parts: len(b.lanes), Peers: len(b.peers.alive(b.opts.Lease)), Waiting: len(b.slots),
		Operations: c.asked.Load(), OperationTime: time.Duration(c.askedTime.Load()), Errors: c.errors.Load(), Full: c.full.Load(),
		Received: c.received.Load(), Recovered: c.recovered.Load(), Gaps: c.gaps.Load(), Duplicates: c.duplicates.Load(),
		Malformed: c.malformed.Load(), Local: c.local.Load(), Losses: c.losses.Load(), Heals: c.heals.Load(), Partial: c.partial.Load(),
	}
	for _, l := range b.lanes {
		if l.online.Load() {
			continue
		}
		s.Lost++
		l.mu.Lock()
		if l.why != nil {
			s.Why = l.why.Error()
		}
		l.mu.Unlock()
	}
	return s
}
