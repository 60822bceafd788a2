//go:build unix

package httpserver

import "golang.org/x/sys/unix"

// dupInherited copies a descriptor, and keeps both from programs that are started.
func dupInherited(fd int) (int, error) {
	unix.CloseOnExec(fd)
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
}
