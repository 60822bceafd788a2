// Package osproc starts programs beside Edge: as another user, within limits of the kernel, in a process group of their own that
// dies with Edge, with what they say read line by line and never without a bound. PHP pools and services are made of it.
package osproc

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Starter starts processes, all from one thread: the kernel's parent-death signal is bound to the thread that forked, and an
// ordinary thread of the runtime may end while Edge lives. The thread's priority is the one of the processes.
type Starter struct {
	limits Limits
	group  *MemoryGroup // nil without limits.memory
	work   chan func()
	done   chan struct{}
}

// NewStarter begins the thread. The Starter owns group, which may be nil, from then on.
func NewStarter(nice int, limits Limits, group *MemoryGroup) (*Starter, error) {
	s := &Starter{limits: limits, group: group, work: make(chan func()), done: make(chan struct{})}
	isNice := make(chan error, 1)
	go func() { // ends when work is closed by Stop, and the thread with it, since nobody else wants its priority
		defer close(s.done)
		runtime.LockOSThread()
		isNice <- beNice(nice)
		for f := range s.work {
			f()
		}
	}()
	if err := <-isNice; err != nil {
		_ = s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends the thread. No process may be alive and nobody may call Start any more.
func (s *Starter) Stop() error {
	close(s.work)
	<-s.done
	return s.group.Remove()
}

// Start starts cmd, whose SysProcAttr Attributes has made, and limits it before it runs anything of its own. Whoever calls it has to
// call Reap.
func (s *Starter) Start(cmd *exec.Cmd) error {
	s.group.enter(cmd.SysProcAttr)
	result := make(chan error)
	s.work <- func() { result <- s.startLimited(cmd) }
	return <-result
}

func (s *Starter) startLimited(cmd *exec.Cmd) error {
	if !s.limits.ofProcess() && !s.group.mustJoin() {
		return cmd.Start()
	}
	release, err := startHeld(cmd)
	if err != nil {
		return err
	}
	if err = s.group.join(cmd.Process.Pid); err == nil && s.limits.ofProcess() {
		err = s.limits.apply(cmd.Process.Pid)
	}
	release()
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return err
}

// OutOfMemory reports whether a process that has been reaped was killed for limits.memory.
func (s *Starter) OutOfMemory(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL && s.group.Blame()
}
