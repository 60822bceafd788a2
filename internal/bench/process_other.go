//go:build !linux

package main

import "syscall"

// stopWithParent needs a Linux kernel; elsewhere servers are stopped by the ordinary end of bench only.
func stopWithParent(*syscall.SysProcAttr) {}
