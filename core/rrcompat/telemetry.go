package rrcompat

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// metrics is the listener for Prometheus, and the metrics that the application adds to.
func (t *translation) metrics(metrics part) {
	if !metrics.present() {
		return
	}
	address := metrics.ref("address")
	if address == "" {
		address = "127.0.0.1:2112"
	}
	out := t.out.section("telemetry").section("metrics")
	out.set("listen", strings.TrimPrefix(address, "tcp://"))
	out.set("names", "both") // dashboards that are there read rr_…
	t.note("metrics", "Edge's own metrics are there beside rr_http_*, which count all pools together. They are at /metrics, and not at every path")
	collect := metrics.section("collect")
	if !collect.present() {
		return
	}
	for _, e := range collect.v.entries {
		t.collector(out.section("collect").section(strings.ToLower(e.name)), collect.section(e.name))
	}
}

// collector is one metric of the application.
func (t *translation) collector(out document, c part) {
	kind := strings.ToLower(c.text("type"))
	switch kind {
	case "counter", "gauge", "histogram", "summary":
		out.set("type", kind)
	default:
		t.refuse(c.entry("type"), c.path("type"), "%q is not counter, gauge, histogram or summary", kind)
	}
	for _, key := range []string{"namespace", "subsystem", "help"} {
		if text := c.ref(key); text != "" {
			out.set(key, text)
		}
	}
	if labels := c.texts("labels"); len(labels) > 0 {
		out.set("labels", labels)
	}
	if kind == "histogram" {
		t.buckets(out, c)
	} else {
		t.idle(c, "buckets", "has no effect: only a histogram has buckets, and this is a "+kind)
	}
	if kind == "summary" {
		t.objectives(out, c)
	} else {
		if c.has("objectives") {
			t.warn(c.path("objectives"), "has no effect: only a summary has objectives, and this is a %s", kind)
		}
		c.known("objectives")
	}
}

func (t *translation) buckets(out document, c part) {
	buckets := c.texts("buckets")
	if len(buckets) == 0 {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, b := range buckets {
		list.Content = append(list.Content, t.number(c, "buckets", b))
	}
	out.set("buckets", list)
}

// objectives are quantiles and their errors. RoadRunner takes any numbers, and makes nothing of those that are neither.
func (t *translation) objectives(out document, c part) {
	m := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, o := range c.pairs("objectives") {
		allowed := t.number(c, "objectives", o[1])
		if !isShare(o[0]) || !isShare(o[1]) {
			t.warn(c.path("objectives")+"."+o[0], "%s is left away: they are not a quantile and its error, two numbers between 0 and 1", o[1])
			continue
		}
		m.Content = append(m.Content, text(o[0]), allowed)
	}
	if len(m.Content) > 0 {
		out.set("objectives", m)
	}
}

func isShare(digits string) bool {
	n, err := strconv.ParseFloat(digits, 64)
	return err == nil && n >= 0 && n <= 1
}

func (t *translation) number(c part, key, digits string) *yaml.Node {
	if _, err := strconv.ParseFloat(digits, 64); err != nil {
		t.refuse(c.entry(key), c.path(key), "%q is not a number", digits)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: digits}
}

// Where RoadRunner's otel section sends traces when it does not say.
const (
	defaultCollector = "127.0.0.1:4318"
	defaultService   = "RoadRunner"
)

// otel is where traces go.
func (t *translation) otel(otel part) {
	if !otel.present() {
		return
	}
	exporter, client := strings.ToLower(otel.text("exporter")), strings.ToLower(otel.text("client"))
	if exporter != "" && exporter != "otlp" {
		t.warn("otel.exporter", "Edge sends traces by OTLP over HTTP only: none are sent. Collectors of today take it; jaeger and zipkin have a port for it")
		t.leave(otel)
		return
	}
	if client == "grpc" {
		t.warn("otel.client", "Edge sends traces by OTLP over HTTP only: none are sent until you write client: http and the collector's port for that, usually 4318")
		t.leave(otel)
		return
	}
	out := t.out.section("telemetry").section("traces")
	out.set("endpoint", t.collectorURL(otel))
	if headers := otel.pairs("headers"); len(headers) > 0 {
		out.set("headers", headers)
	}
	if otel.boolean("compress", false) {
		out.set("compress", true)
	}

	r := otel.section("resource")
	service := defaultService
	for _, name := range []string{otel.ref("service_name"), r.ref("service_name")} {
		if name != "" {
			service = name
		}
	}
	out.set("service", service)
	var resource [][2]string
	for _, key := range []string{"service_version", "service_namespace", "service_instance_id"} {
		value := r.ref(key)
		if value == "" && key == "service_version" {
			value = otel.ref(key)
		}
		if value != "" {
			resource = append(resource, [2]string{map[string]string{
				"service_version": "service.version", "service_namespace": "service.namespace", "service_instance_id": "service.instance.id",
			}[key], value})
		}
	}
	if len(resource) > 0 {
		out.set("resource", resource)
	}
	t.note("otel", "every request has a span, whether http.middleware names otel or not; the variables OTEL_* are not read")
}

// leave says that the keys of a section are known, although nothing comes of them.
func (t *translation) leave(otel part) {
	otel.known("exporter", "client", "endpoint", "insecure", "compress", "custom_url", "headers", "resource", "service_name", "service_version")
}

func (t *translation) collectorURL(otel part) string {
	endpoint, path := otel.ref("endpoint"), otel.ref("custom_url")
	if endpoint == "" {
		endpoint = defaultCollector
	}
	if !strings.Contains(endpoint, "://") {
		scheme := "https://"
		if otel.boolean("insecure", false) || endpoint == defaultCollector {
			scheme = "http://"
		}
		endpoint = scheme + endpoint
	}
	otel.known("insecure")
	if path != "" {
		endpoint = strings.TrimSuffix(endpoint, "/") + "/" + strings.TrimPrefix(path, "/")
	}
	return endpoint
}
