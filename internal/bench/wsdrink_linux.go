package main

import (
	"net"
	"syscall"
)

// drink reads from all connections by one goroutine with an epoll of its own, which costs next to nothing: what is measured is the server. It
// ends with close.
func (c *crowd) drink() error {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	for _, conn := range c.conns {
		socket, err := conn.NetConn().(*net.TCPConn).SyscallConn()
		if err == nil {
			var failed error
			err = socket.Control(func(fd uintptr) {
				failed = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
			})
			if err == nil {
				err = failed
			}
		}
		if err != nil {
			_ = syscall.Close(epoll)
			return err
		}
	}
	c.drinking.Go(func() {
		defer syscall.Close(epoll)
		events, b := make([]syscall.EpollEvent, 512), make([]byte, 256<<10)
		for !c.closing.Load() {
			n, err := syscall.EpollWait(epoll, events, 100)
			if err != nil && err != syscall.EINTR {
				return
			}
			for _, e := range events[:max(n, 0)] {
				n, err := syscall.Read(int(e.Fd), b)
				switch {
				case n > 0:
					c.took(n)
				case err != syscall.EAGAIN && err != syscall.EINTR: // the server has ended it: await says what is missing
					_ = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_DEL, int(e.Fd), nil)
				}
			}
		}
	})
	return nil
}
