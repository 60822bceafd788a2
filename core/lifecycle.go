package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// part is one piece of the server. Its stop may be called without a start, and then gives back what its constructor took.
type part struct {
	name  string
	start func(context.Context) error
	stop  func(context.Context) error
	saves bool // its stop writes what would be lost otherwise
}

// savingTime is what the parts that save have for it together, however long those before them took.
const savingTime = 10 * time.Second

// lifecycle starts parts in list order and stops them in reverse. When a part fails to start, all are stopped.
type lifecycle struct {
	log *slog.Logger

	mu    sync.Mutex // held through a start and a stop: a second stop waits for the first
	parts []part     // nil after the stop
}

func (l *lifecycle) add(name string, start, stop func(context.Context) error) {
	l.parts = append(l.parts, part{name: name, start: start, stop: stop})
}

// addSaving adds a part whose stop writes what would be lost otherwise.
func (l *lifecycle) addSaving(name string, start, stop func(context.Context) error) {
	l.parts = append(l.parts, part{name: name, start: start, stop: stop, saves: true})
}

// start returns when every part runs, or none does. stopTimeout bounds the rollback.
func (l *lifecycle) start(ctx context.Context, stopTimeout time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts == nil {
		return errors.New("edge has been stopped: a server is started once")
	}
	for _, p := range l.parts {
		began := time.Now()
		if err := p.start(ctx); err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			return errors.Join(fmt.Errorf("start %s: %w", p.name, err), l.stopAll(ctx))
		}
		l.log.Debug("part started", "part", p.name, "took", time.Since(began))
	}
	return nil
}

// stop stops every part, last first, and returns when the last one has ended. All parts share the time of ctx, and each is
// stopped even if ctx has ended: it then stops the hard way. Those that save share savingTime at least: a client that takes all
// the time there is for its answer must not cost others their data.
func (l *lifecycle) stop(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopAll(ctx)
}

func (l *lifecycle) stopAll(ctx context.Context) error {
	var errs []error
	var saving context.Context // from the first part on that saves
	for _, p := range slices.Backward(l.parts) {
		began, patience := time.Now(), ctx
		if p.saves {
			if saving == nil {
				var cancel context.CancelFunc
				saving, cancel = withTimeToSave(ctx)
				defer cancel()
			}
			patience = saving
		}
		if err := p.stop(patience); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
		l.log.Debug("part stopped", "part", p.name, "took", time.Since(began))
	}
	l.parts = nil
	return errors.Join(errs...)
}

// withTimeToSave returns ctx if it has savingTime left, and a longer one if not.
func withTimeToSave(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ctx.Err() == nil && (!ok || time.Until(deadline) >= savingTime) {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), savingTime)
}
