//go:build !linux

package rpc

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// knowsPeers says that credentials cannot tell who connected: the mode of the socket alone decides.
const knowsPeers = false

func credentials(*net.UnixConn) (pid, uid int, err error) { return 0, os.Geteuid(), nil }

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
