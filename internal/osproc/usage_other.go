//go:build !linux

package osproc

import "time"

// ProcessorTime is known on Linux only.
func ProcessorTime(int) time.Duration { return 0 }

// ResidentBytes is known on Linux only.
func ResidentBytes(int) int64 { return 0 }
