package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// stopGrace is how long a server may take to stop when asked to.
	stopGrace = 15 * time.Second
	// logTailBytes is how much of a server's output an error quotes.
	logTailBytes = 4096
)

// process is a server process that bench started, in a process group of its own so that Ctrl-C reaches bench alone.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // file with stdout and stderr
	done chan struct{} // closed when the process has been waited for
	err  error         // how it ended, once done is closed
}

func startProcess(space *workspace, name string, argv []string) (*process, error) {
	log, err := os.Create(space.path(name + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own descriptor

	p := &process{name: name, log: log.Name(), done: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = space.Dir
	p.cmd.Env = cleanEnvironment(os.Environ())
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stopWithParent(p.cmd.SysProcAttr)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		// Ends with the process; stop waits for it.
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// cleanEnvironment drops the variables that would configure Edge behind the back of its file.
func cleanEnvironment(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "EDGE_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// exited returns an error with the end of the log when the process is gone.
func (p *process) exited() error {
	select {
	case <-p.done:
		how := "exit status 0"
		if p.err != nil {
			how = p.err.Error()
		}
		return fmt.Errorf("%s ended by itself: %s\n%s", p.name, how, p.logTail())
	default:
		return nil
	}
}

func (p *process) logTail() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(content[max(0, len(content)-logTailBytes):]))
}

// stop asks the process to end, as a service manager would, and makes sure that nothing of its family stays behind.
func (p *process) stop() error {
	family, treeErr := processTree(p.pid())
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended

	var late error
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		late = fmt.Errorf("%s did not stop within %s and was killed", p.name, stopGrace)
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
		<-p.done
	}
	return errors.Join(treeErr, late, p.killSurvivors(family))
}

// killSurvivors gives the children of an ended server a moment to follow it, then kills and names those that stay.
func (p *process) killSurvivors(family []procStat) error {
	const patience, pause = 2 * time.Second, 10 * time.Millisecond
	var left []procStat
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		left = alive(family)
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	var errs []error
	for _, survivor := range left {
		errs = append(errs, fmt.Errorf("%s left its process %d (%s) behind; it was killed", p.name, survivor.pid, survivor.comm))
		_ = syscall.Kill(survivor.pid, syscall.SIGKILL) // fails only when it has just ended
	}
	return errors.Join(errs...)
}
