package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
)

// reset replaces the workers of pools, one after the other. Under RoadRunner's name the configuration of these pools is read again
// first: a new command, environment or number of workers is in force with the new workers, and a mistake leaves the old ones. What
// else the configuration says is as it was.
func (e *Edge) reset(ctx context.Context, pools []string) error {
	rr := e.opts.RoadRunner
	if rr == nil || rr.Reread == nil {
		return e.resetAsConfigured(ctx, pools)
	}
	next, err := e.reread(pools)
	switch {
	case err != nil:
	case next == nil:
		err = e.resetAsConfigured(ctx, pools)
	default:
		err = e.Reload(ctx, next)
	}
	if err == nil {
		return nil
	}
	if rr.Explain != nil {
		err = rr.Explain(err)
	}
	return fmt.Errorf("reset refused, the workers serve on as they were: %w", err)
}

func (e *Edge) resetAsConfigured(ctx context.Context, pools []string) error {
	w := e.world.Load()
	var errs []error
	for _, name := range pools {
		errs = append(errs, w.pools[name].Reload(ctx))
	}
	return errors.Join(errs...)
}

// reread is the configuration in force with pools as they are configured now; nil when nothing has changed there.
func (e *Edge) reread(pools []string) (*Config, error) {
	fresh, err := e.opts.RoadRunner.Reread()
	if err != nil {
		return nil, err
	}
	old := e.Config()
	next := *old
	next.PHP, next.file = maps.Clone(old.PHP), fresh.file
	for _, name := range pools {
		pool, there := fresh.PHP[name]
		if !there {
			return nil, fmt.Errorf("the configuration has no section %s any more: write it again, or stop the server", name)
		}
		next.PHP[name] = pool
	}
	if reflect.DeepEqual(old.PHP, next.PHP) {
		return nil, nil
	}
	return &next, nil
}
