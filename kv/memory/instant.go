package memory

import "github.com/edge-server/edge/kv"

var _ kv.Instant = (*Store)(nil)

// Instant implements kv.Instant.
func (s *Store) Instant() {}
