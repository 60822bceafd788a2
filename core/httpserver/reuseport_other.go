//go:build !unix

package httpserver

import (
	"errors"
	"syscall"
)

func reusePort(string, string, syscall.RawConn) error {
	return errors.New("reuse_port: this system has no SO_REUSEPORT")
}
