package main

import (
	"errors"
	"os"
	"time"
)

// errForced is why a server that was told twice to stop exits with 1.
var errForced = errors.New("second signal: what was in flight was cut")

// forcedTime is what a forced exit may take: stores have ten seconds to write what they hold.
const forcedTime = 15 * time.Second

// awaitForced waits for the end of a forced exit, which closes end. Another signal, or forcedTime, does not wait for it.
func awaitForced(end <-chan os.Signal, exit func()) {
	select {
	case _, again := <-end:
		if !again {
			return
		}
	case <-time.After(forcedTime):
	}
	exit() // workers follow: they are told to die with their parent
}
