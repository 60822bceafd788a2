package php

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// Options is what a pool gets from the server around it.
type Options struct {
	Logger   *slog.Logger
	StateDir string   // for relay sockets; "" is the pool's temporary folder
	TempDir  string   // for bodies and uploads on disk; "" is os.TempDir()
	Env      []string // KEY=VALUE added to the environment of the workers
	Traced   bool     // Serving is asked what workers serve
}

// Pool is a set of PHP workers and the queue in front of them.
type Pool struct {
	name string
	cfg  Config
	opts Options
	log  *slog.Logger
	user *osproc.Account
	temp *tempDir

	epoch   time.Time
	boots   chan struct{} // bounds the boots at a time
	serial  atomic.Uint64 // of relay sockets
	scripts atomic.Uint64 // requests of classic mode
	ready   atomic.Bool   // Start is done
	speaks  atomic.Uint32 // the codec of the workers that joined last: see codec.go
	spawner *spawner
	seats   seats // of debug mode
	stats   counters
	rests   restPool
	pace    pace

	changing   sync.Mutex      // one start, reload or end at a time
	life       context.Context // boots, reloads and the supervisor end with it
	endLife    context.CancelFunc
	forced     chan struct{}  // closed when a stop ran out of time
	settled    chan struct{}  // closed when a stopping pool has no job left
	stopped    chan struct{}  // closed when everything ended
	running    sync.WaitGroup // workers and boots
	control    sync.WaitGroup // supervisor and watcher
	wake       chan struct{}  // for the supervisor
	rescueWake chan struct{}

	mu       sync.Mutex // protects everything below
	spec     *spec      // of the current generation
	workers  []*worker  // all that were booted and have not ended
	idle     []*worker  // the last one is the next to work
	spent    []*worker  // idle, but not to work any more: see spent.go
	queue    queue
	busy     int
	booting  int
	growing  bool // the supervisor was told that jobs wait
	extra    int  // jobs that lie behind another in a worker's pipe: see ahead.go
	next     uint // of the workers, to be looked at for room
	away     int  // workers that work on after an answer: see ahead.go
	rescuing bool // rescue is awake
	scratch  [2 * packetMax]byte
	refused  struct {
		told uint64 // of the requests that found no worker, those that were logged
		at   int64
	}
	failures  int // boots and unproved workers that failed in a row
	retryAt   int64
	lastErr   error
	reloadErr error // of the last reload
	started   bool
	closing   bool
}

// pace is how fast the supervisor decides. Tests go faster.
type pace struct {
	tick       time.Duration // between looks at deadlines and idle workers
	growAfter  time.Duration // the wait in the queue from which a pool grows
	shrinkIdle time.Duration // idle time after which a worker is one too many
	shrinkStep time.Duration // between two workers retired for idleness
	short      time.Duration // for requests ahead: see ahead.go
	patience   time.Duration
	succession time.Duration // how long requests wait for the successor of a spent worker: see spent.go
	weigh      time.Duration // between two looks at the memory of the workers
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
		short:      time.Millisecond,
		patience:   time.Millisecond,
		succession: time.Second,
		weigh:      time.Second,
	}
}

// New checks what the configuration names: the program, the script, the folder and the user. Nothing runs before Start.
func New(name string, cfg Config, opts Options) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	user, err := osproc.LookupAccount(cfg.User, cfg.Group)
	if err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	p := &Pool{
		name:       name,
		cfg:        cfg,
		opts:       opts,
		log:        opts.Logger,
		user:       user,
		epoch:      time.Now(),
		boots:      make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0))),
		pace:       defaultPace(cfg),
		forced:     make(chan struct{}),
		settled:    make(chan struct{}),
		stopped:    make(chan struct{}),
		wake:       make(chan struct{}, 1),
		rescueWake: make(chan struct{}, 1),
	}
	if p.alone() {
		p.seats.taken = make(chan struct{}, cfg.Workers.Max)
	}
	if p.spec, err = p.newSpec(); err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	if err := cfg.Sendfile.check(); err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	return p, nil
}

// Start boots workers.min workers and returns when all are ready. When one does not come up, none stays.
func (p *Pool) Start(ctx context.Context) error {
	if err := p.prepare(); err != nil {
		return err
	}
	err := p.bringUp(ctx)
	if err != nil {
		now, cancel := context.WithCancel(ctx)
		cancel() // there is nothing to wait for
		_ = p.Stop(now)
	}
	return err
}

// prepare makes what the workers need around them.
func (p *Pool) prepare() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.closing {
		return fmt.Errorf("php pool %q: started twice, or after its end", p.name)
	}
	temp, err := newTempDir(p.opts.TempDir, p.name, p.user)
	if err != nil {
		return err
	}
	if p.spawner, err = newSpawner(p.cfg.Nice, p.cfg.Limits, p.newMemoryGroup()); err != nil {
		_ = temp.remove()
		return fmt.Errorf("php pool %q: %w", p.name, err)
	}
	p.temp = temp
	p.life, p.endLife = context.WithCancel(context.Background())
	p.started = true
	return nil
}

// bringUp starts everything that runs.
func (p *Pool) bringUp(ctx context.Context) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	if p.isSettled() {
		return fmt.Errorf("start php pool %q: %w", p.name, ErrStopped)
	}
	if p.alone() {
		p.log.Warn("php pool runs in debug mode: every request starts PHP anew, and errors are shown to whoever asks; not for production", "pool", p.name)
	} else if err := p.startWorkers(ctx); err != nil {
		return err
	}
	p.control.Go(p.supervise) // ends with life
	p.control.Go(p.rescue)    // ends with life
	if err := p.startWatch(); err != nil {
		return err
	}
	p.ready.Store(true)
	return nil
}

// startWorkers boots the first workers.
func (p *Pool) startWorkers(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.life, func() { cancel(ErrStopped) })()
	n := p.cfg.Workers.Min
	p.mu.Lock()
	s := p.spec
	p.booting += n
	p.mu.Unlock()

	errs := make(chan error, n)
	for range n {
		p.running.Go(func() { errs <- p.launch(ctx, s, nil) }) // ends within boot_timeout
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel(errors.New("another worker did not start"))
		}
	}
	return first
}

// submit gives the job to a worker and waits until it is done. An error means that no worker had it.
func (p *Pool) submit(ctx context.Context, j *job) error {
	if p.alone() {
		return p.submitAlone(ctx, j)
	}
	p.stats.requests.Add(1)
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		p.stats.refused.Add(1)
		return ErrStopped
	}
	now := p.now()
	j.queuedAt = now
	if p.queue.len == 0 {
		w := p.hot(j, now)
		if w == nil && len(p.idle) == 0 {
			w = p.roomy(j, now)
		}
		if w != nil {
			p.assign(w, j, now)
			p.mu.Unlock()
			w.put(j)
			return p.await(ctx, j)
		}
	}
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1] // the one that worked last has the warmest caches
		p.idle = p.idle[:n-1]
		if w.ahead != nil {
			p.assign(w, j, now)
			p.mu.Unlock()
			w.put(j)
		} else {
			p.beginAt(w, now)
			p.mu.Unlock()
			w.jobs <- j
			if w.hangup != nil {
				return p.await(ctx, j)
			}
		}
		<-j.done
		return nil
	}
	if p.queue.len >= p.cfg.Queue.Max && !p.makeRoom(j) {
		p.mu.Unlock()
		p.stats.queueFull.Add(1)
		return ErrQueueFull
	}
	p.queue.pushBack(j)
	tell := !p.growing && len(p.workers)+p.booting < p.cfg.Workers.Max
	p.growing = p.growing || tell
	p.mu.Unlock()
	if tell {
		p.poke()
	}
	return p.await(ctx, j)
}

// await waits for a job that no worker has begun. When ctx ends before one does, the job is the caller's again.
func (p *Pool) await(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	j.gone = true // in case that it comes back to the queue
	waiting := j.waiting
	if waiting {
		p.queue.remove(j)
		p.checkSettled()
	}
	p.mu.Unlock()
	if waiting {
		return ctx.Err()
	}
	p.hangUp(j)
	<-j.done // a worker has it, or it just expired
	return nil
}

// requeue puts a job that never reached PHP before all others, or gives it to an idle worker.
func (p *Pool) requeue(j *job) {
	j.attempts++
	p.stats.retries.Add(1)
	p.mu.Lock()
	if p.isForced() {
		p.mu.Unlock()
		j.finish(ErrStopped)
		return
	}
	if j.attempts >= maxAttempts || p.alone() {
		p.mu.Unlock()
		j.finish(fmt.Errorf("%w: %d workers ended before they took the request", ErrCrashed, j.attempts))
		return
	}
	j.queuedAt = p.now()
	w := p.give(j, j.queuedAt)
	p.mu.Unlock()
	if w != nil {
		p.running.Go(func() { w.put(j) }) // ends when PHP read the request, or is dead
	}
	p.poke()
}

// nextJob returns the worker's next job, waiting for one, and keep; or what else shall become of the worker.
func (p *Pool) nextJob(w *worker) (*job, fate) {
	p.mu.Lock()
	if w.retire {
		p.mu.Unlock()
		return nil, stop
	}
	if !w.spent() {
		if j := p.queue.pop(); j != nil {
			p.beginWork(w)
			p.stats.waited(w.since - j.queuedAt)
			p.mu.Unlock()
			return j, keep
		}
	}
	p.endWork(w, StateIdle)
	p.rest(w)
	p.mu.Unlock()

	select {
	case j := <-w.jobs:
		return j, keep
	case <-w.quit:
		return nil, stop
	case <-w.proc.exited:
		return p.diedIdle(w)
	}
}

// diedIdle takes a dead worker out of the idle ones. When somebody else just took it out, a job or the end is on its way: serve
// hands such a job on.
func (p *Pool) diedIdle(w *worker) (*job, fate) {
	p.mu.Lock()
	idle := p.unrest(w)
	p.mu.Unlock()
	if idle {
		w.logEnd(nil, false)
		return nil, w.lastFate()
	}
	select {
	case j := <-w.jobs:
		return j, keep
	case <-w.quit:
		return nil, stop
	}
}

// beginWork notes that a worker is given a job, its first or the next. p.mu is held.
func (p *Pool) beginWork(w *worker) { p.beginAt(w, p.now()) }

func (p *Pool) beginAt(w *worker, now int64) {
	if w.state != StateBusy {
		p.busy++
	}
	w.state, w.since = StateBusy, now
}

// endWork notes that a worker has no job any more. p.mu is held.
func (p *Pool) endWork(w *worker, next State) { p.endAt(w, next, p.now()) }

func (p *Pool) endAt(w *worker, next State, now int64) {
	if w.state == StateBusy {
		p.busy--
		p.isBack(w)
	}
	w.state, w.since = next, now
	p.checkSettled()
}

// launch boots a worker of generation s, in the place of old when that is not nil. The caller has counted it in p.booting.
func (p *Pool) launch(ctx context.Context, s *spec, old *worker) error {
	w, err := p.boot(ctx, s)
	if err == nil {
		p.join(w, old)
		return nil
	}
	p.mu.Lock()
	p.booting--
	if old != nil {
		old.notReplaced()
	}
	if s == p.spec && ctx.Err() == nil {
		p.failed(err)
	}
	p.mu.Unlock()
	p.poke()
	return err
}

// join makes a booted worker one of the pool, in the place of old when that is not nil. A worker of a generation that a
// reload replaced meanwhile is ended instead.
func (p *Pool) join(w, old *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.booting--
	p.workers = append(p.workers, w)
	if w.spec != p.spec || p.isSettled() {
		w.retire, w.state = true, StateStopping
		p.running.Go(w.run) // ends within stop_timeout
		p.poke()
		return
	}
	p.speaks.Store(uint32(w.speaks))
	w.state, w.since = StateBooting, p.now() // until it looks for its first job
	p.running.Go(w.run)                      // ends when the worker is retired or dies
	if old != nil {
		p.retire(old)
	}
	if p.live() > p.cfg.Workers.Max { // the pool became smaller meanwhile, or somebody else replaced what died
		one := p.dispensable()
		one.why = byIdle
		p.retire(one)
	}
	p.log.Debug("php worker is ready", "pool", p.name, "pid", w.proc.pid)
}

// retire lets a worker end after its job. p.mu is held.
func (p *Pool) retire(w *worker) {
	if w.retire {
		return
	}
	w.retire = true
	idle := p.unrest(w)
	switch {
	case w.ahead != nil:
		if idle || w.ahead.away {
			interrupt(w.relay)
		}
	case idle:
		close(w.quit)
	}
}

// retireBusy lets a worker end that asked for it, after the job it has.
func (p *Pool) retireBusy(w *worker) {
	p.mu.Lock()
	p.retire(w)
	p.mu.Unlock()
	p.poke()
}

// stopping notes that a worker is being ended.
func (p *Pool) stopping(w *worker) {
	p.mu.Lock()
	w.retire = true
	p.endWork(w, StateStopping)
	p.mu.Unlock()
	p.poke()
}

// leave takes an ended worker out of the pool.
func (p *Pool) leave(w *worker, crashed bool) {
	crashed = crashed && !w.doomed.Load() && !w.killed.Load()
	p.mu.Lock()
	why := w.endedBy(crashed)
	p.stats.ended.count(why)
	p.endWork(w, StateStopping)
	w.retire = true
	p.workers = slices.DeleteFunc(p.workers, func(other *worker) bool { return other == w })
	if crashed && w.served.Load() == 0 && w.spec == p.spec {
		p.failed(fmt.Errorf("a worker of php pool %q died before it answered anything: %s", p.name, w.proc.status))
	}
	p.mu.Unlock()
	if crashed {
		p.stats.crashes.Add(1)
	}
	p.logFor(w).Debug("php worker is gone", "reason", why.String(), "jobs", w.served.Load())
	p.poke()
}

// now is the time since the pool was made: monotonic, and small enough for an atomic.
func (p *Pool) now() int64 { return int64(time.Since(p.epoch)) }

// poke makes the supervisor look now.
func (p *Pool) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Pool) logFor(w *worker) *slog.Logger {
	if w.log != nil {
		return w.log
	}
	return p.log.With("pool", p.name, "pid", w.proc.pid)
}
