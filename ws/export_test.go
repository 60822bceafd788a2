package ws

// WriteAlone has every message leave in a write of its own, so that what coalescing saves can be measured.
func (h *Hub) WriteAlone() { h.writers.items = 1 }
