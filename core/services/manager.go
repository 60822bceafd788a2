package services

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// Options is what a Manager needs beside the configuration.
type Options struct {
	// Logger hears of starts and ends.
	Logger *slog.Logger
	// Channel is the log for what the processes of a service write.
	Channel func(name string) *slog.Logger
	// Dir is the working directory of services that name none.
	Dir string
	// Env is added to the environment of every service. It is asked at every start; nil adds nothing.
	Env func() []string
}

// Manager has the services: those of edge.yaml, and those that RPC has created.
type Manager struct {
	opts Options

	mu      sync.Mutex // serialises every change; protects what follows
	running map[string]*service
	applied map[string]Config // what edge.yaml said last: a service that RPC has terminated stays away until its section changes
	stopped bool

	// hurry ends when Stop has no time left: then a change that waits for processes to end kills them.
	hurry context.Context
	rush  context.CancelFunc

	// seen is a copy of running for who only looks: a change may take as long as a process takes to stop.
	seenMu sync.Mutex
	seen   map[string]*service
}

// New has no services yet.
func New(opts Options) *Manager {
	m := &Manager{opts: opts, running: map[string]*service{}, applied: map[string]Config{}, seen: map[string]*service{}}
	m.hurry, m.rush = context.WithCancel(context.Background())
	return m
}

// Check finds out whether Apply will find everything that the services name: programs, folders, users.
func (m *Manager) Check(next map[string]Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if !m.changes(name, next) {
			continue
		}
		if s, there := m.running[name]; there && s.created {
			errs = append(errs, fmt.Errorf("services.%s: RPC has created a service of that name: terminate it first, or name yours otherwise", name))
			continue
		}
		if _, err := m.newSpec(next[name]); err != nil {
			errs = append(errs, fmt.Errorf("services.%s.%w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) changes(name string, next map[string]Config) bool {
	before, there := m.applied[name]
	return !there || !reflect.DeepEqual(before, next[name])
}

// Apply makes the services of edge.yaml what next says: it stops those that are gone or have changed, and starts those that are new or
// have. The others run on. It returns when all of that is done.
func (m *Manager) Apply(ctx context.Context, next map[string]Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return errStopped
	}
	leaving := map[string]*service{}
	for name, s := range m.running {
		if _, stays := next[name]; !s.created && (!stays || m.changes(name, next)) {
			leaving[name] = s
		}
	}
	errs := []error{m.stopAll(ctx, leaving)}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if m.changes(name, next) {
			errs = append(errs, m.launch(name, next[name], false))
		}
	}
	m.applied = maps.Clone(next)
	return errors.Join(errs...)
}

// launch makes and starts a service. The caller holds mu.
func (m *Manager) launch(name string, c Config, created bool) error {
	if len(m.running) >= maxServices {
		return fmt.Errorf("service %s: there are %d services, which is the most there may be", name, maxServices)
	}
	s, err := m.newService(name, c, created)
	if err == nil {
		err = s.start()
	}
	if err != nil {
		return fmt.Errorf("service %s: %w", name, err)
	}
	m.running[name] = s
	m.publish()
	m.opts.Logger.Info("service started", "service", name, "command", c.Command.String(), "processes", c.Processes)
	return nil
}

// stopAll stops services side by side and forgets them. The caller holds mu.
func (m *Manager) stopAll(ctx context.Context, list map[string]*service) error {
	var wg sync.WaitGroup
	errs := make([]error, 0, len(list))
	var mu sync.Mutex // protects errs
	for name, s := range list {
		delete(m.running, name)
		wg.Go(func() {
			err := s.stop(ctx)
			m.opts.Logger.Info("service stopped", "service", name)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	m.publish()
	return errors.Join(errs...)
}

func (m *Manager) publish() {
	m.seenMu.Lock()
	defer m.seenMu.Unlock()
	m.seen = maps.Clone(m.running)
}

func (m *Manager) look() map[string]*service {
	m.seenMu.Lock()
	defer m.seenMu.Unlock()
	return m.seen
}

var errStopped = errors.New("edge is stopping: no service is started any more")

// Stop ends every service: each process is asked, and killed after stop_timeout or when ctx ends.
func (m *Manager) Stop(ctx context.Context) error {
	defer m.rush()
	defer context.AfterFunc(ctx, m.rush)()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	return m.stopAll(ctx, maps.Clone(m.running))
}

// Create starts a service that edge.yaml does not know.
func (m *Manager) Create(name string, c Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch _, there := m.running[name]; {
	case m.stopped:
		return errStopped
	case there:
		return fmt.Errorf("the service with %s name already exists", name)
	}
	return m.launch(name, c, true)
}

// Terminate stops a service and forgets it.
func (m *Manager) Terminate(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, there := m.running[name]
	if !there {
		return unknown(name)
	}
	return m.stopAll(ctx, map[string]*service{name: s})
}

// Restart stops a service and starts it again.
func (m *Manager) Restart(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, there := m.running[name]
	switch {
	case m.stopped:
		return errStopped
	case !there:
		return unknown(name)
	}
	if _, err := m.newSpec(s.cfg); err != nil {
		return fmt.Errorf("service %s runs on, for it could not be started again: %w", name, err)
	}
	if err := m.stopAll(ctx, map[string]*service{name: s}); err != nil {
		return err
	}
	return m.launch(name, s.cfg, s.created)
}

func unknown(name string) error { return fmt.Errorf("the service with %s name doesn't exist", name) }

// Names lists the services.
func (m *Manager) Names() []string { return slices.Sorted(maps.Keys(m.look())) }

// Stats is what there is to know about a service.
type Stats struct {
	Name      string
	Command   string
	Created   bool // by RPC
	Restarts  uint64
	Failures  uint64
	Processes []ProcessStats
}

// ProcessStats is one process of a service.
type ProcessStats struct {
	PID       int // 0 while none runs
	Problem   string
	Started   time.Time
	Memory    int64 // resident, in bytes
	Processor time.Duration
}

// Stats describes every service, by name.
func (m *Manager) Stats() []Stats {
	seen := m.look()
	list := make([]Stats, 0, len(seen))
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		list = append(list, seen[name].stats())
	}
	return list
}

func (s *service) stats() Stats {
	st := Stats{Name: s.name, Command: s.cfg.Command.String(), Created: s.created, Restarts: s.restarts.Load(), Failures: s.failures.Load()}
	for _, slot := range s.slots {
		proc, problem := slot.get()
		if proc == nil {
			st.Processes = append(st.Processes, ProcessStats{Problem: problem})
			continue
		}
		st.Processes = append(st.Processes, ProcessStats{
			PID: proc.pid, Started: proc.began, Memory: osproc.ResidentBytes(proc.pid), Processor: osproc.ProcessorTime(proc.pid),
		})
	}
	return st
}

// safeName is a service's name as a part of a folder's name.
func safeName(name string) string {
	return strings.Map(func(c rune) rune {
		if c == '/' || c == '*' || c < ' ' {
			return '_'
		}
		return c
	}, name)
}
