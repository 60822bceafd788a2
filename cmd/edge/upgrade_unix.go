//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// upgradeSignals delivers SIGUSR2 until stop is called.
func upgradeSignals() (signals <-chan os.Signal, stop func()) {
	usr2 := make(chan os.Signal, 1)
	signal.Notify(usr2, syscall.SIGUSR2)
	return usr2, func() { signal.Stop(usr2) }
}
