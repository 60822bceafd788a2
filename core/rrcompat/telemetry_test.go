package rrcompat

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTelemetry: the application's metrics and where traces go.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	r, err := translate(`
server: {command: php w.php}
metrics:
  address: 127.0.0.1:2112
  collect:
    Orders: {type: counter, help: "Orders.", labels: [payment, kind]}
    seconds: {type: histogram, namespace: shop, subsystem: cart, buckets: [0.1, 1, 10]}
    size: {type: summary, objectives: {0.5: 0.05, 0.99: 0.001}}
otel:
  resource: {service_name: shop, service_version: 1.2.3, service_instance_id: a}
  insecure: true
  compress: true
  client: http
  exporter: otlp
  custom_url: /otlp/v1/traces
  endpoint: collector:4318
  headers: {Authorization: "Bearer ${KEY}"}
`, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `telemetry:
  metrics:
    listen: 127.0.0.1:2112
    names: both
    collect:
      orders:
        type: counter
        help: Orders.
        labels: [payment, kind]
      seconds:
        type: histogram
        namespace: shop
        subsystem: cart
        buckets: [0.1, 1, 10]
      size:
        type: summary
        objectives: {"0.5": 0.05, "0.99": 0.001}
  traces:
    endpoint: http://collector:4318/otlp/v1/traces
    headers:
      Authorization: "Bearer ${KEY:-}"
    compress: true
    service: shop
    resource:
      service.version: 1.2.3
      service.instance.id: a
`
	text := yamlOf(r)
	if diff := cmp.Diff(want, text[strings.Index(text, "telemetry:"):]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for config, problem := range map[string]string{
		"metrics: {collect: {a: {type: dial}}}":                        `metrics.collect.a.type: "dial" is not counter, gauge, histogram or summary`,
		"metrics: {collect: {a: {type: histogram, buckets: [x]}}}":     `metrics.collect.a.buckets: "x" is not a number`,
		"metrics: {collect: {a: {type: summary, objectives: {1: x}}}}": `metrics.collect.a.objectives: "x" is not a number`,
	} {
		if _, err := translate("server: {command: php w.php}\n"+config, false); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v, want %s", config, err, problem)
		}
	}
}

// TestObjectivesThatRoadRunnerTakes, and makes nothing of, are left away with a word.
func TestObjectivesThatRoadRunnerTakes(t *testing.T) {
	t.Parallel()
	r, err := translate(`
server: {command: php w.php}
metrics:
  collect:
    a: {type: histogram, buckets: [1, 2], objectives: {0.1: 2.3}}
    b: {type: summary, objectives: {0.1: 2.3, 0.5: 0.05}}
    c: {type: summary, buckets: [2, 1], objectives: {7: 0.1}}
`, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `    collect:
      a:
        type: histogram
        buckets: [1, 2]
      b:
        type: summary
        objectives: {"0.5": 0.05}
      c:
        type: summary
`
	text := yamlOf(r)
	if diff := cmp.Diff(want, text[strings.Index(text, "    collect:"):]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, key := range []string{"metrics.collect.a.objectives", "metrics.collect.b.objectives.0.1", "metrics.collect.c.objectives.7"} {
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Key == key && f.Warning }) {
			t.Errorf("no warning of %s among %q", key, r.Findings)
		}
	}
}
