package telemetry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanQueue is where spans wait until they are sent: a request puts its span there and goes on. When the queue is full, because the
// collector is slow or away, further spans are dropped, and counted, which the queue that comes with OpenTelemetry does not do.
type spanQueue struct {
	waiting chan sdktrace.ReadOnlySpan
	export  sdktrace.SpanExporter
	batch   int
	every   time.Duration // how long a span waits for others
	timeout time.Duration // of one export

	dropped atomic.Uint64
	stop    func() // begins the end: what waits is sent once more
	ending  <-chan struct{}
	ended   chan struct{}

	// giveUp ends the export that is under way, when a stop has no time left.
	life   context.Context
	giveUp context.CancelFunc
}

// newSpanQueue begins to send; Shutdown ends that.
func newSpanQueue(export sdktrace.SpanExporter, size, batch int, every, timeout time.Duration) *spanQueue {
	ending := make(chan struct{})
	q := &spanQueue{
		waiting: make(chan sdktrace.ReadOnlySpan, size), export: export, batch: batch, every: every, timeout: timeout,
		stop: sync.OnceFunc(func() { close(ending) }), ending: ending, ended: make(chan struct{}),
	}
	q.life, q.giveUp = context.WithCancel(context.Background())
	go q.run() // ends after stop
	return q
}

// OnStart implements sdktrace.SpanProcessor.
func (*spanQueue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor. It never waits.
func (q *spanQueue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case q.waiting <- s:
	default:
		q.dropped.Add(1)
	}
}

// ForceFlush implements sdktrace.SpanProcessor; nobody asks for it.
func (*spanQueue) ForceFlush(context.Context) error { return nil }

// Shutdown sends what waits while ctx lasts. Spans that end later are not sent.
func (q *spanQueue) Shutdown(ctx context.Context) error {
	q.stop()
	defer q.giveUp()
	select {
	case <-q.ended:
	case <-ctx.Done():
		q.giveUp()
		<-q.ended // soon: every export ends with life
	}
	if err := q.export.Shutdown(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// run sends a batch when it is full, or when its first span has waited long enough.
func (q *spanQueue) run() {
	defer close(q.ended)
	var batch []sdktrace.ReadOnlySpan
	timer := time.NewTimer(q.every)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case s := <-q.waiting:
			if batch = append(batch, s); len(batch) == 1 {
				timer.Reset(q.every)
			}
			if len(batch) < q.batch {
				continue
			}
			timer.Stop()
		case <-timer.C:
		case <-q.ending:
			q.drain(batch)
			return
		}
		q.send(batch)
		batch = batch[:0]
	}
}

// drain sends batch and what waits after it, as long as sending works.
func (q *spanQueue) drain(batch []sdktrace.ReadOnlySpan) {
	for {
		select {
		case s := <-q.waiting:
			if batch = append(batch, s); len(batch) < q.batch {
				continue
			}
		default:
			if len(batch) > 0 {
				q.send(batch)
			}
			return
		}
		q.send(batch)
		batch = batch[:0]
	}
}

// send is over after timeout. Whoever exports logs and counts what fails.
func (q *spanQueue) send(batch []sdktrace.ReadOnlySpan) {
	ctx, cancel := context.WithTimeout(q.life, q.timeout)
	defer cancel()
	_ = q.export.ExportSpans(ctx, batch)
	clear(batch) // what is sent must not be held
}
