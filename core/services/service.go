package services

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// spec is what a service runs, resolved once: before anything that serves is touched, a reload knows that it can be started.
type spec struct {
	path string
	args []string
	dir  string
	env  []string
	user *osproc.Account
}

func (m *Manager) newSpec(c Config) (*spec, error) {
	dir, err := filepath.Abs(cmp.Or(c.Dir, m.opts.Dir))
	if err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("dir: %s is not a folder", dir)
	}
	path, err := osproc.FindProgram(c.Command[0], dir, "install it")
	if err != nil {
		return nil, err
	}
	user, err := osproc.LookupAccount(c.User, c.Group)
	if err != nil {
		return nil, err
	}
	if err := mayEnter(dir, user); err != nil {
		return nil, err
	}
	s := &spec{path: path, args: c.Command, dir: dir, user: user}
	s.env = os.Environ()
	if m.opts.Env != nil {
		s.env = append(s.env, m.opts.Env()...)
	}
	s.env = append(s.env, user.Environ()...)
	for name, value := range c.Env {
		s.env = append(s.env, name+"="+value)
	}
	return s, nil
}

// mayEnter finds out before the start that the processes could not work in their folder.
func mayEnter(dir string, user *osproc.Account) error {
	if user == nil {
		return nil
	}
	_, err := user.Stat(dir)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("dir: %s cannot enter %s: chmod o+x it and the folders above, name another, or set user", user, dir)
	}
	return err
}

// service is one service that runs. Its slots, one goroutine each, keep its processes.
type service struct {
	name    string
	cfg     Config
	spec    *spec
	created bool // by RPC, not by edge.yaml
	log     *slog.Logger
	lines   *slog.Logger
	starter *osproc.Starter
	slots   []*slot

	restarts atomic.Uint64
	failures atomic.Uint64

	life  context.Context // ends when the service is to stop
	end   context.CancelFunc
	hurry context.Context // ends when it has to stop the hard way
	rush  context.CancelFunc
	wg    sync.WaitGroup
}

// slot keeps one process running.
type slot struct {
	number int

	mu      sync.Mutex // protects what follows
	proc    *process   // nil while none runs
	problem string     // why none does
}

func (m *Manager) newService(name string, c Config, created bool) (*service, error) {
	spec, err := m.newSpec(c)
	if err != nil {
		return nil, err
	}
	s := &service{name: name, cfg: c, spec: spec, created: created, log: m.opts.Logger}
	s.lines = m.opts.Channel(c.Channel).With("service", name)
	for i := range c.Processes {
		s.slots = append(s.slots, &slot{number: i, problem: "not started yet"})
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.hurry, s.rush = context.WithCancel(m.hurry)
	return s, nil
}

// start begins the slots. The error is about what the kernel refuses; a program that does not start is tried again.
func (s *service) start() error {
	var err error
	if s.starter, err = osproc.NewStarter(s.cfg.Nice, s.cfg.Limits, s.memoryGroup()); err != nil {
		return err
	}
	for _, slot := range s.slots {
		s.wg.Go(func() { s.keep(slot) }) // ends with the life of the service, or when it is not to be started again
	}
	return nil
}

// memoryGroup makes the cgroup for limits.memory. Where Edge may not, the log says why, and there is no limit.
func (s *service) memoryGroup() *osproc.MemoryGroup {
	limit := s.cfg.Limits.Memory
	if limit == 0 {
		return nil
	}
	group, err := osproc.NewMemoryGroup("service-"+safeName(s.name), int64(limit))
	if err != nil {
		s.log.Warn("service: limits.memory has no effect here", "service", s.name, "limit", limit, "reason", err)
		return nil
	}
	return group
}

// stop returns when every process is gone; when ctx ends first, it kills them.
func (s *service) stop(ctx context.Context) error {
	s.end()
	defer context.AfterFunc(ctx, s.rush)()
	s.wg.Wait()
	s.rush()
	if s.starter == nil {
		return nil
	}
	starter := s.starter
	s.starter = nil
	return starter.Stop()
}

// keep starts the process of a slot again and again, as the restart policy says.
func (s *service) keep(slot *slot) {
	wait := s.cfg.Backoff.Min
	for {
		began := time.Now()
		status, failed := s.run(slot)
		if s.life.Err() != nil {
			slot.set(nil, "stopped")
			return
		}
		if failed {
			s.failures.Add(1)
		}
		if s.cfg.Restart == restartNever || s.cfg.Restart == restartOnFailure && !failed {
			s.log.Info("service ended", "service", s.name, "process", slot.number, "status", status, "restart", s.cfg.Restart)
			slot.set(nil, status+"; it is not started again: restart is "+s.cfg.Restart)
			return
		}
		if time.Since(began) >= s.cfg.Backoff.Max {
			wait = s.cfg.Backoff.Min
		}
		level := slog.LevelInfo
		if failed {
			level = slog.LevelWarn
		}
		s.log.Log(s.life, level, "service ended and is started again", "service", s.name, "process", slot.number, "status", status, "in", wait)
		slot.set(nil, status+"; it is started again after a while")
		if !s.sleep(wait) {
			slot.set(nil, "stopped")
			return
		}
		s.restarts.Add(1)
		wait = min(2*wait, s.cfg.Backoff.Max)
	}
}

// run starts the process of a slot and returns how it ended.
func (s *service) run(slot *slot) (status string, failed bool) {
	lines := osproc.NewLines(s.lines, "service floods its output, lines dropped")
	p, err := s.spec.start(s.starter, lines)
	if err != nil {
		return "does not start: " + err.Error(), true
	}
	slot.set(p, "")
	s.log.Debug("service process runs", "service", s.name, "process", slot.number, "pid", p.pid)
	sig := signals[s.cfg.StopSignal]
	switch err := s.await(p); {
	case errors.Is(err, errTooLong):
		p.stop(sig, s.cfg.StopTimeout, s.hurry.Done())
		return fmt.Sprintf("stopped after exec_timeout, %s (%s)", s.cfg.ExecTimeout, p.status), true
	case err != nil:
		p.stop(sig, s.cfg.StopTimeout, s.hurry.Done())
	}
	return p.status, p.failed
}

var errTooLong = errors.New("it runs for longer than exec_timeout")

// await returns when the process has ended, or why it has to.
func (s *service) await(p *process) error {
	var tooLong <-chan time.Time
	if s.cfg.ExecTimeout > 0 {
		timer := time.NewTimer(s.cfg.ExecTimeout)
		defer timer.Stop()
		tooLong = timer.C
	}
	select {
	case <-p.exited:
		return nil
	case <-tooLong:
		return errTooLong
	case <-s.life.Done():
		return context.Cause(s.life)
	}
}

// sleep reports whether the service still lives after d.
func (s *service) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.life.Done():
		return false
	}
}

func (s *slot) set(p *process, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc, s.problem = p, problem
}

func (s *slot) get() (*process, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc, s.problem
}
