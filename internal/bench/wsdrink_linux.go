package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// take makes the socket of a connection the caller's. The runtime's poller, which would wake up for each of its packets, hears of it no more; and
// its acknowledgements wait for others, as those of a client far away do, which is where they are dealt with, too.
func take(conn net.Conn) (fd int, err error) {
	socket, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = socket.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return -1, os.NewSyscallError("dup", err)
	}
	_ = conn.Close() // the copy keeps the connection
	return fd, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0))
}

// lake is sockets of which one thread knows which can be read.
type lake struct {
	epoll  int
	fds    []int
	events [512]unix.EpollEvent
	buffer [256 << 10]byte
}

// newLake takes connections over, and forgets them where they were.
func newLake(conns []net.Conn) (*lake, error) {
	l := &lake{fds: make([]int, 0, len(conns))}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	for i, conn := range conns {
		fd, err := take(conn)
		if fd >= 0 {
			conns[i] = nil
			l.fds = append(l.fds, fd)
		}
		if err == nil {
			err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(i)})
		}
		if err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// close ends the connections at once, so that their ports are free for the next ones.
func (l *lake) close() {
	for _, fd := range l.fds {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(fd)
	}
	_ = unix.Close(l.epoll)
}

// ready lists the sockets at which something has happened since it was called last: an event's Fd is an index of fds. It does not wait, and, as read and write
// do not either, does not tell the scheduler.
func (l *lake) ready() []unix.EpollEvent {
	n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events)), uintptr(len(l.events)), 0, 0, 0)
	return l.events[:max(int(n), 0)]
}

// read returns what has come; nothing is no error.
func (l *lake) read(i int32) ([]byte, error) {
	n, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(l.fds[i]), uintptr(unsafe.Pointer(&l.buffer)), uintptr(len(l.buffer)), unix.MSG_DONTWAIT, 0, 0)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil, nil
	case err != 0:
		return nil, err
	case n == 0:
		return nil, net.ErrClosed
	}
	return l.buffer[:n], nil
}

// write sends a frame, for which there is room: the one before has been answered.
func (l *lake) write(i int32, frame []byte) error {
	n, _, err := unix.RawSyscall(unix.SYS_WRITE, uintptr(l.fds[i]), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)))
	switch {
	case err != 0:
		return os.NewSyscallError("write", err)
	case int(n) != len(frame):
		return io.ErrShortWrite
	}
	return nil
}

// napping is how long a crowd that has read everything lets more come. A client that is woken for each message costs the server more than the message does.
const napping = 200 * time.Microsecond

// drink reads from all connections by one thread, which costs next to nothing: what is measured is the server. It ends with close.
func (c *crowd) drink() error {
	l, err := newLake(c.conns)
	if err != nil {
		return err
	}
	c.drinking.Go(func() {
		defer l.close()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // the thread lives on: what it has started would end with it
		for !c.closing.Load() {
			events := l.ready()
			for i := range events {
				got, _ := l.read(events[i].Fd) // of those that the server has ended await says what is missing
				c.took(len(got))
			}
			if len(events) < len(l.events) {
				nap := syscall.NsecToTimespec(int64(napping))
				_ = syscall.Nanosleep(&nap, nil)
			}
		}
	})
	return nil
}

// echo has all connections send the message, again and again when it has come back, until duration is over, and counts how often. One thread does.
func echo(conns []*websocket.Conn, duration time.Duration, watch *wsWatch) (trips int64, err error) {
	l, err := newLake(socketsOf(conns))
	if err != nil {
		return 0, err
	}
	defer l.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	watch.begin()
	defer watch.end() // before close
	for i := range l.fds {
		if err := l.write(int32(i), wsEcho); err != nil {
			return 0, err
		}
	}
	got := make([]int, len(l.fds)) // bytes of the echo
	for end := time.Now().Add(duration); time.Now().Before(end); {
		n, err := unix.EpollWait(l.epoll, l.events[:], 100)
		if err != nil && err != unix.EINTR {
			return trips, os.NewSyscallError("epoll_wait", err)
		}
		for i := range l.events[:max(n, 0)] {
			at := l.events[i].Fd
			b, err := l.read(at)
			if err != nil {
				return trips, err
			}
			if !bytes.HasPrefix(wsEchoed[got[at]:], b) {
				return trips, errEcho
			}
			if got[at] += len(b); got[at] < len(wsEchoed) {
				continue
			}
			got[at] = 0
			trips++
			if err := l.write(at, wsEcho); err != nil {
				return trips, err
			}
		}
	}
	return trips, nil
}
