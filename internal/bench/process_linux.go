package main

import "syscall"

// stopWithParent has the kernel stop the server when bench itself is killed, so that not even SIGKILL leaves servers behind.
func stopWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }
