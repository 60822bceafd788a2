package php

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// stderrGrace is how long the rest of a dead worker's stderr is waited for: a grandchild may hold it open.
const stderrGrace = 200 * time.Millisecond

// process is a worker's process, leader of its own process group. Whoever starts it may rely on it being reaped.
type process struct {
	pid    int
	log    *osproc.Lines
	exited chan struct{} // closed when it is gone and reaped
	gone   atomic.Bool   // exited is closed; cheaper to ask before every request
	status string        // how it ended; read after exited
	clean  bool          // it ended by itself and in order; read after exited
	oom    bool          // the kernel killed it for limits.memory; read after exited

	end func() // ends what stands for a process where there is none: see newSlot

	mu     sync.Mutex // protects what follows
	reaped bool
	onGone func()
}

// spawner starts the processes of a pool.
type spawner struct {
	*osproc.Starter
	limits Limits
}

func newSpawner(nice int, limits Limits, group *osproc.MemoryGroup) (*spawner, error) {
	s, err := osproc.NewStarter(nice, limits, group)
	if err != nil {
		return nil, err
	}
	return &spawner{s, limits}, nil
}

// newMemoryGroup makes the cgroup for limits.memory. Where Edge may not, the log says why, and there is no limit.
func (p *Pool) newMemoryGroup() *osproc.MemoryGroup {
	limit := p.cfg.Limits.Memory
	if limit == 0 {
		return nil
	}
	group, err := osproc.NewMemoryGroup("php-"+safeName(p.name), int64(limit))
	if err != nil {
		p.log.Warn("php pool: limits.memory has no effect here", "pool", p.name, "limit", limit, "reason", err)
		return nil
	}
	return group
}

// start runs cmd and closes the files that only the child needs. stderr is read to its end and logged.
func (s *spawner) start(cmd *exec.Cmd, log *osproc.Lines, childFiles ...*os.File) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		closeAll(childFiles)
		return nil, err
	}
	cmd.Stderr = write
	if cmd.Stdout == nil {
		cmd.Stdout = write
	}
	err = s.Start(cmd)
	closeAll(append(childFiles, write))
	if err != nil {
		read.Close()
		return nil, err
	}

	p := &process{pid: cmd.Process.Pid, log: log, exited: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { log.Copy(p.pid, read) }) // ends at the end of stderr
	go func() {                             // ends when the process did; whoever stops a worker waits for exited
		osproc.AwaitExit(p.pid)
		p.mu.Lock()
		// The group's id is the dead leader's pid, which nobody else can get before it is reaped.
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		_ = cmd.Wait()
		p.reaped = true
		p.mu.Unlock()

		_ = read.SetReadDeadline(time.Now().Add(stderrGrace))
		wg.Wait()
		read.Close()
		p.status, p.clean = cmd.ProcessState.String(), cmd.ProcessState.Success()
		if p.oom = s.OutOfMemory(cmd.ProcessState); p.oom {
			p.status += fmt.Sprintf(": out of memory, limits.memory of the pool is %s", s.limits.Memory)
		}
		p.tellGone()
		close(p.exited)
	}()
	return p, nil
}

// newStderrLog passes the stderr of a worker to the log.
func newStderrLog(log *slog.Logger, pool string) *osproc.Lines {
	return osproc.NewLines(log.With("pool", pool), "php worker floods stderr, lines dropped")
}

// kill ends the process and all of its group.
func (p *process) kill() {
	if p.end != nil {
		p.end()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}

// whenGone makes f run when the process is gone, at once when it is already.
func (p *process) whenGone(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.onGone = f; p.gone.Load() {
		f()
	}
}

func (p *process) tellGone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone.Store(true)
	if p.onGone != nil {
		p.onGone()
	}
}

// waitFor waits for the end of the process and reports whether it came in time.
func (p *process) waitFor(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
