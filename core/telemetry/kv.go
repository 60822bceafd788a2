package telemetry

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-server/edge/kv"
)

func (m metrics) kv(store string, s kv.Stats) {
	labels := []string{"store", store, "driver", s.Driver}
	if s.Counts {
		m.gauge("edge_kv_keys", "Keys; expired ones that were not swept yet may be counted.", float64(s.Keys), labels...)
		m.gauge("edge_kv_bytes", "Bytes as max_size counts them.", float64(s.Bytes), labels...)
	}
	m.gauge("edge_kv_max_bytes", "The bound of edge_kv_bytes; 0 without one.", float64(s.MaxBytes), labels...)
	m.counter("edge_kv_hits_total", "Keys found by reads.", s.Hits, labels...)
	m.counter("edge_kv_misses_total", "Keys not found by reads.", s.Misses, labels...)
	m.counter("edge_kv_sets_total", "Keys written.", s.Sets, labels...)
	m.counter("edge_kv_refused_total", "Writes refused because the store is full.", s.Refused, labels...)
	m.counter("edge_kv_expired_total", "Keys that expired.", s.Expired, labels...)
	m.counter("edge_kv_evicted_total", "Keys that went before their deadline to make room.", s.Evicted, labels...)
}

// kvOps are the operations of a store. Their labels are the names of the configuration and of the program, so there are few.
func (m metrics) kvOps(store string, k kv.Metrics) {
	m.counter("edge_kv_read_bytes_total", "Bytes of values that reads returned.", k.BytesRead, "store", store)
	m.counter("edge_kv_written_bytes_total", "Bytes of values that were written.", k.BytesWritten, "store", store)
	if near := k.Near; near != nil {
		m.gauge("edge_kv_local_bytes", "Bytes of the copies that a two-tier store keeps in the memory of this server.", float64(near.Bytes), "store", store)
		m.counter("edge_kv_local_hits_total", "Reads of keys that a copy answered.", near.Hits, "store", store)
		m.counter("edge_kv_local_misses_total", "Reads of keys that went to the driver.", near.Misses, "store", store)
		m.counter("edge_kv_local_evicted_total", "Copies that went to make room for others.", near.Evicted, "store", store)
	}
	for _, name := range slices.Sorted(maps.Keys(k.Ops)) {
		op := k.Ops[name]
		labels := []string{"store", store, "operation", name}
		m.counter("edge_kv_failed_operations_total", "Operations that ended with an error.", op.Failed, labels...)
		buckets := make(map[float64]uint64, len(kv.LatencyBounds))
		total := uint64(0)
		for i, bound := range kv.LatencyBounds {
			total += op.Buckets[i]
			buckets[bound.Seconds()] = total
		}
		names, values := pairs(labels)
		desc := prometheus.NewDesc("edge_kv_operation_seconds", "Time of operations on stores, waits for leases included.", names, nil)
		m.out <- prometheus.MustNewConstHistogram(desc, op.Calls, op.Took.Seconds(), buckets, values...)
	}
}
