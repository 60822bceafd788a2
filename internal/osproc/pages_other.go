//go:build !linux

package osproc

// ReturnStartPages does nothing here.
func ReturnStartPages() error { return nil }
