//go:build !linux

package osproc

// As runs f with Edge's own rights: others than Linux have none per thread.
func (a *Account) As(f func() error) error { return f() }
