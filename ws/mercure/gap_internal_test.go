package mercure

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestGapBehindTheQueue has something missed while updates wait to be written: the mark comes in the transaction that writes the last of them,
// until then nothing is whole, and what cannot be written stays due.
func TestGapBehindTheQueue(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Publisher.Secret = "a secret of a hub for its tests, long enough"
	cfg.History.File = filepath.Join(testenv.Dir(t), "mercure.db")
	s, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.history = newHistory(cfg.History, s.now)
	if err := s.history.open(); err != nil {
		t.Fatal(err)
	}
	write := func() {
		s.commit(s.collect([]*publication{{update: &update{id: newID(), topics: []string{"t"}}}}))
	}
	expect := func(when string, place uint64, whole bool) {
		t.Helper()
		stored, err := s.history.gap()
		if err != nil || stored != place || s.isWhole(place+1) != whole {
			t.Errorf("%s: marked up to %d, %v, whole behind %d: %v; want %d, %v", when, stored, err, place, s.isWhole(place+1), place, whole)
		}
	}
	s.heard.Store(3)
	write()
	expect("nothing is missed", 0, true)
	s.miss()
	s.markGap()
	expect("two of three wait", 0, false)
	write()
	expect("one of three waits", 0, false)
	write()
	expect("all are written", 3, true)
	write()
	expect("one more", 3, true)

	if err := s.history.close(); err != nil {
		t.Fatal(err)
	}
	s.history.leave()
	s.miss()
	s.markGap()
	if s.isWhole(100) {
		t.Error("a mark that was not written is settled")
	}
	s.history.mu.Lock() // as open expects
	if err := s.history.open(); err != nil {
		t.Fatal(err)
	}
	s.markGap()
	expect("the second attempt", 4, true)
	if err := s.history.close(); err != nil {
		t.Fatal(err)
	}
}
