package rpc

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/edge-server/edge/internal/frame"
)

// Trace is where a call belongs in a trace of OpenTelemetry: the W3C trace context of the caller.
type Trace struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte
}

// The number of options of a call. RoadRunner's calls have two. sdk/php adds the trace: four words of trace id and two of span
// id, in the order of their bytes, and the flags.
const (
	plainOptions  = 2
	tracedOptions = 9
)

func traceOf(h *frame.Header) (t Trace) {
	for i := range 4 {
		binary.LittleEndian.PutUint32(t.TraceID[4*i:], h.Option(2+i))
	}
	for i := range 2 {
		binary.LittleEndian.PutUint32(t.SpanID[4*i:], h.Option(6+i))
	}
	t.Flags = byte(h.Option(8))
	return t
}

// CallerPID is the process that made the call which ctx belongs to, as the kernel noted it when a unix socket was connected;
// 0 where that is unknown.
func CallerPID(ctx context.Context) int {
	pid, _ := ctx.Value(pidKey{}).(int)
	return pid
}

// CallerTrace is the trace that the caller sent with its call.
func CallerTrace(ctx context.Context) (Trace, bool) {
	t, ok := ctx.Value(traceKey{}).(Trace)
	return t, ok
}

// UntilGone returns a context of a call that ends, too, when its client has gone: for calls that wait, and whose answer is of no use
// to anybody else. The caller calls cancel when the call is done.
func UntilGone(ctx context.Context) (_ context.Context, cancel func()) {
	gone, ok := ctx.Value(goneKey{}).(context.Context)
	if !ok {
		return ctx, func() {}
	}
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(gone, func() { end(ErrClientGone) })
	return ctx, func() { stop(); end(nil) }
}

// ErrClientGone is the cause for which the context of UntilGone ends.
var ErrClientGone = errors.New("the client has gone")

type (
	goneKey  struct{}
	pidKey   struct{}
	traceKey struct{}
)

// callerContext is the context of all calls of a connection.
type callerContext struct {
	context.Context
	pid  int
	gone context.Context // ends when nothing comes from the client any more
}

func (c *callerContext) Value(key any) any {
	switch key {
	case pidKey{}:
		return c.pid
	case goneKey{}:
		return c.gone
	}
	return c.Context.Value(key)
}

// tracedContext is that of one call.
type tracedContext struct {
	context.Context
	trace Trace
}

func (c *tracedContext) Value(key any) any {
	if key == (traceKey{}) {
		return c.trace
	}
	return c.Context.Value(key)
}
