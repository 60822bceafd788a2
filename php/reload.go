package php

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Reload replaces all workers, one generation by the next, without failing or delaying a request: every new worker is ready
// before the one it replaces is retired. The program, the folder and its symlinks are looked up anew. When the first new
// worker does not come up, the old ones stay and the error says why, in PHP's words. Reload does not wait for requests
// that old workers still have.
func (p *Pool) Reload(ctx context.Context) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	if !p.ready.Load() || p.isSettled() {
		return fmt.Errorf("reload php pool %q: %w", p.name, ErrStopped)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.life, func() { cancel(ErrStopped) })()

	err := p.replaceGeneration(ctx)
	p.mu.Lock()
	p.reloadErr = err
	p.mu.Unlock()
	if err != nil {
		p.stats.reloadsFailed.Add(1)
		return fmt.Errorf("reload php pool %q: %w", p.name, err)
	}
	p.stats.reloads.Add(1)
	p.log.Info("php pool reloaded", "pool", p.name)
	return nil
}

func (p *Pool) replaceGeneration(ctx context.Context) error {
	next, err := p.newSpec()
	if err != nil {
		return err
	}
	if p.alone() {
		return nil // every request reads the code anew
	}
	first, err := p.boot(ctx, next)
	if err != nil {
		return err
	}

	p.mu.Lock()
	defer p.spec.retire() // of the generation that ends
	p.spec = next         // from here on every boot is of the new generation
	p.failures, p.lastErr = 0, nil
	var old []*worker
	for _, w := range p.workers {
		if !w.retire {
			w.replacing, w.why = true, byReload
			old = append(old, w)
		}
	}
	p.booting++
	p.mu.Unlock()
	p.stats.booted.Add(1)
	defer p.poke()
	if len(old) == 0 {
		p.join(first, nil)
		return nil
	}
	p.join(first, old[0])
	return p.replaceAll(ctx, next, old[1:])
}

// replaceAll boots a successor for each of the old workers, a few at a time.
func (p *Pool) replaceAll(ctx context.Context, s *spec, old []*worker) error {
	todo := make(chan *worker, len(old))
	for _, w := range old {
		todo <- w
	}
	close(todo)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for range min(len(old), runtime.GOMAXPROCS(0)) {
		wg.Go(func() { // ends when all are replaced
			for w := range todo {
				if err := p.replace(ctx, s, w); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d workers run the old code still: %w", len(errs), len(old)+1, errs[0])
	}
	return nil
}

// replace boots a successor for one worker, unless that has ended by itself.
func (p *Pool) replace(ctx context.Context, s *spec, old *worker) error {
	p.mu.Lock()
	gone := old.retire
	if !gone {
		p.booting++
	}
	p.mu.Unlock()
	if gone {
		return nil
	}
	p.stats.booted.Add(1)
	return p.launch(ctx, s, old)
}
