package rpc

import "time"

// SetPatience changes how long a client may take for an answer. It must be called before Start.
func (s *Server) SetPatience(d time.Duration) { s.patience = d }
