package telemetry

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/php"
)

// Names are which names metrics have.
const (
	EdgeNames       = "edge"
	RoadRunnerNames = "roadrunner"
	BothNames       = "both"
)

// route is the RED of one route: its name, and there are as many as the configuration has.
func (m metrics) route(name string, s middleware.MeterStats) {
	for class, n := range s.Classes {
		if class > 0 {
			m.counter("edge_route_requests_total", "Requests of a route, by the class of the status.", n, "route", name, "class", strconv.Itoa(class)+"xx")
		}
	}
	m.gauge("edge_route_requests_in_flight", "Requests of a route that are being served.", float64(s.InFlight), "route", name)
	m.durations("edge_route_duration_seconds", "How long requests of a route took, to the last byte of the answer.", s, 0, "route", name)
}

// durations is a histogram of the bounds of at least from.
func (m metrics) durations(name, help string, s middleware.MeterStats, from time.Duration, labels ...string) {
	buckets, total := map[float64]uint64{}, uint64(0)
	for i, bound := range middleware.DurationBounds {
		total += s.Buckets[i]
		if bound >= from {
			buckets[bound.Seconds()] = total
		}
	}
	total += s.Buckets[len(middleware.DurationBounds)]
	names, values := pairs(labels)
	m.out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, names, nil), total, s.Took.Seconds(), buckets, values...)
}

func (m metrics) service(s services.Stats) {
	running := 0
	var memory int64
	for _, p := range s.Processes {
		if p.PID != 0 {
			running++
			memory += p.Memory
		}
	}
	m.gauge("edge_service_processes", "Processes of a service, by state.", float64(running), "service", s.Name, "state", "running")
	m.gauge("edge_service_processes", "Processes of a service, by state.", float64(len(s.Processes)-running), "service", s.Name, "state", "ended")
	m.gauge("edge_service_memory_bytes", "Resident memory of the processes of a service.", float64(memory), "service", s.Name)
	m.counter("edge_service_restarts_total", "Starts of a process of a service after one that has ended.", s.Restarts, "service", s.Name)
	m.counter("edge_service_failures_total", "Processes of a service that were killed, or whose exit code was not 0.", s.Failures, "service", s.Name)
}

// firstRoadRunnerBound is the least bound of RoadRunner's histograms, which are those of the Prometheus client.
const firstRoadRunnerBound = 5 * time.Millisecond

// roadRunner are the metrics of RoadRunner's http plugin and of its middleware http_metrics, over all pools.
func (m metrics) roadRunner(s Snapshot) {
	var ready, working, invalid, queue int
	var memory int64
	var noFree uint64
	for _, pool := range s.PHP {
		ready, working, invalid = ready+pool.Idle, working+pool.Busy, invalid+pool.Booting+pool.Stopping
		queue += pool.Queued + pool.Busy
		memory += pool.Memory
		noFree += pool.QueueFull + pool.QueueTimeouts
	}
	m.gauge("rr_http_total_workers", "Total number of workers used by the plugin.", float64(ready+working+invalid))
	m.gauge("rr_http_workers_memory_bytes", "Memory usage by workers.", float64(memory))
	m.gauge("rr_http_workers_ready", "Workers currently in ready state.", float64(ready))
	m.gauge("rr_http_workers_working", "Workers currently in working state.", float64(working))
	m.gauge("rr_http_workers_invalid", "Workers currently in invalid, killing, destroyed, errored, inactive states.", float64(invalid))
	m.gauge("rr_http_requests_queue", "Total number of queued requests.", float64(queue))
	m.counter("rr_http_no_free_workers_total", "Total number of NoFreeWorkers occurrences.", noFree)
	m.gauge("rr_http_uptime_seconds", "Uptime in seconds.", s.Uptime.Seconds())
	for _, pool := range slices.Sorted(maps.Keys(s.Workers)) {
		for _, w := range s.Workers[pool] {
			pid := strconv.Itoa(w.PID)
			m.gauge("rr_http_worker_state", "Worker current state.", 1, "state", roadRunnerState(w), "pid", pid)
			m.gauge("rr_http_worker_memory_bytes", "Worker current memory usage.", float64(w.RSS), "pid", pid)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(s.Statuses)) {
		of, code := s.Statuses[status], strconv.Itoa(status)
		m.counter("rr_http_request_total", "Total number of handled http requests after server restart.", of.Classes[status/100], "status", code)
		m.durations("rr_http_request_duration_seconds", "HTTP request duration.", of, firstRoadRunnerBound, "status", code)
	}
}

func roadRunnerState(w php.WorkerInfo) string {
	switch w.State {
	case php.StateIdle.String():
		return "ready"
	case php.StateBusy.String():
		return "working"
	}
	return "inactive"
}
