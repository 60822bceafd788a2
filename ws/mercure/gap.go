package mercure

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/ws"
)

// With a broker, others publish while this node is away or has lost the broker, and nobody tells it what that was. Its history then has a gap
// somewhere before its latest update. Who comes back with an id from before that is answered with what there is, but not that it is everything.

// gapKey is where in the bucket meta the place is up to which something may be missing.
var gapKey = []byte("gap")

// miss notes that updates of other nodes may be missing behind those that have come so far. The log marks that.
func (s *Server) miss() {
	s.missed.Add(1)
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

// watchFleet has the broker tell when it was lost.
func (s *Server) watchFleet() {
	s.space.Handle(ws.Handlers{Interrupted: func(channel string) {
		if channel == fleetChannel {
			s.miss()
		}
	}})
}

// markGap is called between commits: what has come so far is from before the gap. The mark moves on until it is behind what waited when
// something was missed.
func (s *Server) markGap() {
	missed := s.missed.Load()
	if missed == s.marked {
		return
	}
	latest := s.registry.latest // only this goroutine changes it
	if s.gap.Swap(latest) != latest && s.history != nil {
		s.complain(s.history.mark(latest))
	}
	if len(s.incoming) == 0 {
		s.marked = missed
	}
}

// isWhole reports whether the updates behind a place are all there are.
func (s *Server) isWhole(place uint64) bool {
	gap := s.gap.Load()
	return gap == 0 || place > gap
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
