package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/edge-server/edge/rpc"
)

// TracesConfig sends traces to a collector of OpenTelemetry, by OTLP over HTTP.
type TracesConfig struct {
	// Endpoint of the collector. Without a path it is /v1/traces. Default http://127.0.0.1:4318.
	Endpoint string `koanf:"endpoint"`

	// Headers go with what is sent, such as Authorization. Default none.
	Headers map[string]string `koanf:"headers"`

	// Ratio of the traces that begin here which are kept: 0 to 1. A trace that a client began is kept if the client says so.
	// Default 1.
	Ratio float64 `koanf:"ratio"`

	// Service is the name of this service. Default edge.
	Service string `koanf:"service"`

	// Resource has further attributes of this service, such as deployment.environment.name: production. Default none.
	Resource map[string]string `koanf:"resource"`

	// Compress with gzip what is sent. Default false.
	Compress bool `koanf:"compress"`

	// Timeout of one attempt to send. Default 10s.
	Timeout time.Duration `koanf:"timeout"`

	// Queue is how many spans may wait to be sent; more are dropped. Default 2048.
	Queue int `koanf:"queue"`

	// Batch is how many are sent at once. Default 512.
	Batch int `koanf:"batch"`

	// Interval is how long a span waits for others at most. Default 5s.
	Interval time.Duration `koanf:"interval"`
}

// Defaults is where decoding of a present telemetry.traces section starts.
func (TracesConfig) Defaults() any {
	return TracesConfig{
		Endpoint: "http://127.0.0.1:4318", Ratio: 1, Service: "edge", Timeout: 10 * time.Second, Queue: 2048, Batch: 512, Interval: 5 * time.Second,
	}
}

// Validate reports every mistake.
func (c TracesConfig) Validate() error {
	var errs []error
	if u, err := url.Parse(c.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, fmt.Errorf("endpoint: %q is not a URL such as http://127.0.0.1:4318", c.Endpoint))
	}
	if !(c.Ratio >= 0 && c.Ratio <= 1) {
		errs = append(errs, fmt.Errorf("ratio: must be between 0 and 1, got %v", c.Ratio))
	}
	if c.Service == "" {
		errs = append(errs, errors.New("service: must not be empty"))
	}
	if c.Timeout <= 0 || c.Interval <= 0 {
		errs = append(errs, fmt.Errorf("timeout and interval: must be more than 0, got %s and %s", c.Timeout, c.Interval))
	}
	if c.Batch < 1 || c.Queue < c.Batch {
		errs = append(errs, fmt.Errorf("queue and batch: there must be room for at least one batch of at least one, got %d and %d", c.Queue, c.Batch))
	}
	return errors.Join(errs...)
}

// Traces makes spans and sends them in the background. A collector that is slow or away costs spans, never time of a request.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	queue    *spanQueue
	exporter *exporter
	carry    propagation.TextMapPropagator // W3C trace context, with its baggage
}

// NewTraces prepares the sending of spans to the collector of c, which is valid; nobody is asked whether it is there.
func NewTraces(c TracesConfig, version string, log *slog.Logger) *Traces {
	endpoint := c.Endpoint
	if u, err := url.Parse(endpoint); err == nil && strings.Trim(u.Path, "/") == "" {
		endpoint = u.JoinPath("/v1/traces").String()
	}
	client := &http.Client{Timeout: c.Timeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, MaxIdleConns: 2}}
	sender := otlptrace.NewUnstarted(&otlpClient{http: client, endpoint: endpoint, headers: c.Headers, compress: c.Compress, timeout: c.Timeout})
	attributes := []attribute.KeyValue{attribute.String("service.name", c.Service), attribute.String("service.version", version)}
	for _, name := range slices.Sorted(maps.Keys(c.Resource)) {
		attributes = append(attributes, attribute.String(name, c.Resource[name]))
	}
	t := &Traces{
		carry:    propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		exporter: &exporter{SpanExporter: sender, client: client, log: log, endpoint: endpoint},
	}
	t.queue = newSpanQueue(t.exporter, c.Queue, c.Batch, c.Interval, 2*c.Timeout)
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(attributes...)),
		sdktrace.WithSpanProcessor(t.queue),
	)
	t.tracer = t.provider.Tracer("github.com/edge-server/edge")
	return t
}

// Start has nothing to do: spans wait until there are some.
func (t *Traces) Start(context.Context) error { return nil }

// Stop sends what waits while ctx lasts.
func (t *Traces) Stop(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("spans that were not sent: %w", err)
	}
	return nil
}

// TracesStats says what became of spans.
type TracesStats struct {
	Sent    uint64 // the collector took them
	Lost    uint64 // the collector did not take them
	Dropped uint64 // there was no room in the queue
	Waiting int    // in the queue
}

// Stats are counted since the start.
func (t *Traces) Stats() TracesStats {
	return TracesStats{Sent: t.exporter.sent.Load(), Lost: t.exporter.lost.Load(), Dropped: t.queue.dropped.Load(), Waiting: len(t.queue.waiting)}
}

// Request begins the span of a request, under the trace that the client sent. What comes later, PHP too, finds the span in the
// header traceparent; done ends it.
func (t *Traces) Request(r *http.Request) (_ *http.Request, done func(status int)) {
	ctx := t.carry.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
	ctx = context.WithValue(ctx, requestSpan{}, span)
	if span.IsRecording() {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path),
			attribute.String("url.scheme", scheme), attribute.String("server.address", r.Host),
			attribute.String("network.protocol.version", strings.TrimPrefix(r.Proto, "HTTP/")), attribute.String("user_agent.original", r.UserAgent()))
	}
	t.carry.Inject(ctx, propagation.HeaderCarrier(r.Header))
	return r.WithContext(ctx), func(status int) {
		if status > 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", status))
		}
		if status == 0 || status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Step puts a span of its own around next, which is one of the things that a request runs through, such as a plugin or PHP. What comes
// later, the plugin and PHP too, finds that span in the header traceparent.
func (t *Traces) Step(name, key, value string, next http.Handler) http.Handler {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(attribute.String(key, value))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !trace.SpanFromContext(r.Context()).IsRecording() {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span := t.tracer.Start(r.Context(), name, options...)
		defer span.End()
		t.carry.Inject(ctx, propagation.HeaderCarrier(r.Header))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// requestSpan is where a context has the span of the request, under which there may be others by then.
type requestSpan struct{}

// SetRoute tells the span of a request which route it took.
func SetRoute(ctx context.Context, method, route string) {
	if span, ok := ctx.Value(requestSpan{}).(trace.Span); ok && route != "" && span.IsRecording() {
		span.SetName(method + " " + route)
		span.SetAttributes(attribute.String("http.route", route))
	}
}

// Calls puts a span around every call of a service: kv:mget for MGet of kv. parent finds the request on whose behalf a call is made;
// a trace that the caller sent with the call comes first.
func (t *Traces) Calls(service string, h rpc.Handler, parent func(ctx context.Context) (context.Context, bool)) rpc.Handler {
	traced := &tracedHandler{Handler: h, traces: t, service: service, parent: parent}
	if r, ok := h.(rpc.Releaser); ok {
		return &tracedReleaser{traced, r}
	}
	return traced
}

type tracedHandler struct {
	rpc.Handler
	traces  *Traces
	service string
	parent  func(ctx context.Context) (context.Context, bool)
}

// tracedReleaser is for handlers that use their values again.
type tracedReleaser struct {
	*tracedHandler
	rpc.Releaser
}

// Quick implements rpc.Quick: a span does not make a call wait.
func (h *tracedReleaser) Quick(method string, request any) bool {
	q, ok := h.tracedHandler.Handler.(rpc.Quick)
	return ok && q.Quick(method, request)
}

// storage is what a request of kv says about where it goes.
type storage interface{ StorageName() string }

func (h *tracedHandler) Call(ctx context.Context, method string, request any) (any, error) {
	ctx, span := h.traces.tracer.Start(h.under(ctx), h.service+":"+strings.ToLower(method), trace.WithSpanKind(trace.SpanKindInternal))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attribute.String("rpc.system", "goridge"), attribute.String("rpc.service", h.service), attribute.String("rpc.method", method))
		if s, ok := request.(storage); ok {
			span.SetAttributes(attribute.String("kv.storage", s.StorageName()))
		}
	}
	response, err := h.Handler.Call(ctx, method, request)
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	return response, err
}

// under puts a call under the span that its caller is in.
func (h *tracedHandler) under(ctx context.Context) context.Context {
	if t, ok := rpc.CallerTrace(ctx); ok {
		sent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: t.TraceID, SpanID: t.SpanID, TraceFlags: trace.TraceFlags(t.Flags), Remote: true})
		if sent.IsValid() {
			return trace.ContextWithRemoteSpanContext(ctx, sent)
		}
	}
	if request, ok := h.parent(ctx); ok {
		return trace.ContextWithSpanContext(ctx, trace.SpanContextFromContext(request))
	}
	return ctx
}

// exporter sends spans, counts those that are lost, and logs when sending begins to fail and when it works again.
type exporter struct {
	sdktrace.SpanExporter
	client   *http.Client
	log      *slog.Logger
	endpoint string

	sent    atomic.Uint64
	lost    atomic.Uint64
	failing atomic.Bool
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.lost.Add(uint64(len(spans)))
		if !e.failing.Swap(true) {
			e.log.Warn("traces are lost: the collector does not take them", "endpoint", e.endpoint, "error", err)
		}
		return nil // it was logged: the library would print it once more, for every batch
	}
	e.sent.Add(uint64(len(spans)))
	if e.failing.Swap(false) {
		e.log.Info("the collector takes traces again", "endpoint", e.endpoint, "lost", e.lost.Load())
	}
	return nil
}

func (e *exporter) Shutdown(ctx context.Context) error {
	defer e.client.CloseIdleConnections()
	return e.SpanExporter.Shutdown(ctx)
}
