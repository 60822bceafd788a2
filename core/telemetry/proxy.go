package telemetry

import "github.com/edge-server/edge/core/proxy"

// proxy is what the upstreams of a route do.
func (m metrics) proxy(s proxy.Stats) {
	route := []string{"route", s.Name}
	m.counter("edge_proxy_unavailable_total", "Requests for which there was no upstream.", s.Unavailable, route...)
	m.counter("edge_proxy_mirrored_total", "Copies of requests that were sent.", s.Mirrored, route...)
	m.counter("edge_proxy_failed_mirrors_total", "Copies of requests that had no answer.", s.MirrorFailed, route...)
	m.counter("edge_proxy_dropped_mirrors_total", "Copies of requests that were not sent: too many, or too large.", s.MirrorDropped, route...)
	for _, u := range s.Upstreams {
		labels := []string{"route", s.Name, "upstream", u.URL}
		m.gauge("edge_proxy_upstream_healthy", "1 while the checks find the upstream well.", boolean(u.Healthy), labels...)
		m.gauge("edge_proxy_upstream_ejected", "1 while the upstream is left out because of failures.", boolean(u.Ejected), labels...)
		m.gauge("edge_proxy_upstream_active_requests", "Requests that the upstream has.", float64(u.Active), labels...)
		m.counter("edge_proxy_upstream_requests_total", "Requests sent to the upstream.", u.Requests, labels...)
		m.counter("edge_proxy_upstream_retries_total", "Of these, those that another upstream had failed with.", u.Retries, labels...)
		m.counter("edge_proxy_upstream_ejections_total", "Times that the upstream was left out because of failures.", u.Ejections, labels...)
		m.counter("edge_proxy_upstream_failed_checks_total", "Checks that the upstream did not pass.", u.ChecksFailed, labels...)
		m.seconds("edge_proxy_upstream_wait_seconds_total", "Time until answers began.", u.Waited.Seconds(), labels...)
		for reason, n := range u.Failed {
			m.counter("edge_proxy_upstream_failures_total", "Requests that the upstream failed with.", n, "route", s.Name, "upstream", u.URL, "reason", reason)
		}
	}
}
