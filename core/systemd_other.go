//go:build !linux

package core

func monotonic() (int64, bool) { return 0, false }
