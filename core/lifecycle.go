package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// part is one running piece of the server.
type part struct {
	name  string
	start func(context.Context) error
	stop  func(context.Context) error
}

// lifecycle starts parts in list order and stops them in reverse. When a part fails to start, those before it are stopped.
type lifecycle struct {
	log     *slog.Logger
	parts   []part
	started []part
}

func (l *lifecycle) add(name string, start, stop func(context.Context) error) {
	l.parts = append(l.parts, part{name, start, stop})
}

// start returns when every part runs, or none does. stopTimeout bounds the rollback.
func (l *lifecycle) start(ctx context.Context, stopTimeout time.Duration) error {
	for _, p := range l.parts {
		began := time.Now()
		if err := p.start(ctx); err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			// The part that failed may have begun something; Stop without a finished Start is allowed.
			return errors.Join(fmt.Errorf("start %s: %w", p.name, err), p.stop(ctx), l.stop(ctx))
		}
		l.started = append(l.started, p)
		l.log.Debug("part started", "part", p.name, "took", time.Since(began))
	}
	return nil
}

// stop stops what has started, last first, and returns when the last part has ended. All parts share the time of ctx, and
// each is stopped even if ctx has ended: it then stops the hard way.
func (l *lifecycle) stop(ctx context.Context) error {
	var errs []error
	for _, p := range slices.Backward(l.started) {
		began := time.Now()
		if err := p.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
		l.log.Debug("part stopped", "part", p.name, "took", time.Since(began))
	}
	l.started = nil
	return errors.Join(errs...)
}
