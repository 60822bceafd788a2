//go:build !linux

package php

import "errors"

// beNice needs a priority per thread, which only Linux has.
func beNice(by int) error {
	if by == 0 {
		return nil
	}
	return errors.New("nice: works on Linux only; start Edge itself with nice")
}

// apply needs Linux's way to limit another process.
func (l Limits) apply(int) error {
	l.Memory = 0 // tells for itself
	if l == (Limits{}) {
		return nil
	}
	return errors.New("limits: work on Linux only; limit Edge itself (ulimit), which its workers inherit")
}
