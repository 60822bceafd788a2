package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-server/edge/rpc"
)

// AppMetrics are the metrics of the application: it declares collectors over RPC, or edge.yaml does, and PHP adds to them. They
// appear on /metrics under the names that the application chose.
//
// What an application sends cannot take the memory of the server: the number of collectors, and of the series of each, is bounded.
type AppMetrics struct {
	registry *prometheus.Registry

	mu         sync.RWMutex // protects collectors
	collectors map[string]*appCollector
}

// Bounds of what an application may declare. A series is a collector with one set of label values.
const (
	maxCollectors = 1000
	maxSeries     = 10_000
	maxBuckets    = 200
	maxLabels     = 20
	maxLabelValue = 1 << 10
)

// reserved are the beginnings of names that are Edge's own.
var reserved = []string{"edge_", "go_", "process_", "promhttp_"}

// Collector describes one metric of the application.
type Collector struct {
	// Type is counter, gauge, histogram or summary.
	Type string `koanf:"type" json:"type"`

	// Namespace and Subsystem stand before the name, each followed by _. Default none.
	Namespace string `koanf:"namespace" json:"namespace"`
	Subsystem string `koanf:"subsystem" json:"subsystem"`

	// Help says what the metric is. Default none.
	Help string `koanf:"help" json:"help"`

	// Labels are the names of labels; values are given in this order. Default none.
	Labels []string `koanf:"labels" json:"labels"`

	// Buckets are the upper bounds of a histogram. Default [.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10].
	Buckets []float64 `koanf:"buckets" json:"buckets"`

	// Objectives are the quantiles of a summary with the error each may have: {0.5: 0.05, 0.99: 0.001}. Default none.
	Objectives Objectives `koanf:"objectives" json:"objectives"`
}

// Objectives are quantiles and their errors. Quantiles are texts, since that is what keys are in YAML and JSON.
type Objectives map[string]float64

// UnmarshalJSON also takes [], which is what PHP makes of an empty array.
func (o *Objectives) UnmarshalJSON(data []byte) error {
	if string(data) == "[]" {
		*o = nil
		return nil
	}
	return json.Unmarshal(data, (*map[string]float64)(o))
}

func (o Objectives) floats() (map[float64]float64, error) {
	floats := map[float64]float64{}
	for _, text := range slices.Sorted(maps.Keys(o)) {
		q, err := strconv.ParseFloat(text, 64)
		if err != nil || q < 0 || q > 1 || o[text] < 0 || o[text] > 1 {
			return nil, fmt.Errorf("objectives: %q: %v are not a quantile and its error, two numbers between 0 and 1", text, o[text])
		}
		floats[q] = o[text]
	}
	return floats, nil
}

// Validate reports every mistake. name is the key of the collector.
func (c Collector) Validate(name string) error {
	var errs []error
	if !slices.Contains([]string{"counter", "gauge", "histogram", "summary"}, c.Type) {
		errs = append(errs, fmt.Errorf("type: %q is not counter, gauge, histogram or summary", c.Type))
	}
	full := prometheus.BuildFQName(c.Namespace, c.Subsystem, name)
	if !validName(full, true) {
		errs = append(errs, fmt.Errorf("%q is not a name of a metric: letters, digits, _ and : with no digit first", full))
	}
	for _, prefix := range reserved {
		if strings.HasPrefix(full, prefix) {
			errs = append(errs, fmt.Errorf("%q: names that begin with %s are Edge's own", full, prefix))
		}
	}
	if len(c.Labels) > maxLabels || len(c.Buckets) > maxBuckets || len(c.Objectives) > maxBuckets {
		errs = append(errs, fmt.Errorf("at most %d labels and %d buckets or objectives", maxLabels, maxBuckets))
	}
	for i, label := range c.Labels {
		if !validName(label, false) || strings.HasPrefix(label, "__") || slices.Contains(c.Labels[:i], label) {
			errs = append(errs, fmt.Errorf("labels[%d]: %q is not a name of a label, or stands twice", i, label))
		}
		if c.Type == "histogram" && label == "le" || c.Type == "summary" && label == "quantile" {
			errs = append(errs, fmt.Errorf("labels[%d]: %q is the label that a %s has anyway", i, label, c.Type))
		}
	}
	if !slices.IsSorted(c.Buckets) || len(slices.Compact(slices.Clone(c.Buckets))) != len(c.Buckets) {
		errs = append(errs, fmt.Errorf("buckets: %v do not grow", c.Buckets))
	}
	_, err := c.Objectives.floats()
	return errors.Join(append(errs, err)...)
}

func validName(name string, colons bool) bool {
	for i, c := range []byte(name) {
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9', colons && c == ':':
		default:
			return false
		}
	}
	return name != ""
}

// appCollector is a declared one. Exactly one of the vectors is there; a metric without labels is a vector of one.
type appCollector struct {
	prometheus.Collector
	kind   string
	labels int

	counter *prometheus.CounterVec
	gauge   *prometheus.GaugeVec
	observe prometheus.ObserverVec

	mu     sync.Mutex // protects series
	series map[string]struct{}
}

// NewAppMetrics returns metrics with the collectors of edge.yaml, which are valid.
func NewAppMetrics(collect map[string]Collector) (*AppMetrics, error) {
	m := &AppMetrics{registry: prometheus.NewRegistry(), collectors: map[string]*appCollector{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(collect)) {
		if err := m.declare(name, collect[name]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return m, errors.Join(errs...)
}

func newAppCollector(name string, d Collector) *appCollector {
	c := &appCollector{kind: d.Type, labels: len(d.Labels), series: map[string]struct{}{}}
	switch d.Type {
	case "counter":
		c.counter = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: d.Namespace, Subsystem: d.Subsystem, Name: name, Help: d.Help}, d.Labels)
		c.Collector = c.counter
	case "gauge":
		c.gauge = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: d.Namespace, Subsystem: d.Subsystem, Name: name, Help: d.Help}, d.Labels)
		c.Collector = c.gauge
	case "histogram":
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: d.Namespace, Subsystem: d.Subsystem, Name: name, Help: d.Help, Buckets: d.Buckets,
		}, d.Labels)
		c.observe, c.Collector = v, v
	case "summary":
		objectives, _ := d.Objectives.floats() // d is valid
		v := prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Namespace: d.Namespace, Subsystem: d.Subsystem, Name: name, Help: d.Help, Objectives: objectives,
		}, d.Labels)
		c.observe, c.Collector = v, v
	}
	if c.labels == 0 {
		c.begin()
	}
	return c
}

// begin makes the only series of a metric without labels, so that it is seen before the first value.
func (c *appCollector) begin() {
	switch {
	case c.counter != nil:
		c.counter.WithLabelValues()
	case c.gauge != nil:
		c.gauge.WithLabelValues()
	default:
		c.observe.WithLabelValues()
	}
}

// declare adds a collector. One that is there already stays as it is: every worker declares when it boots.
func (m *AppMetrics) declare(name string, d Collector) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.collectors[name] != nil {
		return nil
	}
	if err := d.Validate(name); err != nil {
		return err
	}
	if len(m.collectors) >= maxCollectors {
		return fmt.Errorf("there are %d collectors already: unregister one", maxCollectors)
	}
	c := newAppCollector(name, d)
	if err := m.registry.Register(c); err != nil {
		return fmt.Errorf("tried to register existing collector %q: %w", name, err)
	}
	m.collectors[name] = c
	return nil
}

// Metric is the argument of metrics.Add and its like.
type Metric struct {
	Name   string   `json:"name"`
	Value  float64  `json:"value"`
	Labels []string `json:"labels"` // values, in the order in which the labels were declared
}

// NamedCollector is the argument of metrics.Declare.
type NamedCollector struct {
	Name      string `json:"name"`
	Collector `json:"collector"`
}

// Methods is the RPC service metrics.
func (m *AppMetrics) Methods() rpc.Methods {
	change := func(method string) rpc.Method {
		return rpc.Func(func(_ context.Context, v Metric) (bool, error) {
			err := m.change(method, v)
			return err == nil, err
		})
	}
	return rpc.Methods{
		"Add": change("Add"), "Sub": change("Sub"), "Set": change("Set"), "Observe": change("Observe"),
		"Declare": rpc.Func(func(_ context.Context, c NamedCollector) (bool, error) {
			if err := m.declare(c.Name, c.Collector); err != nil {
				return false, fmt.Errorf("metrics_rpc_declare: %s: %w", c.Name, err)
			}
			return true, nil
		}),
		"Unregister": rpc.Func(func(_ context.Context, name string) (bool, error) { return m.unregister(name) }),
	}
}

func (m *AppMetrics) unregister(name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.collectors[name]
	if c == nil {
		return false, fmt.Errorf("undefined collector %s", name)
	}
	delete(m.collectors, name)
	return m.registry.Unregister(c), nil
}

// change does what the method says to the series of v.
func (m *AppMetrics) change(method string, v Metric) error {
	m.mu.RLock()
	c := m.collectors[v.Name]
	m.mu.RUnlock()
	if c == nil {
		if method == "Add" {
			return fmt.Errorf("undefined collector %s, try first Declare the desired collector", v.Name)
		}
		return fmt.Errorf("undefined collector %s", v.Name)
	}
	if !c.supports(method) {
		return fmt.Errorf("collector %s does not support method `%s`", v.Name, method)
	}
	if c.labels > 0 && len(v.Labels) == 0 {
		return fmt.Errorf("required labels for collector %s", v.Name)
	}
	if len(v.Labels) != c.labels {
		return fmt.Errorf("collector %s has %d labels, got values for %d", v.Name, c.labels, len(v.Labels))
	}
	if c.kind == "counter" && !(v.Value >= 0) { // what is no number, neither
		return fmt.Errorf("counter %s cannot decrease: got %v", v.Name, v.Value)
	}
	if err := c.admit(v); err != nil {
		return err
	}
	return c.apply(method, v)
}

func (c *appCollector) supports(method string) bool {
	switch method {
	case "Add":
		return c.counter != nil || c.gauge != nil
	case "Sub", "Set":
		return c.gauge != nil
	}
	return c.observe != nil
}

// admit bounds the series of a collector: an application that puts an id into a label must not take the memory of the server.
func (c *appCollector) admit(v Metric) error {
	for _, value := range v.Labels {
		if len(value) > maxLabelValue {
			return fmt.Errorf("collector %s: the value of a label has more than %d bytes", v.Name, maxLabelValue)
		}
	}
	key := strings.Join(v.Labels, "\xff")
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.series[key]; there {
		return nil
	}
	if len(c.series) >= maxSeries {
		return fmt.Errorf("collector %s has %d series already: a label of it takes too many values", v.Name, maxSeries)
	}
	c.series[key] = struct{}{}
	return nil
}

func (c *appCollector) apply(method string, v Metric) error {
	switch {
	case c.counter != nil:
		s, err := c.counter.GetMetricWithLabelValues(v.Labels...)
		if err != nil {
			return fmt.Errorf("collector %s: %w", v.Name, err)
		}
		s.Add(v.Value)
	case c.gauge != nil:
		s, err := c.gauge.GetMetricWithLabelValues(v.Labels...)
		if err != nil {
			return fmt.Errorf("collector %s: %w", v.Name, err)
		}
		switch method {
		case "Add":
			s.Add(v.Value)
		case "Sub":
			s.Sub(v.Value)
		default:
			s.Set(v.Value)
		}
	default:
		s, err := c.observe.GetMetricWithLabelValues(v.Labels...)
		if err != nil {
			return fmt.Errorf("collector %s: %w", v.Name, err)
		}
		s.Observe(v.Value)
	}
	return nil
}
