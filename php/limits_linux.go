package php

import (
	"errors"
	"fmt"
	"os"

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

// apply sets the limits of a process that has just been started: PHP is being loaded and has run nothing of the script. Nothing
// but the process itself could do it earlier.
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
				"add the capability, or limit Edge itself (ulimit, docker run --ulimit), which its workers inherit", limit.key)
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
