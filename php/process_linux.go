package php

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize holds usual bodies and answers whole; the kernel's 64 KiB make both sides wait once for each.
const pipeSize = 256 << 10

// processAttr puts a worker into its own process group and ties its life to Edge's.
func processAttr(user *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if user != nil {
		attr.Credential = &syscall.Credential{Uid: user.uid, Gid: user.gid, Groups: user.groups}
	}
	return attr
}

// waitExit waits until the process ended, and leaves it to be reaped.
func waitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// growPipe makes a pipe larger. Without the right to it the pipe stays as it is.
func growPipe(f *os.File) {
	control(f, func(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) })
}

// unreadBytes is what was written to a pipe and never read, or -1.
func unreadBytes(f *os.File) int {
	n := -1
	control(f, func(fd int) {
		if got, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil {
			n = got
		}
	})
	return n
}

// control runs f on the descriptor without making it blocking, as Fd would.
func control(file *os.File, f func(fd int)) {
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { f(int(fd)) })
}

// residentBytes is the memory a process holds, or 0 when it is gone.
func residentBytes(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
