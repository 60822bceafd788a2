package telemetry

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/rpc"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/mercure"
	"github.com/edge-server/edge/ws/pusher"
)

// Snapshot is the Stats of every part at one moment. A nil part is off.
type Snapshot struct {
	Version string
	Ready   bool
	HTTP    *httpserver.Stats
	PHP     map[string]php.Stats
	Plugins []wasmhost.PluginStats
	KV      map[string]kv.Stats
	KVOps   map[string]kv.Metrics
	RPC     *rpc.Stats
	WS      *ws.Stats
	Pusher  []pusher.AppStats

	// Names is which names metrics have: EdgeNames when it is empty.
	Names    string
	Uptime   time.Duration
	Routes   map[string]middleware.MeterStats // by name
	Services []services.Stats
	Workers  map[string][]php.WorkerInfo   // with RoadRunner's names only
	Statuses map[int]middleware.MeterStats // so too
	Mercure  *mercure.Stats
	Proxies  []proxy.Stats
	Caches   []httpcache.Stats
	Guards   Guards
	Traces   *TracesStats
}

// NewCollector returns a handler that answers with the metrics of snapshot, of the Go runtime, of the process and of the
// application, which may be nil.
func NewCollector(snapshot func() Snapshot, app *AppMetrics) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector(snapshot),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	all := prometheus.Gatherers{registry}
	if app != nil {
		all = append(all, app.registry)
	}
	// What is wrong with one metric, which only the application's can be, must not hide the others.
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// collector turns a snapshot into metrics at the moment somebody asks.
type collector func() Snapshot

// Describe sends nothing: which metrics there are depends on what is switched on.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c()
	m := metrics{out}
	m.gauge("edge_info", "Version of the running Edge; always 1.", 1, "version", s.Version)
	m.gauge("edge_ready", "1 while requests are served.", boolean(s.Ready))
	if s.Names == RoadRunnerNames || s.Names == BothNames {
		m.roadRunner(s)
	}
	if s.Names == RoadRunnerNames {
		return
	}
	for _, route := range slices.Sorted(maps.Keys(s.Routes)) {
		m.route(route, s.Routes[route])
	}
	for _, service := range s.Services {
		m.service(service)
	}
	if s.HTTP != nil {
		m.http(s.HTTP)
	}
	for _, p := range s.Proxies {
		m.proxy(p)
	}
	for _, c := range s.Caches {
		m.httpCache(c)
	}
	m.guards(s.Guards)
	for _, pool := range slices.Sorted(maps.Keys(s.PHP)) {
		m.php(pool, s.PHP[pool])
	}
	for _, p := range s.Plugins {
		m.plugin(p)
	}
	for _, store := range slices.Sorted(maps.Keys(s.KV)) {
		m.kv(store, s.KV[store])
		m.kvOps(store, s.KVOps[store])
	}
	if s.RPC != nil {
		m.rpc(s.RPC)
	}
	if s.WS != nil {
		m.ws(s.WS)
	}
	for _, app := range s.Pusher {
		m.pusher(app)
	}
	if s.Mercure != nil {
		m.mercure(s.Mercure)
	}
	if s.Traces != nil {
		m.traces(*s.Traces)
	}
}

// metrics writes metrics by name, help, value, and labels as pairs.
type metrics struct{ out chan<- prometheus.Metric }

func (m metrics) http(s *httpserver.Stats) {
	for protocol, n := range map[string]uint64{"h1": s.HTTP1, "h2": s.HTTP2, "h3": s.HTTP3} {
		m.counter("edge_http_requests_total", "Requests that reached the routes.", n, "protocol", protocol)
	}
	for reason, n := range s.Refused {
		m.counter("edge_http_refused_total", "Requests and connections refused before the routes.", n, "reason", reason)
	}
	m.counter("edge_http_dropped_headers_total", "Header lines dropped because of their name: with an underscore, or Proxy.", s.DroppedHeaders)
	for _, l := range s.Listeners {
		labels := []string{"network", l.Network, "address", l.Address}
		m.gauge("edge_http_connections", "Open connections.", float64(l.Open), labels...)
		m.counter("edge_http_connections_total", "Accepted connections.", l.Accepted, labels...)
		m.counter("edge_http_failed_handshakes_total", "TLS handshakes that failed.", l.FailedHandshakes, labels...)
	}
}

func (m metrics) php(pool string, s php.Stats) {
	for state, n := range map[string]int{"booting": s.Booting, "idle": s.Idle, "busy": s.Busy, "stopping": s.Stopping} {
		m.gauge("edge_php_workers", "Workers by state.", float64(n), "pool", pool, "state", state)
	}
	m.gauge("edge_php_queue", "Requests that wait for a worker.", float64(s.Queued), "pool", pool)
	m.gauge("edge_php_queue_wait_max_seconds", "Longest wait for a worker so far.", s.WaitMax.Seconds(), "pool", pool)
	m.seconds("edge_php_queue_wait_seconds_total", "Time that requests waited for a worker.", s.WaitTotal.Seconds(), "pool", pool)
	m.counter("edge_php_queue_waits_total", "Requests that waited for a worker.", s.WaitedCount, "pool", pool)
	m.counter("edge_php_requests_total", "Requests given to the pool.", s.Requests, "pool", pool)
	for reason, n := range map[string]uint64{"queue_full": s.QueueFull, "queue_timeout": s.QueueTimeouts, "stopped": s.Refused} {
		m.counter("edge_php_rejected_total", "Requests answered 503, by reason.", n, "pool", pool, "reason", reason)
	}
	m.gauge("edge_php_memory_bytes", "Resident memory of all workers; what they share counts for each.", float64(s.Memory), "pool", pool)
	m.counter("edge_php_timeouts_total", "Workers killed for exec_timeout.", s.Timeouts, "pool", pool)
	m.counter("edge_php_crashes_total", "Workers that died unasked.", s.Crashes, "pool", pool)
	m.counter("edge_php_errors_total", "Errors that the application reported.", s.Errors, "pool", pool)
	m.counter("edge_php_streams_total", "Answers in parts.", s.Streams, "pool", pool)
	m.counter("edge_php_retries_total", "Requests that moved to another worker before PHP saw them.", s.Retries, "pool", pool)
	m.counter("edge_php_started_total", "Workers booted.", s.Started, "pool", pool)
	for reason, n := range map[string]uint64{
		"max_jobs": s.Ended.MaxJobs, "ttl": s.Ended.TTL, "idle": s.Ended.Idle, "memory": s.Ended.Memory, "timeout": s.Ended.Timeout,
		"crash": s.Ended.Crash, "out_of_memory": s.Ended.OutOfMemory, "reload": s.Ended.Reload, "stop": s.Ended.Stop,
		"requested": s.Ended.Requested,
	} {
		m.counter("edge_php_ended_total", "Workers that ended, by reason.", n, "pool", pool, "reason", reason)
	}
	m.counter("edge_php_reloads_total", "Reloads.", s.Reloads, "pool", pool)
	m.counter("edge_php_failed_reloads_total", "Reloads whose new workers did not boot.", s.ReloadsFailed, "pool", pool)
	m.gauge("edge_php_boot_failures", "Boots that failed in a row; 0 is healthy.", float64(s.Failures), "pool", pool)
}

func (m metrics) plugin(p wasmhost.PluginStats) {
	labels := []string{"plugin", p.Name}
	m.gauge("edge_plugin_generation", "Contents of the plugin's file put into service so far.", float64(p.Generation), labels...)
	m.gauge("edge_plugin_degraded", "1 while what serves is not what the file says.", boolean(p.Degraded != ""), labels...)
	m.gauge("edge_plugin_instances", "Instances by state.", float64(p.Idle), "plugin", p.Name, "state", "idle")
	m.gauge("edge_plugin_instances", "Instances by state.", float64(p.Busy), "plugin", p.Name, "state", "busy")
	m.counter("edge_plugin_requests_total", "Requests handed to the guest.", p.Requests, labels...)
	m.counter("edge_plugin_errors_total", "Requests ended by an error of the plugin.", p.Errors, labels...)
	for _, kind := range wasmhost.TrapKinds() {
		m.counter("edge_plugin_traps_total", "Guest calls that were stopped, by why.", p.TrapsByKind[kind], "plugin", p.Name, "kind", kind)
	}
	m.counter("edge_plugin_fuel_total", "Instructions of guest code, as limits.fuel counts them.", p.Fuel.Total, labels...)
	m.gauge("edge_plugin_fuel_max", "Instructions of the most expensive call that was looked at: the first ones of an instance, and every 31st.", float64(p.Fuel.Max), labels...)
	m.gauge("edge_plugin_memory_bytes", "Linear memory of the largest instance.", float64(p.Memory), labels...)
	m.gauge("edge_plugin_bypassed", "1 while requests pass the plugin by because it failed too often.", boolean(p.Bypassed != ""), labels...)
	m.counter("edge_plugin_refused_total", "Requests refused because no instance came free in time.", p.Refused, labels...)
	m.counter("edge_plugin_load_failures_total", "Contents of the plugin's file that could not be loaded.", p.Failures, labels...)
	for _, own := range p.Metrics {
		m.ofPlugin(own, "plugin", p.Name, "name", own.Name)
	}
	m.seconds("edge_plugin_guest_seconds_total", "Time in guest code, host functions included.", p.InGuest.Seconds(), labels...)
}

// ofPlugin is a metric that a plugin defines. They are few, and share three names, so that no plugin can disturb another's or ours.
func (m metrics) ofPlugin(own wasmhost.GuestMetric, labels ...string) {
	switch own.Kind {
	case abi.MetricCounter:
		m.counter("edge_plugin_counter", "Counters that plugins define.", uint64(own.Value), labels...)
	case abi.MetricGauge:
		m.gauge("edge_plugin_gauge", "Gauges that plugins define.", float64(own.Value), labels...)
	case abi.MetricHistogram:
		m.histogram("edge_plugin_histogram", "Histograms that plugins define.", own, labels...)
	}
}

func (m metrics) rpc(s *rpc.Stats) {
	m.gauge("edge_rpc_connections", "Open RPC connections.", float64(s.Connections))
	m.gauge("edge_rpc_calls_in_flight", "RPC calls that run now.", float64(s.InFlight))
	m.counter("edge_rpc_connections_refused_total", "RPC connections turned away.", s.Refused)
	m.counter("edge_rpc_calls_total", "RPC calls.", s.Calls)
	m.counter("edge_rpc_failed_calls_total", "RPC calls answered with an error.", s.Failed)
	m.counter("edge_rpc_bad_frames_total", "RPC connections closed because of what they sent, or did not take.", s.BadFrames)
}

func (m metrics) gauge(name, help string, value float64, labels ...string) {
	m.send(name, help, prometheus.GaugeValue, value, labels)
}

func (m metrics) counter(name, help string, value uint64, labels ...string) {
	m.send(name, help, prometheus.CounterValue, float64(value), labels)
}

func (m metrics) histogram(name, help string, own wasmhost.GuestMetric, labels ...string) {
	buckets := map[float64]uint64{}
	for bound, n := range own.Buckets {
		buckets[float64(bound)] = n
	}
	names, values := pairs(labels)
	m.out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, names, nil), own.Count, float64(own.Value), buckets, values...)
}

// seconds is a counter of time.
func (m metrics) seconds(name, help string, value float64, labels ...string) {
	m.send(name, help, prometheus.CounterValue, value, labels)
}

func (m metrics) send(name, help string, kind prometheus.ValueType, value float64, labels []string) {
	names, values := pairs(labels)
	m.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
}

// pairs takes names and values of labels apart.
func pairs(labels []string) (names, values []string) {
	for pair := range slices.Chunk(labels, 2) {
		names, values = append(names, pair[0]), append(values, pair[1])
	}
	return names, values
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
