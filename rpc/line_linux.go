package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// detach returns another descriptor of the connection, which no poller knows.
func detach(socket *net.UnixConn) (fd int, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return notEager, err
	}
	var dupErr error
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, dupErr); err != nil {
		return notEager, err
	}
	return fd, nil
}

// attach is the inverse of detach; fd is closed in any case.
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
func readSoon(fd int, p []byte, pause time.Duration) (n int, err error, came bool) { //nolint:revive // the error belongs to n
	timeout := unix.NsecToTimespec(pause.Nanoseconds())
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	// A signal interrupts the wait, and counts as a pause.
	if ready, err := unix.Ppoll(fds[:], &timeout, nil); err != nil || ready == 0 {
		return 0, nil, false
	}
	switch n, err = unix.Read(fd, p); {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil, false
	case err != nil:
		return 0, os.NewSyscallError("read", err), true
	case n == 0:
		return 0, io.EOF, true
	}
	return n, nil, true
}

// writeNow writes what the socket takes without waiting.
func writeNow(fd int, p []byte) (int, error) {
	n, err := unix.Write(fd, p)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return max(n, 0), os.NewSyscallError("write", err)
}

// hasHungUp reports whether nothing more will come than what is there.
func hasHungUp(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n > 0
}
