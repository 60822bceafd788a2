package rpc

import "time"

// SetPatience changes how long a client may take for an answer. It must be called before Start.
func (s *Server) SetPatience(d time.Duration) { s.patience = d }

// SetHurry changes how long a client may take to show that it knows the secret. It must be called before Start.
func (s *Server) SetHurry(d time.Duration) { s.hurry = d }
