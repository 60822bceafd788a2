package wasmhost

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const maxMetrics = 64 // of a plugin

// metricBuckets are the upper bounds of histograms.
var metricBuckets = [...]int64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000}

// GuestMetric is a metric of a plugin's own at one moment.
type GuestMetric struct {
	Name  string
	Kind  uint32 // abi.MetricCounter, …
	Value int64  // of a counter or a gauge; of a histogram the sum

	Count   uint64           // of a histogram
	Buckets map[int64]uint64 // of a histogram: how many were at most so large
}

// guestMetrics are those of a plugin. They outlive its contents, so that a swap resets no counter.
type guestMetrics struct {
	mu   sync.RWMutex // guards list
	list []*guestMetric
}

type guestMetric struct {
	name    string
	kind    uint32
	value   atomic.Int64
	buckets [len(metricBuckets) + 1]atomic.Uint64
}

func metricsFunctions() []edgeFunction {
	return []edgeFunction{
		{abi.MetricsDefine, "iii:i", always, metricsDefine},
		{abi.MetricsAdd, "iI:i", always, metricsAdd},
		{abi.MetricsSet, "iI:i", always, metricsSet},
		{abi.MetricsObserve, "iI:i", always, metricsObserve},
	}
}

func metricsDefine(i *instance, mem api.Memory, s []uint64) (int64, error) {
	kind := uint32(s[0])
	name, err := textAt(mem, s[1], s[2], 64)
	switch {
	case err != nil:
		return 0, err
	case !validLabel(name):
		return 0, refusal(abi.ErrInvalid, "%.64q is no name for a metric: 1 to 64 of a-z A-Z 0-9 _ . -", name)
	case kind > abi.MetricHistogram:
		return 0, refusal(abi.ErrInvalid, "%d is no kind of metric: 0 counter, 1 gauge, 2 histogram", kind)
	}
	return i.gen.ext.plugin.metrics.define(kind, name)
}

func (m *guestMetrics) define(kind uint32, name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, known := range m.list {
		if known.name != name {
			continue
		}
		if known.kind != kind {
			return 0, refusal(abi.ErrExists, "%q is the name of a metric of another kind", name)
		}
		return int64(n) + 1, nil
	}
	if len(m.list) == maxMetrics {
		return 0, refusal(abi.ErrLimit, "a plugin has at most %d metrics", maxMetrics)
	}
	m.list = append(m.list, &guestMetric{name: name, kind: kind})
	return int64(len(m.list)), nil
}

func (i *instance) metric(id uint64, kinds ...uint32) (*guestMetric, error) {
	m := &i.gen.ext.plugin.metrics
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := int64(uint32(id))
	if n < 1 || n > int64(len(m.list)) {
		return nil, refusal(abi.ErrInvalid, "%d is not a metric", int32(n))
	}
	metric := m.list[n-1]
	for _, kind := range kinds {
		if metric.kind == kind {
			return metric, nil
		}
	}
	return nil, refusal(abi.ErrInvalid, "the metric %q is of another kind", metric.name)
}

func metricsAdd(i *instance, _ api.Memory, s []uint64) (int64, error) {
	metric, err := i.metric(s[0], abi.MetricCounter, abi.MetricGauge)
	if err != nil {
		return 0, err
	}
	delta := int64(s[1])
	if delta < 0 && metric.kind == abi.MetricCounter {
		return 0, refusal(abi.ErrInvalid, "a counter only grows; %d was to be added", delta)
	}
	metric.value.Add(delta)
	return 0, nil
}

func metricsSet(i *instance, _ api.Memory, s []uint64) (int64, error) {
	metric, err := i.metric(s[0], abi.MetricGauge)
	if err == nil {
		metric.value.Store(int64(s[1]))
	}
	return 0, err
}

func metricsObserve(i *instance, _ api.Memory, s []uint64) (int64, error) {
	metric, err := i.metric(s[0], abi.MetricHistogram)
	if err != nil {
		return 0, err
	}
	value := int64(s[1])
	metric.value.Add(value)
	metric.buckets[sort.Search(len(metricBuckets), func(n int) bool { return value <= metricBuckets[n] })].Add(1)
	return 0, nil
}

// snapshot is what Stats shows.
func (m *guestMetrics) snapshot() []GuestMetric {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []GuestMetric
	for _, metric := range m.list {
		g := GuestMetric{Name: metric.name, Kind: metric.kind, Value: metric.value.Load()}
		if metric.kind == abi.MetricHistogram {
			g.Buckets = map[int64]uint64{}
			for n, bound := range metricBuckets {
				g.Count += metric.buckets[n].Load()
				g.Buckets[bound] = g.Count
			}
			g.Count += metric.buckets[len(metricBuckets)].Load()
		}
		list = append(list, g)
	}
	return list
}
