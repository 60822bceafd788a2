//go:build unix

package core

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock or fails at once. The kernel gives it back when the process ends, however it ends.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
