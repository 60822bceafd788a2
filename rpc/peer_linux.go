package rpc

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// knowsPeers says that credentials tells who connected.
const knowsPeers = true

// credentials returns the process and the user that connected, as the kernel noted them then.
func credentials(c *net.UnixConn) (pid, uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, 0, err
	}
	return int(cred.Pid), int(cred.Uid), nil
}

func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

func isReset(err error) bool { return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) }
