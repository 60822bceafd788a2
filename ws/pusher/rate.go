package pusher

import (
	"sync"
	"time"
)

// A meter allows so many events within a second: a bucket that fills evenly. The zero value with a rate of 0 allows all.
type meter struct {
	mu   sync.Mutex // guards what follows
	rate float64
	full time.Time // when the bucket will be full again
}

func (m *meter) setRate(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate = float64(n)
}

// take reports whether n more events are allowed now, and counts them if so.
func (m *meter) take(n int, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.takeLocked(n, now)
}

// takeAt is take at a rate that is asked for each time.
func (m *meter) takeAt(rate, n int, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate = float64(rate)
	return m.takeLocked(n, now)
}

func (m *meter) takeLocked(n int, now time.Time) bool {
	if m.rate == 0 {
		return true
	}
	full := m.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Duration(float64(n) / m.rate * float64(time.Second)))
	if full.Sub(now) > time.Second {
		return false
	}
	m.full = full
	return true
}
