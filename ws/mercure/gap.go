package mercure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/ws"
)

// With a broker, others publish while this node is away or has lost the broker, and nobody tells it what that was. Its history then has a gap
// somewhere before its latest update. Who comes back with an id from before that is answered with what there is, but not that it is everything.
// Streams that stayed over it are sent away for that answer.

// gap is where something may be missing. While it is not known how far that goes, nothing is said to be whole.
type gap struct {
	mu     sync.Mutex // guards the following
	place  uint64     // something may be missing up to here; 0: nowhere
	missed uint64     // times that something may have been lost,
	marked uint64     // and how many of these place is behind
	after  uint64     // updates that had been heard the last time: the log marks behind them
	lost   bool       // the broker is
	round  bool       // streams that stayed are sent away
	again  bool       // and once more then

	telling sync.WaitGroup
}

// gapKey is where in the bucket meta the place is up to which something may be missing.
var gapKey = []byte("gap")

// miss notes that updates of other nodes may be missing behind those that have come so far. The log marks that.
func (s *Server) miss() {
	s.gap.mu.Lock()
	s.missLocked()
	s.gap.mu.Unlock()
}

func (s *Server) missLocked() {
	s.gap.missed++
	s.gap.after = s.heard.Load()
	select {
	case s.missing <- struct{}{}:
	default:
	}
}

// wasAway is for a beginning without an older process that has listened to the others until now.
func (s *Server) wasAway() {
	if s.space != nil {
		s.miss()
	}
}

// watchFleet has the broker tell when it is lost, and when it is back. What it returns ends that, after Listen's.
func (s *Server) watchFleet() (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s.space.Handle(ws.Handlers{Interrupted: func(channel string, lost bool) {
		if channel == fleetChannel {
			s.interrupted(ctx, lost)
		}
	}})
	return func() {
		g := &s.gap
		g.mu.Lock()
		cancel()
		if g.lost || g.round {
			s.missLocked()
		}
		g.lost, g.round, g.again = false, false, false
		g.mu.Unlock()
		g.telling.Wait()
	}
}

// interrupted must not wait.
func (s *Server) interrupted(ctx context.Context, lost bool) {
	g := &s.gap
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if g.lost = lost; lost {
		return
	}
	s.missLocked()
	if s.history == nil {
		return // streams that go would miss what comes until they are back
	}
	if g.again = g.round; !g.round {
		g.round = true
		g.telling.Go(func() { s.tellStreams(ctx) }) // ends with ctx, or the streams of now, whose writes have a timeout
	}
}

// tellStreams sends away who listened while something was missed. Until they have gone nothing is whole, and the mark is behind what they had.
func (s *Server) tellStreams(ctx context.Context) {
	g := &s.gap
	for more := true; more && ctx.Err() == nil; {
		all := s.registry.list()
		s.sendAllAway(ctx, all, partingTime)
		for all = s.registry.of(all); len(all) > 0 && ctx.Err() == nil; all = s.registry.of(all) {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
		g.mu.Lock()
		if more, g.again = g.again, false; !more && ctx.Err() == nil {
			g.round = false
			s.missLocked()
		}
		g.mu.Unlock()
	}
}

// gapIsDue tells the log whether it is to mark its latest place, and with how much that is settled.
func (s *Server) gapIsDue() (missed uint64, due bool) {
	g := &s.gap
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.missed, g.missed != g.marked && s.logged >= g.after
}

// settle is for a mark that is on the disk.
func (g *gap) settle(missed, place uint64) {
	g.mu.Lock()
	g.marked, g.place = missed, place
	g.mu.Unlock()
}

// restore is for the mark of a process before this one.
func (g *gap) restore(place uint64) {
	g.mu.Lock()
	g.place = place
	g.mu.Unlock()
}

// markGap is for a mark that no updates come with.
func (s *Server) markGap() {
	missed, due := s.gapIsDue()
	if !due {
		return
	}
	latest := s.registry.latest // only this goroutine changes it
	if s.history != nil {
		if err := s.history.mark(latest); err != nil {
			s.complain(err)
			return // it stays due
		}
	}
	s.gap.settle(missed, latest)
}

// isWhole reports whether the updates behind a place are all there are.
func (s *Server) isWhole(place uint64) bool {
	g := &s.gap
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.lost && !g.round && g.missed == g.marked && (g.place == 0 || place > g.place)
}

// mark remembers that something may be missing up to a place.
func (h *history) mark(place uint64) error {
	err := h.update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(gapKey, seqKeyOf(place)) })
	if err != nil && !errors.Is(err, errMoved) {
		err = fmt.Errorf("history: %s: %w", h.path, err)
	}
	return err
}

// gap is what mark has remembered.
func (h *history) gap() (place uint64, err error) {
	err = h.view(func(tx *bolt.Tx) error {
		place = seqOf(tx.Bucket(metaBucket).Get(gapKey))
		return nil
	})
	return place, err
}
