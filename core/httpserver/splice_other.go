//go:build !linux

package httpserver

import "errors"

func (c *stallConn) splice([]byte, inKernel) (int64, error) { return 0, errors.ErrUnsupported }
