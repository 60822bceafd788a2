//go:build !linux

package osproc

import "syscall"

// Attributes put a process into its own process group and make it run as the account. Only Linux can tie its life to Edge's.
func Attributes(user *Account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if user != nil {
		attr.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups}
	}
	return attr
}

// AwaitExit leaves the waiting to the reaping.
func AwaitExit(int) {}
