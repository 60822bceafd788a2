package telemetry

import "github.com/edge-server/edge/core/httpcache"

// httpCache is a response cache.
func (m metrics) httpCache(s httpcache.Stats) {
	labels := []string{"cache", s.Name}
	for result, n := range s.Results {
		m.counter("edge_http_cache_requests_total", "Requests that came to a response cache, by what became of them.", n, "cache", s.Name, "result", result)
	}
	m.counter("edge_http_cache_stored_total", "Answers written to the store.", s.Stored, labels...)
	m.counter("edge_http_cache_skipped_total", "Answers that could have been stored and were not: too large, too many at once, purged meanwhile, the store away.", s.Skipped, labels...)
	m.counter("edge_http_cache_purged_total", "Tags, URLs and entries under prefixes that were purged by this server.", s.Purged, labels...)
	m.counter("edge_http_cache_store_errors_total", "Calls to the store that failed or took too long.", s.Errors, labels...)
	m.gauge("edge_http_cache_held_bytes", "Answers in memory that are being fetched or stored.", float64(s.Held), labels...)
	m.gauge("edge_http_cache_store_up", "0 while the store fails and requests go to their targets.", boolean(!s.Down), labels...)
}
