package rpc

import "time"

// SetPatience changes how long a client may take for an answer. It must be called before Start.
func (s *Server) SetPatience(d time.Duration) { s.patience = d }

// SetHurry changes how long a client may take to show that it knows the secret. It must be called before Start.
func (s *Server) SetHurry(d time.Duration) { s.hurry = d }

// MakeKeen makes lines eager after a few calls, however slow, and patient again after a pause. It must be called before Start.
func (s *Server) MakeKeen(pause time.Duration) {
	s.keen.soon, s.keen.enough, s.keen.pause = time.Minute, 3, pause
	s.keen.seats.Store(keenSeats)
}

const keenSeats = 2

// Eager is how many lines are.
func (s *Server) Eager() int { return keenSeats - int(s.keen.seats.Load()) }
