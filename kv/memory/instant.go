package memory

import "github.com/edge-server/edge/kv"

var _ kv.Instant = (*Store)(nil)

var _ kv.Peeker = (*Store)(nil)

// Peek implements kv.Peeker.
func (s *Store) Peek(key string) (value []byte, found, ok bool) {
	if s.closed.Load() {
		return nil, false, false
	}
	e, found := s.look(key)
	if !found || e.set != nil {
		s.misses.Add(1)
		return nil, false, true
	}
	s.hits.Add(1)
	return e.value, true, true
}

// Instant implements kv.Instant.
func (s *Store) Instant() {}
