//go:build !linux

package php

import "time"

// processorTime is known on Linux only.
func processorTime(int) time.Duration { return 0 }
