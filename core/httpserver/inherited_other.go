//go:build !unix

package httpserver

import "errors"

func dupInherited(int) (int, error) { return 0, errors.New("this system has no systemd") }
