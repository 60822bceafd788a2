package services

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "HUP": syscall.SIGHUP,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// outputGrace is how long the rest of what a dead process wrote is waited for: who escaped its group may hold the pipe open.
const outputGrace = 200 * time.Millisecond

// process is one run of a program, leader of its own process group.
type process struct {
	pid    int
	began  time.Time
	exited chan struct{} // closed when it is gone and reaped

	// Read after exited.
	status string
	failed bool // killed, or its exit code is not 0

	mu     sync.Mutex // protects reaped: a pid that was reaped may be somebody else's
	reaped bool
}

// start runs the program of s. What it writes goes to lines.
func (s *spec) start(starter *osproc.Starter, lines *osproc.Lines) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(s.path)
	cmd.Args, cmd.Dir, cmd.Env = s.args, s.dir, s.env
	cmd.SysProcAttr = osproc.Attributes(s.user)
	cmd.Stdout, cmd.Stderr = write, write
	err = starter.Start(cmd)
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
	}
	p := &process{pid: cmd.Process.Pid, began: time.Now(), exited: make(chan struct{})}
	go p.reap(cmd, starter, lines, read) // ends with the process; whoever started it waits for exited
	return p, nil
}

// reap waits for the end of the process, and ends what it left behind in its group.
func (p *process) reap(cmd *exec.Cmd, starter *osproc.Starter, lines *osproc.Lines, output *os.File) {
	var wg sync.WaitGroup
	wg.Go(func() { lines.Copy(p.pid, output) }) // ends at the end of output
	osproc.AwaitExit(p.pid)
	p.mu.Lock()
	// The group's id is the dead leader's pid, which nobody else can get before it is reaped.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	_ = cmd.Wait()
	p.reaped = true
	p.mu.Unlock()

	_ = output.SetReadDeadline(time.Now().Add(outputGrace))
	wg.Wait()
	output.Close()
	p.status, p.failed = cmd.ProcessState.String(), !cmd.ProcessState.Success()
	if starter.OutOfMemory(cmd.ProcessState) {
		p.status += ": out of memory, beyond limits.memory"
	}
	close(p.exited)
}

// signal sends sig to the process and all that it started.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, sig)
	}
}

// stop asks the process to end, kills it after patience or when hurry is closed, and returns when it is gone.
func (p *process) stop(sig syscall.Signal, patience time.Duration, hurry <-chan struct{}) {
	p.signal(sig)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
		return
	case <-timer.C:
	case <-hurry:
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
}
