//go:build unix && !linux

package upgrade

import "golang.org/x/sys/unix"

func replaceFD(from, to int) error { return unix.Dup2(from, to) }
