package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// detach returns another descriptor of the connection, which no poller knows. A read waits in the kernel, for a pause at most.
func detach(socket *net.UnixConn, pause time.Duration) (fd int, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return notEager, err
	}
	var dupErr error
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, dupErr); err != nil {
		return notEager, err
	}
	timeout := unix.NsecToTimeval(pause.Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	if err = errors.Join(err, unix.SetNonblock(fd, false)); err != nil {
		closeDescriptor(fd)
		return notEager, err
	}
	return fd, nil
}

// attach is the inverse of detach, whose descriptors do not wait; fd is closed in any case.
func attach(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "rpc")
	defer file.Close()
	return net.FileConn(file)
}

func closeDescriptor(fd int) { _ = unix.Close(fd) }

// hangUp ends what comes, and with all what goes, too. A poll that waits returns.
func hangUp(fd int, all bool) {
	how := unix.SHUT_RD
	if all {
		how = unix.SHUT_RDWR
	}
	_ = unix.Shutdown(fd, how)
}

// readSoon reads what comes within a pause. It reports false when nothing did.
func readSoon(fd int, p []byte) (n int, err error, came bool) { //nolint:revive // the error belongs to n
	// A signal interrupts the wait, and counts as a pause.
	got, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	switch {
	case errno == unix.EAGAIN, errno == unix.EINTR:
		return 0, nil, false
	case errno != 0:
		return 0, os.NewSyscallError("recvfrom", errno), true
	case got == 0:
		return 0, io.EOF, true
	}
	return int(got), nil, true
}

// writeNow writes what the socket takes without waiting: no scheduler needs to know of it.
func writeNow(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("sendto", errno)
}

// hasHungUp reports whether nothing more will come than what is there.
func hasHungUp(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n > 0
}
