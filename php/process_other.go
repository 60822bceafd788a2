//go:build !linux

package php

import (
	"net"
	"os"
)

func growPipe(*os.File) {}

func unreadBytes(*os.File) int { return -1 }

func parentOf(int) int { return 0 }

// dialedBy cannot tell without Linux's tables.
func dialedBy(*net.TCPConn) (uid int, known bool) { return 0, false }
