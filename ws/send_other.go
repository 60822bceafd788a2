//go:build !linux

package ws

import (
	"errors"
	"syscall"
)

// sendNow writes what a socket takes at once.
func sendNow(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(int(fd), p)
	if err == nil {
		return n, 0
	}
	var number syscall.Errno
	if !errors.As(err, &number) {
		number = syscall.EIO
	}
	return max(n, 0), number
}
