package php

import "context"

// Serving returns the context of the request that the worker with that process id serves now, in a pool that is Traced. It is not
// ok when the worker is of another pool, is idle, or has several requests at once, of which nobody knows here which one PHP has
// reached: those of sdk/php, which can say so by itself.
func (p *Pool) Serving(pid int) (context.Context, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.proc.pid != pid {
			continue
		}
		if a := w.ahead; a != nil && len(a.flight) == 1 {
			return a.flight[0].serves, a.flight[0].serves != nil
		}
		return w.serves, w.serves != nil
	}
	return nil, false
}

// note remembers whose request the worker serves, until the returned function is called.
func (w *worker) note(ctx context.Context) (forget func()) {
	set := func(ctx context.Context) {
		w.pool.mu.Lock()
		defer w.pool.mu.Unlock()
		w.serves = ctx
	}
	set(ctx)
	return func() { set(nil) }
}
