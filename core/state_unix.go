//go:build unix

package core

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock or fails at once. The kernel gives it back when the process ends, however it ends.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// unlockFile gives the lock back at once. Closing the file is not enough: a process that is just being started has a copy of it until
// it runs its program.
func unlockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }
