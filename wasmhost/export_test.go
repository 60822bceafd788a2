package wasmhost

import "time"

// DrainFor is how long requests of replaced content keep instances that wait for the rest of the chain.
func (h *Host) DrainFor(d time.Duration) { h.patience = d }
