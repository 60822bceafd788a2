package middleware

import (
	"net/http"
	"sync/atomic"
	"time"
)

// DurationBounds are the upper ends of the buckets in which the time of requests is counted; one more is for what took longer.
var DurationBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Meter counts requests: how many, what became of them, how long they took. Its zero value is ready.
type Meter struct {
	classes  [6]atomic.Uint64 // by the first digit of the status; 0 is none that HTTP knows
	inFlight atomic.Int64
	buckets  [len(DurationBounds) + 1]atomic.Uint64
	nanos    atomic.Uint64
}

// MeterStats is what a Meter has counted. A connection that was taken over, as for a WebSocket, is in Classes[1] and has no duration.
type MeterStats struct {
	Classes  [6]uint64
	InFlight int64
	Buckets  [len(DurationBounds) + 1]uint64
	Took     time.Duration
}

// Stats reads the counts.
func (m *Meter) Stats() MeterStats {
	s := MeterStats{InFlight: m.inFlight.Load(), Took: time.Duration(m.nanos.Load())}
	for i := range m.classes {
		s.Classes[i] = m.classes[i].Load()
	}
	for i := range m.buckets {
		s.Buckets[i] = m.buckets[i].Load()
	}
	return s
}

func (m *Meter) done(status int, took time.Duration) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	m.classes[class].Add(1)
	if status == http.StatusSwitchingProtocols {
		return
	}
	at := 0
	for at < len(DurationBounds) && took > DurationBounds[at] {
		at++
	}
	m.buckets[at].Add(1)
	m.nanos.Add(uint64(took))
}

// StatusMeters counts requests by status, each in a Meter that is made for the first one.
type StatusMeters struct {
	meters [500]atomic.Pointer[Meter] // from 100 on
}

func (s *StatusMeters) done(status int, took time.Duration) {
	if status < 100 || status > 599 {
		return
	}
	at := &s.meters[status-100]
	m := at.Load()
	if m == nil {
		at.CompareAndSwap(nil, &Meter{})
		m = at.Load()
	}
	m.done(status, took)
}

// Stats reads the counts, by status.
func (s *StatusMeters) Stats() map[int]MeterStats {
	all := map[int]MeterStats{}
	for i := range s.meters {
		if m := s.meters[i].Load(); m != nil {
			all[100+i] = m.Stats()
		}
	}
	return all
}

// Measure counts the requests of next in m, and in statuses when that is not nil.
func Measure(m *Meter, statuses *StatusMeters) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began, rec, finished := time.Now(), record(w), false
			m.inFlight.Add(1)
			defer func() {
				m.inFlight.Add(-1)
				a := access{context: r.Context(), rec: rec, finished: finished}
				took := time.Since(began)
				m.done(a.status(), took)
				if statuses != nil {
					statuses.done(a.status(), took)
				}
			}()
			next.ServeHTTP(rec, r)
			finished = true
		})
	}
}
