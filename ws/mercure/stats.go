package mercure

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/ws"
)

type counters struct {
	opened, published, delivered, dropped, behind     atomic.Uint64
	heartbeats, badTokens, historyErrors, fleetErrors atomic.Uint64

	slow, expired, rotated atomic.Uint64 // streams that ended so

	denied, limited, malformed, failed atomic.Uint64 // requests, by status

	fanOuts       atomic.Uint64
	fanOutTime    atomic.Int64
	kept, keptLen atomic.Int64

	complaints ws.Seldom
}

// ended counts why a stream did.
func (c *counters) ended(err error) {
	switch {
	case errors.Is(err, errTooSlow):
		c.slow.Add(1)
	case errors.Is(err, errExpired):
		c.expired.Add(1)
	case errors.Is(err, errRotated):
		c.rotated.Add(1)
	}
}

func (c *counters) refuse(status int) {
	switch {
	case status == 401 || status == 403:
		c.denied.Add(1)
	case status == 429 || status == 503:
		c.limited.Add(1)
	case status < 500:
		c.malformed.Add(1)
	default:
		c.failed.Add(1)
	}
}

func (c *counters) fannedOut(updates, deliveries int, took time.Duration) {
	c.fanOuts.Add(uint64(updates))
	c.delivered.Add(uint64(deliveries))
	c.fanOutTime.Add(int64(took))
}

// Stats is a snapshot. Everything but Subscribers, Subscriptions, Queued, Kept and KeptBytes only grows.
type Stats struct {
	Subscribers   int // streams that are open
	Subscriptions int // their selectors
	Queued        int // updates that wait for them
	Waiting       int // updates that wait to be written

	Opened     uint64 // streams
	Published  uint64 // by HTTP and RPC
	FanOuts    uint64 // updates that were handed out, the hub's own included
	FanOutTime time.Duration
	Delivered  uint64 // updates times streams
	Dropped    uint64 // of these, for want of room in a queue
	Behind     uint64 // times that a stream went on from the history because its queue was full

	Heartbeats uint64

	Slow    uint64 // streams that were ended because the client took too little
	Expired uint64 // because the token ended
	Rotated uint64 // because of their age

	BadTokens     uint64
	Refused       map[string]uint64 // requests, by reason: denied, limited, malformed, failed
	HistoryErrors uint64
	FleetErrors   uint64 // updates of other nodes that were lost here, or could not be read
	Kept          int64  // updates in the history
	KeptBytes     int64
}

// Stats takes a snapshot.
func (s *Server) Stats() Stats {
	c := &s.stats
	st := Stats{
		Waiting: len(s.incoming),
		Opened:  c.opened.Load(), Published: c.published.Load(), FanOuts: c.fanOuts.Load(), FanOutTime: time.Duration(c.fanOutTime.Load()),
		Delivered: c.delivered.Load(), Dropped: c.dropped.Load(), Behind: c.behind.Load(), Heartbeats: c.heartbeats.Load(),
		Slow: c.slow.Load(), Expired: c.expired.Load(), Rotated: c.rotated.Load(),
		BadTokens: c.badTokens.Load(), HistoryErrors: c.historyErrors.Load(), FleetErrors: c.fleetErrors.Load(), Kept: c.kept.Load(), KeptBytes: c.keptLen.Load(),
		Refused: map[string]uint64{
			"denied": c.denied.Load(), "limited": c.limited.Load(), "malformed": c.malformed.Load(), "failed": c.failed.Load(),
		},
	}
	for _, sub := range s.registry.list() {
		st.Subscribers++
		st.Subscriptions += len(sub.selectors)
		sub.mu.Lock()
		st.Queued += len(sub.queue)
		sub.mu.Unlock()
	}
	return st
}
