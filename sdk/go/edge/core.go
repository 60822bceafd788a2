package edge

import (
	"time"

	"github.com/edge-server/edge/sdk/abi"
)

// The errors of the server, for errors.Is. [LastError] has the last one in words.
const (
	ErrUnavailable = abi.ErrUnavailable // trying later may help
	ErrTimeout     = abi.ErrTimeout
	ErrInvalid     = abi.ErrInvalid // an argument that cannot be
	ErrTooLarge    = abi.ErrTooLarge
	ErrUnsupported = abi.ErrUnsupported // by this store or server
	ErrInternal    = abi.ErrInternal    // the server's fault
	ErrDenied      = abi.ErrDenied      // not granted in edge.yaml
	ErrNotFound    = abi.ErrNotFound
	ErrCondition   = abi.ErrCondition // of a change of a key
	ErrExists      = abi.ErrExists
	ErrClosed      = abi.ErrClosed
	ErrLimit       = abi.ErrLimit // too many at once
	ErrPhase       = abi.ErrPhase // not callable at this moment
)

// Errno is the type of these errors.
type Errno = abi.Errno

// check makes n and an error of what a function of the server returned.
func check(n int32) (int, error) {
	if n < 0 {
		return 0, Errno(n)
	}
	return int(n), nil
}

func done(n int32) error {
	_, err := check(n)
	return err
}

// tryFetch is fetch for getters that can fail. The result is valid until the next call.
func tryFetch(get func(buf []byte) int32) ([]byte, error) {
	n, err := check(get(scratch))
	if err != nil {
		return nil, err
	}
	if grow(uint32(n)) {
		if n, err = check(get(scratch)); err != nil {
			return nil, err
		}
	}
	if n > len(scratch) { // it has grown meanwhile
		return nil, ErrUnavailable
	}
	return scratch[:n], nil
}

// CheckConfig registers a function that checks the plugin's configuration before the plugin is put into service; its error
// refuses the plugin, and is what the operator reads. Call it in init.
func CheckConfig(check func(config []byte) error) { plugin.config = check }

// checkConfig is the export edge_config.
func checkConfig() int32 {
	defer ExplainPanic(abi.Configure)
	if plugin.config == nil {
		return 0
	}
	if err := plugin.config(Config()); err != nil {
		setError(err.Error())
		return int32(ErrInvalid)
	}
	return 0
}

// Var returns a variable of this request: one that a plugin set, "edge.route" or "edge.request_id".
func Var(name string) (string, error) {
	value, err := tryFetch(func(buf []byte) int32 { return varGet(name, buf) })
	return text(value), err
}

// SetVar sets a variable of this request. Later plugins, PHP and the access log see it.
func SetVar(name, value string) error { return done(varSet(name, value)) }

// Has reports whether this plugin may import "edge_kv_v1", or "edge_kv_v1.get".
func Has(name string) bool { return has(name) == 1 }

// Now is the server's time. It is what time.Now says, too.
func Now() time.Time { return time.UnixMilli(nowMS()) }

// Deadline returns how much time this call has left, and false without a bound.
func Deadline() (time.Duration, bool) {
	left := deadlineMS()
	return time.Duration(max(left, 0)) * time.Millisecond, left >= 0
}

// LastError is what the last call that failed would say in words.
func LastError() string {
	words, err := tryFetch(lastError)
	if err != nil {
		return ""
	}
	return string(words)
}

// Flush sends to the client what was written of the answer so far.
func (*Body) Flush() error { return done(flush()) }

// millis is d as the server takes it: at least 1 for what is above 0, so that a short time is not taken for none.
func millis(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min(max(d.Milliseconds(), 1), 1<<31-1))
}

// A Counter is a number that only grows. The same name is the same counter in every instance.
type Counter struct{ id int32 }

// A Gauge is a number that goes up and down.
type Gauge struct{ id int32 }

// A Histogram counts values by size.
type Histogram struct{ id int32 }

// NewCounter defines a counter, or finds it.
func NewCounter(name string) (Counter, error) {
	id, err := check(metricDefine(abi.MetricCounter, name))
	return Counter{int32(id)}, err
}

// Add adds n, which is not negative.
func (c Counter) Add(n int64) error { return done(metricAdd(c.id, n)) }

// NewGauge defines a gauge, or finds it.
func NewGauge(name string) (Gauge, error) {
	id, err := check(metricDefine(abi.MetricGauge, name))
	return Gauge{int32(id)}, err
}

// Add adds n.
func (g Gauge) Add(n int64) error { return done(metricAdd(g.id, n)) }

// Set sets the gauge.
func (g Gauge) Set(n int64) error { return done(metricSet(g.id, n)) }

// NewHistogram defines a histogram, or finds it.
func NewHistogram(name string) (Histogram, error) {
	id, err := check(metricDefine(abi.MetricHistogram, name))
	return Histogram{int32(id)}, err
}

// Observe counts a value.
func (h Histogram) Observe(value int64) error { return done(metricObserve(h.id, value)) }

// Push appends an item to the plugin's queue, which its instances share: a request leaves work there, package cron does it.
// [ErrLimit]: there are 1024 items, or 1 MiB of them.
func Push(item []byte) error { return done(queuePush(item)) }

// Pop takes the oldest item. [ErrNotFound]: there is none.
func Pop() ([]byte, error) {
	item, err := tryFetch(queuePop)
	return append([]byte(nil), item...), err
}

// Publish sends a text to all WebSockets that subscribed to a topic, which allow.publish must name.
func Publish(topic, message string) error { return done(wsPublish(topic, abi.WSText, []byte(message))) }

// PublishBinary is [Publish] for bytes.
func PublishBinary(topic string, message []byte) error {
	return done(wsPublish(topic, abi.WSBinary, message))
}
