package php

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pipeSize holds usual bodies and answers whole; the kernel's 64 KiB make both sides wait once for each.
const pipeSize = 256 << 10

// growPipe makes a pipe larger. Without the right to it the pipe stays as it is.
func growPipe(f *os.File) {
	control(f, func(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) })
}

// unreadBytes is what was written to a pipe and never read, or -1.
func unreadBytes(f *os.File) int {
	n := -1
	control(f, func(fd int) {
		if got, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil {
			n = got
		}
	})
	return n
}

// control runs f on the descriptor without making it blocking, as Fd would.
func control(file *os.File, f func(fd int)) {
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { f(int(fd)) })
}

// parentOf is the pid of a process's parent, or 0 when it is gone.
func parentOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// 4711 (name, which may hold anything) S 4710 …
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// dialedBy is the user of the process of this machine at the other end of a connection, when the kernel tells.
func dialedBy(conn *net.TCPConn) (uid int, known bool) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} { // a socket of IPv6 can dial IPv4 as well
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		if uid, known = findSocket(string(text), conn.RemoteAddr(), conn.LocalAddr()); known {
			break
		}
	}
	return uid, known
}

// findSocket looks for a socket in a table of lines such as
//
//	0: 0100007F:86D9 0100007F:92D2 01 00000000:00000000 00:00000000 00000000    33        0 1004965 …
//
// and returns its user. Addresses are in the byte order of the machine.
func findSocket(table string, local, remote net.Addr) (uid int, found bool) {
	here, there := tableAddress(local), tableAddress(remote)
	for line := range strings.Lines(table) {
		if !strings.Contains(line, here) {
			continue
		}
		f := strings.Fields(line)
		if len(f) > 7 && strings.HasSuffix(f[1], here) && strings.HasSuffix(f[2], there) {
			uid, err := strconv.Atoi(f[7])
			return uid, err == nil
		}
	}
	return 0, false
}

func tableAddress(addr net.Addr) string {
	a := addr.(*net.TCPAddr)
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(a.IP.To4()), a.Port)
}
