package php

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options is what a pool gets from the server around it.
type Options struct {
	Logger   *slog.Logger
	StateDir string   // for relay sockets; "" is the pool's temporary folder
	TempDir  string   // for bodies and uploads on disk; "" is os.TempDir()
	Env      []string // KEY=VALUE added to the environment of the workers
	MaxBody  int64    // the largest request body; a larger one gets 413. 0 is no limit
}

// Pool is a set of PHP workers and the queue in front of them.
type Pool struct {
	name string
	cfg  Config
	opts Options
	log  *slog.Logger
	user *account
	temp *tempDir

	epoch   time.Time
	serial  atomic.Uint64 // of relay sockets
	spawner *spawner
	stats   counters
	pace    pace

	reloading sync.Mutex      // one reload at a time
	life      context.Context // boots and reloads end with it
	endLife   context.CancelFunc
	forced    chan struct{}  // closed when a stop ran out of time
	settled   chan struct{}  // closed when a stopping pool has no job left
	stopped   chan struct{}  // closed when everything ended
	running   sync.WaitGroup // workers and boots
	control   sync.WaitGroup // supervisor and watcher
	wake      chan struct{}  // for the supervisor

	mu       sync.Mutex // protects everything below
	spec     *spec      // of the current generation
	workers  []*worker  // all that were booted and have not ended
	idle     []*worker  // the last one is the next to work
	queue    queue
	busy     int
	booting  int
	growing  bool // the supervisor was told that jobs wait
	failures int  // boots and unproved workers that failed in a row
	retryAt  int64
	lastErr  error
	started  bool
	closing  bool
}

// pace is how fast the supervisor decides. Tests go faster.
type pace struct {
	tick       time.Duration // between looks at deadlines and idle workers
	growAfter  time.Duration // the wait in the queue from which a pool grows
	shrinkIdle time.Duration // idle time after which a worker is one too many
	shrinkStep time.Duration // between two workers retired for idleness
}

func defaultPace(c Config) pace {
	shortest := c.Queue.Timeout
	if c.ExecTimeout > 0 {
		shortest = min(shortest, c.ExecTimeout)
	}
	return pace{
		tick:       min(max(shortest/20, 5*time.Millisecond), 250*time.Millisecond),
		growAfter:  5 * time.Millisecond,
		shrinkIdle: 30 * time.Second,
		shrinkStep: time.Second,
	}
}

// New checks what the configuration names: the program, the script, the folder and the user. Nothing runs before Start.
func New(name string, cfg Config, opts Options) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	user, err := lookupAccount(cfg.User)
	if err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	p := &Pool{
		name:    name,
		cfg:     cfg,
		opts:    opts,
		log:     opts.Logger,
		user:    user,
		epoch:   time.Now(),
		pace:    defaultPace(cfg),
		forced:  make(chan struct{}),
		settled: make(chan struct{}),
		stopped: make(chan struct{}),
		wake:    make(chan struct{}, 1),
	}
	if p.spec, err = p.newSpec(); err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	return p, nil
}

// Start boots workers.min workers and returns when all are ready. When one does not come up, none stays.
func (p *Pool) Start(ctx context.Context) error {
	p.mu.Lock()
	again := p.started || p.closing
	p.started = true
	p.mu.Unlock()
	if again {
		return fmt.Errorf("php pool %q: started twice", p.name)
	}

	temp, err := newTempDir(p.opts.TempDir, p.name, p.user)
	if err != nil {
		p.mu.Lock()
		p.started = false
		p.mu.Unlock()
		return err
	}
	p.temp = temp
	p.spawner = newSpawner()
	p.life, p.endLife = context.WithCancel(context.Background())
	if err := p.startWorkers(ctx); err != nil {
		stopCtx, cancel := context.WithCancel(ctx)
		cancel() // nothing to wait for
		return errors.Join(err, ignoreCanceled(p.Stop(stopCtx)))
	}
	p.control.Go(p.supervise) // ends with life
	if err := p.startWatch(); err != nil {
		stopCtx, cancel := context.WithTimeout(ctx, p.cfg.StopTimeout)
		defer cancel()
		return errors.Join(err, p.Stop(stopCtx))
	}
	return nil
}

// startWorkers boots the first workers, all at once.
func (p *Pool) startWorkers(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make(chan error, p.cfg.Workers.Min)
	for range p.cfg.Workers.Min {
		p.running.Go(func() { // ends when the worker is up, or not, within boot_timeout
			w, err := p.boot(ctx, p.spec)
			if err == nil {
				p.join(w, nil)
			}
			errs <- err
		})
	}
	var first error
	for range p.cfg.Workers.Min {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel(errors.New("another worker did not start"))
		}
	}
	return first
}

// join makes a booted worker one of the pool, in the place of old when that is not nil. A worker of a generation that a reload
// replaced meanwhile is ended instead.
func (p *Pool) join(w, old *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.spec != p.spec || p.isSettled() {
		p.running.Go(w.dismiss) // ends within stop_timeout
		return false
	}
	p.workers = append(p.workers, w)
	w.state, w.since = StateBusy, p.now() // until it asks for its first job
	p.busy++
	p.running.Go(w.run) // ends when the worker is retired or dies
	if old != nil {
		p.retireLocked(old)
	}
	return true
}

// dismiss ends a worker that never became one of the pool.
func (w *worker) dismiss() { w.shutdown() }

// isSettled reports whether a stopping pool wants no workers any more.
func (p *Pool) isSettled() bool {
	select {
	case <-p.settled:
		return true
	default:
		return false
	}
}

// nextJob returns the worker's next job, waiting for one. It returns nil when the worker shall end.
func (p *Pool) nextJob(w *worker) *job {
	p.mu.Lock()
	if w.retire {
		p.leaveBusy(w, StateStopping)
		p.mu.Unlock()
		return nil
	}
	if j := p.queue.first; j != nil {
		p.queue.remove(j)
		now := p.now()
		p.stats.waited(now - j.queuedAt)
		w.since = now
		p.mu.Unlock()
		return j
	}
	p.leaveBusy(w, StateIdle)
	p.idle = append(p.idle, w)
	p.mu.Unlock()

	select {
	case j := <-w.jobs:
		return j
	case <-w.quit:
		return nil
	case <-w.proc.exited:
	}
	p.mu.Lock()
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
		p.mu.Unlock()
		p.logFor(w).Warn("idle php worker died", "status", w.proc.status)
		p.stats.crashes.Add(1)
		p.leave(w, true)
		return nil
	}
	p.mu.Unlock()
	select {
	case j := <-w.jobs:
		return j // given to it while it died; serve hands it on
	case <-w.quit:
		return nil
	}
}
