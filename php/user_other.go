//go:build !linux

package php

// as runs f with Edge's own rights: others than Linux have none per thread.
func (a *account) as(f func() error) error { return f() }
