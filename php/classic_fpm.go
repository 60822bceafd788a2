package php

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// fpmMaster is the php-fpm of one generation. It starts with the first worker of the generation and ends after the last; one that
// died is started again with the next worker. A worker is a connection to it, which php-fpm gives a process when it is dialed.
type fpmMaster struct {
	pool *Pool
	spec *spec

	mu     sync.Mutex // protects what follows; held while php-fpm starts or ends
	proc   *process
	socket string
	users  int // workers
}

func newFPMMaster(p *Pool, s *spec) *fpmMaster { return &fpmMaster{pool: p, spec: s} }

// bootOnFPM makes a worker that stands for one connection to the generation's php-fpm.
func (w *worker) bootOnFPM(ctx context.Context) error {
	m := w.spec.classic.fpm
	master, socket, err := m.acquire(ctx)
	if err != nil {
		return fmt.Errorf("start php-fpm of php pool %q (%s): %w", w.pool.name, Command(w.spec.args), err)
	}
	w.converse("unix", socket, false)
	w.fcgi.conn.released = func() { m.release(master) }
	w.proc = newSlot(w.pool, w.fcgi.conn.disconnect)
	go func() { // ends with the worker, or before it with php-fpm
		select {
		case <-master.exited:
			w.proc.kill()
		case <-w.proc.exited:
		}
	}()
	return nil
}

// acquire returns a php-fpm that accepts connections.
func (m *fpmMaster) acquire(ctx context.Context) (*process, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil || m.proc.gone.Load() {
		m.users = 0
		if err := m.start(ctx); err != nil {
			return nil, "", err
		}
	}
	m.users++
	return m.proc, m.socket, nil
}

// release ends php-fpm after the last worker of a generation that is over.
func (m *fpmMaster) release(proc *process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == proc {
		m.users--
	}
	m.endUnused()
}

// retire ends php-fpm when no worker does.
func (m *fpmMaster) retire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endUnused()
}

// endUnused ends a php-fpm that nobody uses and nobody will. m.mu is held.
func (m *fpmMaster) endUnused() {
	p := m.pool
	p.mu.Lock()
	wanted := p.spec == m.spec && !p.closing
	p.mu.Unlock()
	if m.proc == nil || m.users > 0 || wanted {
		return
	}
	m.proc.signal(syscall.SIGQUIT) // after the requests its processes have
	timer := time.NewTimer(p.cfg.StopTimeout)
	defer timer.Stop()
	select {
	case <-m.proc.exited:
	case <-p.forced:
	case <-timer.C:
	}
	m.proc.kill()
	<-m.proc.exited
	m.proc = nil
}

// start starts php-fpm and waits until it accepts connections. m.mu is held.
func (m *fpmMaster) start(ctx context.Context) error {
	p, s := m.pool, m.spec
	var err error
	if m.socket, err = socketPath(p.temp.path, p.name, p.serial.Add(1)); err != nil {
		return err
	}
	config := strings.TrimSuffix(m.socket, ".sock") + ".conf"
	if err := m.writeConfig(config); err != nil {
		return err
	}
	cmd := exec.Command(s.path)
	cmd.Args = append(slices.Clip(s.args), "--nodaemonize", "--force-stderr", "--fpm-config", config)
	if os.Geteuid() == 0 && s.user == nil {
		cmd.Args = append(cmd.Args, "--allow-to-run-as-root") // user: root was said
	}
	cmd.Dir, cmd.Env = s.dir, slices.Clip(s.env)
	cmd.SysProcAttr = osproc.Attributes(s.user)
	proc, err := p.spawner.start(cmd, newStderrLog(p.log, p.name))
	if err != nil {
		return err
	}
	if err := awaitSocket(ctx, m.socket, proc); err != nil {
		ended := proc.gone.Load()
		proc.kill()
		<-proc.exited
		if ended {
			err = fmt.Errorf("it ended before it accepted connections (%s)", proc.status)
		}
		if said := proc.log.Said(); said != "" {
			err = fmt.Errorf("%w; it said: %s", err, said)
		}
		return err
	}
	p.log.Info("php-fpm is ready", "pool", p.name, "pid", proc.pid)
	m.proc = proc
	return nil
}

// awaitSocket returns when somebody accepts connections at path.
func awaitSocket(ctx context.Context, path string, proc *process) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-proc.exited:
			return err
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// writeConfig writes what php-fpm is to do. How many processes there are follows the connections, and those the pool's workers:
// ondemand forks one when it is dialed, which no other mode does at once. A few more than workers.max leave room for a script that
// was given up and is still to be ended. The environment is the pool's business, and so is who php-fpm runs as.
func (m *fpmMaster) writeConfig(path string) error {
	p := m.pool
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("[global]")
	line("daemonize = no")
	line("error_log = /dev/null") // --force-stderr says where messages go
	line("log_level = warning")   // a script's errors come with its answer, and as notices once more
	line("log_limit = 8192")
	line("[edge]")
	line("listen = %s", m.socket)
	line("listen.mode = 0600")
	if p.user == nil && os.Geteuid() == 0 {
		line("user = root")
	}
	line("pm = ondemand")
	line("pm.max_children = %d", p.cfg.Workers.Max+p.cfg.Workers.Max/4+2)
	line("pm.process_idle_timeout = 60s")
	if p.cfg.ExecTimeout > 0 {
		line("request_terminate_timeout = %ds", int(math.Ceil(p.cfg.ExecTimeout.Seconds()))+1)
	}
	line("clear_env = no")
	line("catch_workers_output = yes")
	line("decorate_workers_output = no")
	line("security.limit_extensions = %s", filepath.Ext(p.cfg.Index)+" .php")
	if p.cfg.Debug {
		line("php_flag[display_errors] = on")
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write the configuration of php-fpm: %w", err)
	}
	return nil
}
