//go:build !linux

package php

import (
	"net"
	"os"
	"syscall"
)

// processAttr puts a worker into its own process group. Only Linux can tie its life to Edge's; elsewhere a worker notices the
// end of its relay.
func processAttr(user *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if user != nil {
		attr.Credential = &syscall.Credential{Uid: user.uid, Gid: user.gid, Groups: user.groups}
	}
	return attr
}

// waitExit leaves the waiting to the reaping.
func waitExit(int) {}

func growPipe(*os.File) {}

func unreadBytes(*os.File) int { return -1 }

func parentOf(int) int { return 0 }

// dialedBy cannot tell without Linux's tables.
func dialedBy(*net.TCPConn) (uid int, known bool) { return 0, false }

func residentBytes(int) int64 { return 0 }
