package httpserver

import (
	"os"

	"golang.org/x/sys/unix"
)

// splice sends first and then src, which stays in the kernel, so that the client finds both at once.
func (c *stallConn) splice(first []byte, src inKernel) (n int64, err error) {
	conn, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	flags := unix.MSG_NOSIGNAL
	if src.Len() > 0 {
		flags |= unix.MSG_MORE
	}
	var failure error
	send := func(fd uintptr) (done bool) {
		for len(first) > 0 && failure == nil {
			k, err := unix.SendmsgN(int(fd), first, nil, nil, flags)
			if err == unix.EAGAIN {
				return false
			}
			if err != nil && err != unix.EINTR {
				failure = os.NewSyscallError("sendmsg", err)
			}
			first = first[max(k, 0):]
		}
		for src.Len() > 0 && failure == nil {
			k, err := src.Splice(fd)
			n += k
			if err == unix.EAGAIN {
				return false
			}
			if err != nil && err != unix.EINTR {
				failure = os.NewSyscallError("splice", err)
			}
		}
		return true
	}
	for start := true; ; start = false {
		guarded, err := c.arm(start, true)
		if err != nil {
			return n, err
		}
		left := int64(len(first)) + src.Len()
		err = conn.Write(send)
		switch progress := int64(len(first))+src.Len() < left; {
		case err == nil:
			return n, failure
		case !guarded || !os.IsTimeout(err) || !c.disarm(progress):
			return n, err
		}
	}
}
