package osproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// beNice changes the priority of the calling thread, from which the processes it starts inherit it. Doing it to a process that
// runs as somebody else already would need more rights.
func beNice(by int) error {
	if by == 0 {
		return nil
	}
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil {
		now := 20 - raw // the system call shifts it, to have no negative results
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, min(max(now+by, -20), 19))
	}
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("nice: %d: only root, or who has CAP_SYS_NICE, may take more of the processor than others", by)
	}
	if err != nil {
		return fmt.Errorf("nice: %d: %w", by, err)
	}
	return nil
}

// startHeld starts a process that runs nothing until release is called: as its tracer, the calling thread is told when the program
// has been loaded and has not begun. Where the system forbids that (a strict seccomp filter), the process may run for the moment that
// its limits take to be set.
func startHeld(cmd *exec.Cmd) (release func(), err error) {
	again, attr := *cmd, *cmd.SysProcAttr
	cmd.SysProcAttr.Ptrace = true
	if err = cmd.Start(); errors.Is(err, unix.EPERM) {
		again.SysProcAttr = &attr
		*cmd = again
		return func() {}, cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			break
		}
	}
	return func() { _ = unix.PtraceDetach(pid) }, nil
}

// apply sets the limits of a process that has been started and is held.
func (l Limits) apply(pid int) error {
	for _, limit := range []struct {
		key      string
		resource int
		value    uint64
	}{
		{"open_files", unix.RLIMIT_NOFILE, l.OpenFiles},
		{"processes", unix.RLIMIT_NPROC, l.Processes},
		{"address_space", unix.RLIMIT_AS, uint64(l.AddressSpace)},
		{"file_size", unix.RLIMIT_FSIZE, uint64(l.FileSize)},
	} {
		if limit.value == 0 {
			continue
		}
		err := unix.Prlimit(pid, limit.resource, &unix.Rlimit{Cur: limit.value, Max: limit.value}, nil)
		if errors.Is(err, unix.EPERM) && os.Geteuid() == 0 {
			return fmt.Errorf("limits.%s: root without CAP_SYS_RESOURCE, as in a container, may not limit processes of other users: "+
				"add the capability, or limit Edge itself (ulimit, docker run --ulimit), which what it starts inherits", limit.key)
		}
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("limits.%s: %d is more than Edge's own limit allows: raise that (ulimit, systemd Limit…=), or start Edge as root",
				limit.key, limit.value)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // one that is gone already is noticed by others
			return fmt.Errorf("limits.%s: %w", limit.key, err)
		}
	}
	return nil
}
