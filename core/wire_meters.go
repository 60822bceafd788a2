package core

import (
	"net/http"
	"sync"

	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/telemetry"
)

const (
	// unmatched stands for requests that no route takes.
	unmatched = "(none)"
	// otherRoutes stands for the routes past maxMeters: a file may have tens of thousands.
	otherRoutes = "(others)"
	maxMeters   = 500
)

// meters count the requests of routes, by name. Those of routes that are gone stay: a counter must not go back.
type meters struct {
	statuses *middleware.StatusMeters // nil without RoadRunner's names

	mu     sync.Mutex // protects routes
	routes map[string]*middleware.Meter
}

func newMeters(cfg *Config) *meters {
	m := &meters{routes: map[string]*middleware.Meter{}}
	if cfg.Telemetry.Metrics.roadRunner() {
		m.statuses = &middleware.StatusMeters{}
	}
	return m
}

// roadRunner reports whether there are metrics by RoadRunner's names.
func (c *MetricsConfig) roadRunner() bool { return c != nil && c.Names != telemetry.EdgeNames }

func (m *meters) measure(route string, next http.Handler) http.Handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	meter, ok := m.routes[route]
	if !ok {
		if len(m.routes) >= maxMeters {
			route = otherRoutes
		}
		if meter = m.routes[route]; meter == nil {
			meter = &middleware.Meter{}
			m.routes[route] = meter
		}
	}
	return middleware.Measure(meter, m.statuses)(next)
}

func (m *meters) stats() map[string]middleware.MeterStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]middleware.MeterStats, len(m.routes))
	for name, meter := range m.routes {
		all[name] = meter.Stats()
	}
	return all
}
