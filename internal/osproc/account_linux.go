package osproc

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// As runs f with the file access rights of the account. The kernel keeps those rights per thread; the goroutine never gives
// its thread back, so the thread ends with it and nobody else runs with them.
func (a *Account) As(f func() error) error {
	result := make(chan error)
	go func() { // ends after one call of f
		runtime.LockOSThread()
		result <- a.becomeAndDo(f)
	}()
	return <-result
}

func (a *Account) becomeAndDo(f func() error) error {
	// unix.Setgroups would change every thread of the process.
	var first *uint32
	if len(a.Groups) > 0 {
		first = &a.Groups[0]
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(a.Groups)), uintptr(unsafe.Pointer(first)), 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	if err := unix.Setfsgid(int(a.GID)); err != nil {
		return os.NewSyscallError("setfsgid", err)
	}
	if err := unix.Setfsuid(int(a.UID)); err != nil {
		return os.NewSyscallError("setfsuid", err)
	}
	return f()
}
