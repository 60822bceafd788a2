package testenv

import (
	"fmt"
	"path/filepath"
	"testing"
)

// StartOTelCollector runs the OpenTelemetry Collector, which takes spans at Addr by OTLP over HTTP and hands them on to next, a URL,
// batch by batch as it got them.
func StartOTelCollector(t testing.TB, next string) *Server {
	t.Helper()
	path := Tool(t, "otelcol", "make deps builds it into .tools/")
	dir, addr := Dir(t), loopback(FreePort(t))
	write(t, filepath.Join(dir, "otelcol.yaml"), fmt.Sprintf(`
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {otlphttp: {endpoint: %q, compression: none, sending_queue: {enabled: false}}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [otlphttp]}}
`, addr, next))
	return startServer(t, addr, dir, path, []string{"--config", "otelcol.yaml"}, accepts)
}
