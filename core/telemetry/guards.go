package telemetry

import (
	"maps"
	"slices"

	"github.com/edge-server/edge/core/guard"
)

// Guards is what the guards of the http section have counted, by name.
type Guards struct {
	RateLimits  map[string]RateLimit
	Concurrency map[string]guard.GateStats
	BasicAuth   map[string]guard.AuthStats
	Access      map[string]guard.AccessStats
}

// RateLimit is what a rate limit has counted. Failed requests were served, since nobody could count them.
type RateLimit struct{ Allowed, Refused, Failed uint64 }

func (m metrics) guards(s Guards) {
	for _, name := range slices.Sorted(maps.Keys(s.RateLimits)) {
		l := s.RateLimits[name]
		for result, n := range map[string]uint64{"allowed": l.Allowed, "refused": l.Refused, "failed": l.Failed} {
			m.counter("edge_rate_limit_requests_total", "Requests at a rate limit; failed ones could not be counted, and were served.", n, "limit", name, "result", result)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Concurrency)) {
		g := s.Concurrency[name]
		m.gauge("edge_concurrency_active_requests", "Requests that run within a concurrency limit.", float64(g.Active), "limit", name)
		m.gauge("edge_concurrency_waiting_requests", "Requests that wait at a concurrency limit.", float64(g.Waiting), "limit", name)
		m.counter("edge_concurrency_waited_total", "Requests that ran after a wait.", g.Waited, "limit", name)
		for result, n := range map[string]uint64{"served": g.Served, "queue_full": g.Refused, "queue_timeout": g.Expired} {
			m.counter("edge_concurrency_requests_total", "Requests at a concurrency limit, by what became of them.", n, "limit", name, "result", result)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.BasicAuth)) {
		a := s.BasicAuth[name]
		for result, n := range map[string]uint64{"accepted": a.Accepted, "asked": a.Asked, "refused": a.Refused, "busy": a.Busy} {
			m.counter("edge_basic_auth_requests_total", "Requests that need a password: asked ones had none, refused ones a wrong one.", n, "name", name, "result", result)
		}
		m.counter("edge_basic_auth_hashes_total", "Hashes of passwords that were computed.", s.BasicAuth[name].Hashes, "name", name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Access)) {
		l := s.Access[name]
		for result, n := range map[string]uint64{"allowed": l.Allowed, "refused": l.Refused} {
			m.counter("edge_access_requests_total", "Requests at a list of addresses.", n, "name", name, "result", result)
		}
	}
}
