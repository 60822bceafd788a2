package pluginkit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/edge-server/edge/wasmhost"
)

// Bench measures requests of the trial through the plugin for so long, with each isolation.
func Bench(ctx context.Context, t Target, trial Trial, span time.Duration, out io.Writer) error {
	if err := t.GrantWishes(ctx); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ISOLATION\tREQUESTS/S\tNS/REQUEST\tALLOCS/REQUEST\tFUEL/REQUEST\tMEMORY\tINSTANCES")
	for _, isolation := range []string{wasmhost.IsolateInstance, wasmhost.IsolateRequest} {
		module := t.module()
		module.Isolation = isolation
		t.set(module)
		m, err := measure(ctx, t, trial, span)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.1f\t%d\t%s\t%d\n", isolation, m.perSecond, m.ns, m.allocs, m.fuel, Size(m.memory), m.instances)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "one request at a time, %s each, on one of %d CPUs; no network, and nothing behind the plugin\n", span, runtime.NumCPU())
	return nil
}

type measurement struct {
	perSecond, ns, allocs float64
	fuel, memory          uint64
	instances             int
}

func measure(ctx context.Context, t Target, trial Trial, span time.Duration) (m measurement, err error) {
	w := newWorld(io.Discard)
	defer w.close(ctx)
	host, err := wasmhost.New(ctx, t.Config, wasmhost.Options{Logger: slog.New(slog.DiscardHandler), Services: w.services()})
	if err != nil {
		return m, err
	}
	defer func() { _ = host.Stop(ctx) }() // its requests are over
	p, _ := host.Plugin(t.Name)
	once, err := requester(ctx, p, trial)
	if err != nil {
		return m, err
	}
	rehearse(once)
	if s := p.Stats(); s.Traps > 0 {
		return m, fmt.Errorf("the plugin fails with this request: %s", s.LastError)
	}
	repeat(ctx, once, span/10) // warm

	var before, after runtime.MemStats
	fuel := p.Stats().Fuel.Total
	runtime.ReadMemStats(&before)
	n, took := repeat(ctx, once, span)
	runtime.ReadMemStats(&after)
	s := p.Stats()
	if n == 0 {
		return m, ctx.Err()
	}
	return measurement{
		perSecond: float64(n) / took.Seconds(), ns: float64(took.Nanoseconds()) / float64(n),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(n), fuel: (s.Fuel.Total - fuel) / uint64(n),
		memory: s.Memory, instances: s.Idle + s.Busy,
	}, ctx.Err()
}

// requester is one request of the trial, with as little around it as can be.
func requester(ctx context.Context, p *wasmhost.Plugin, trial Trial) (func(), error) {
	r, err := trial.request(ctx)
	if err != nil {
		return nil, err
	}
	header := r.Header.Clone()
	w := &sink{header: http.Header{}}
	reset := func() {
		clear(w.header)
		clear(r.Header)
		for name, values := range header {
			r.Header[name] = values
		}
		if trial.Body != "" {
			r.Body, _ = r.GetBody() // of a strings.Reader
		}
	}
	switch kinds := p.Kinds(); {
	case kinds.Has(wasmhost.KindMiddleware):
		handler := p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(trial.NextStatus) }))
		return func() { reset(); handler.ServeHTTP(w, r) }, nil
	case kinds.Has(wasmhost.KindRouter):
		return func() { reset(); _, _ = p.Decide(w, r) }, nil
	default:
		return nil, fmt.Errorf("%s is %s; requests are what is measured", p.Name(), kinds)
	}
}

// rehearse is the first request, which may end as half an answer does.
func rehearse(once func()) {
	defer func() { _ = recover() }() // the plugin's trap is counted
	once()
}

// repeat calls once for so long, and looks at the clock every 64 times.
func repeat(ctx context.Context, once func(), span time.Duration) (n int, took time.Duration) {
	began := time.Now()
	for took < span && ctx.Err() == nil {
		for range 64 {
			once()
		}
		n += 64
		took = time.Since(began)
	}
	return n, took
}

// sink is a client that does not look.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}
