package raw

import (
	"container/list"
	"context"
	"sync"
)

// slots bound how many events are dealt with at a time. Who waits the longest comes first. A reload may change how many there are.
type slots struct {
	mu      sync.Mutex // guards what follows
	most    int
	taken   int       // may be more than most, after a reload
	waiting list.List // of chan struct{}, closed when its turn has come: with the slot taken
}

// take waits for a slot, and reports false when ctx ends before there is one.
func (s *slots) take(ctx context.Context) bool {
	s.mu.Lock()
	if s.taken < s.most { // then nobody waits
		s.taken++
		s.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	place := s.waiting.PushBack(turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-turn: // at the same moment
		s.taken--
		s.admit()
	default:
		s.waiting.Remove(place)
	}
	return false
}

// give gives a slot back.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.admit()
}

// resize lets those who wait have what is new.
func (s *slots) resize(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = most
	s.admit()
}

// admit needs s.mu.
func (s *slots) admit() {
	for s.taken < s.most && s.waiting.Len() > 0 {
		s.taken++
		close(s.waiting.Remove(s.waiting.Front()).(chan struct{}))
	}
}
