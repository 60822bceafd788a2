//go:build !linux

package osproc

import (
	"errors"
	"syscall"
)

// MemoryGroup is a cgroup, which only Linux has.
type MemoryGroup struct{}

func NewMemoryGroup(string, int64) (*MemoryGroup, error) {
	return nil, errors.New("it needs a cgroup v2, which only Linux has")
}

func (*MemoryGroup) enter(*syscall.SysProcAttr) {}
func (*MemoryGroup) mustJoin() bool             { return false }
func (*MemoryGroup) join(int) error             { return nil }
func (*MemoryGroup) Blame() bool                { return false }
func (*MemoryGroup) Remove() error              { return nil }
