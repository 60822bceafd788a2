package osproc

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Attributes put a process into its own process group, tie its life to Edge's, and make it run as the account.
func Attributes(user *Account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if user != nil {
		attr.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups}
	}
	return attr
}

// AwaitExit waits until the process ended, and leaves it to be reaped.
func AwaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}
