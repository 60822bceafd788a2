package php

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stderrGrace is how long the rest of a dead worker's stderr is waited for: a grandchild may hold it open.
const stderrGrace = 200 * time.Millisecond

// process is a worker's process, leader of its own process group. Whoever starts it may rely on it being reaped.
type process struct {
	pid    int
	log    *stderrLog
	exited chan struct{} // closed when it is gone and reaped
	gone   atomic.Bool   // exited is closed; cheaper to ask before every request
	status string        // how it ended; read after exited
	clean  bool          // it ended by itself and in order; read after exited

	mu     sync.Mutex // protects what follows
	reaped bool
	onGone func()
}

// spawner starts processes, all from one thread: the kernel's parent-death signal is bound to the thread that forked, and an
// ordinary thread of the runtime may end while Edge lives.
type spawner struct {
	work chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), done: make(chan struct{})}
	go func() { // ends when work is closed by stop
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

// stop ends the thread. No process may be alive and nobody may call start any more.
func (s *spawner) stop() {
	close(s.work)
	<-s.done
}

// start runs cmd and closes the files that only the child needs. stderr is read to its end and logged.
func (s *spawner) start(cmd *exec.Cmd, log *stderrLog, childFiles ...*os.File) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		closeAll(childFiles)
		return nil, err
	}
	cmd.Stderr = write
	if cmd.Stdout == nil {
		cmd.Stdout = write
	}
	result := make(chan error)
	s.work <- func() { result <- cmd.Start() }
	err = <-result
	closeAll(append(childFiles, write))
	if err != nil {
		read.Close()
		return nil, err
	}

	p := &process{pid: cmd.Process.Pid, log: log, exited: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { log.copy(p.pid, read) }) // ends at the end of stderr
	go func() {                             // ends when the process did; whoever stops a worker waits for exited
		waitExit(p.pid)
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
		p.tellGone()
		close(p.exited)
	}()
	return p, nil
}

// kill ends the process and all of its group.
func (p *process) kill() {
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
