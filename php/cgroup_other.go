//go:build !linux

package php

import (
	"errors"
	"syscall"
)

// memoryGroup is a cgroup, which only Linux has.
type memoryGroup struct{}

func newMemoryGroup(string, int64) (*memoryGroup, error) {
	return nil, errors.New("it needs a cgroup v2, which only Linux has")
}

func (*memoryGroup) enter(*syscall.SysProcAttr) {}
func (*memoryGroup) blame() bool                { return false }
func (*memoryGroup) remove() error              { return nil }
