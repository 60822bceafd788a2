package telemetry

import (
	"context"
	"errors"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// stalled is a collector that takes its time: an export announces itself, and lasts until it is let go or its time is over.
type stalled struct {
	begun chan int
	let   chan struct{}
}

func newStalled() *stalled { return &stalled{begun: make(chan int, 16), let: make(chan struct{})} }

func (s *stalled) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	s.begun <- len(spans)
	select {
	case <-s.let:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (*stalled) Shutdown(context.Context) error { return nil }

func sampledSpan() sdktrace.ReadOnlySpan {
	return tracetest.SpanStub{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled,
	})}.Snapshot()
}

// TestSpanQueueIsBounded: while the collector hangs, spans beyond the queue are dropped and counted, and nobody waits.
func TestSpanQueueIsBounded(t *testing.T) {
	s := newStalled()
	q := newSpanQueue(s, 4, 2, time.Hour, time.Hour)
	q.OnEnd(tracetest.SpanStub{}.Snapshot()) // not sampled: not sent
	q.OnEnd(sampledSpan())
	q.OnEnd(sampledSpan())
	if n := <-s.begun; n != 2 {
		t.Fatalf("a batch of %d", n)
	}
	for range 10 {
		q.OnEnd(sampledSpan())
	}
	if n := q.dropped.Load(); n != 6 {
		t.Errorf("%d of 10 were dropped; the queue has room for 4", n)
	}
	close(s.let)
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if a, b := <-s.begun, <-s.begun; a+b != 4 {
		t.Errorf("what waited was sent as %d and %d", a, b)
	}
}

// TestSpanQueueEnds in time, also when the collector does not answer.
func TestSpanQueueEnds(t *testing.T) {
	s := newStalled()
	q := newSpanQueue(s, 100, 2, time.Hour, time.Hour)
	for range 9 {
		q.OnEnd(sampledSpan())
	}
	<-s.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestSpanQueueWaitsForOthers no longer than it is told.
func TestSpanQueueWaitsForOthers(t *testing.T) {
	s := newStalled()
	close(s.let)
	q := newSpanQueue(s, 100, 50, time.Millisecond, time.Hour)
	for range 3 {
		q.OnEnd(sampledSpan())
		if n := <-s.begun; n != 1 {
			t.Errorf("a batch of %d", n)
		}
	}
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
