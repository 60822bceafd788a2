//go:build !linux

package osproc

import (
	"errors"
	"os/exec"
)

// beNice needs a priority per thread, which only Linux has.
func beNice(by int) error {
	if by == 0 {
		return nil
	}
	return errors.New("nice: works on Linux only; start Edge itself with nice")
}

// apply needs Linux's way to limit another process.
func (l Limits) apply(int) error {
	return errors.New("limits: work on Linux only; limit Edge itself (ulimit), which what it starts inherits")
}

// startHeld holds nothing: apply says that there are no limits.
func startHeld(cmd *exec.Cmd) (release func(), err error) { return func() {}, cmd.Start() }
