package telemetry_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// TestMetricsOfPlugins: what plugins define is shown under three names, whatever they call it.
func TestMetricsOfPlugins(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	telemetry.NewCollector(func() telemetry.Snapshot {
		return telemetry.Snapshot{Plugins: []wasmhost.PluginStats{
			{Name: "a", Metrics: []wasmhost.GuestMetric{
				{Name: "hits", Kind: abi.MetricCounter, Value: 6}, {Name: "depth", Kind: abi.MetricGauge, Value: -2},
				{Name: "ms", Kind: abi.MetricHistogram, Value: 30, Count: 2, Buckets: map[int64]uint64{10: 1, 20: 2}},
			}},
			{Name: "b", Metrics: []wasmhost.GuestMetric{{Name: "hits", Kind: abi.MetricGauge, Value: 1}}},
		}}
	}, nil).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`edge_plugin_counter{name="hits",plugin="a"} 6`, `edge_plugin_gauge{name="depth",plugin="a"} -2`, `edge_plugin_gauge{name="hits",plugin="b"} 1`,
		`edge_plugin_histogram_bucket{name="ms",plugin="a",le="10"} 1`, `edge_plugin_histogram_sum{name="ms",plugin="a"} 30`, `edge_plugin_histogram_count{name="ms",plugin="a"} 2`,
	} {
		if !strings.Contains(rec.Body.String(), want+"\n") {
			t.Errorf("lacks %s:\n%.300s", want, rec.Body)
		}
	}
}
