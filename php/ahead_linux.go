package php

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetPipe is the pipe to a worker in packet mode: each write of up to PIPE_BUF bytes is one packet, and a read gives no more
// than one. Both descriptors are its own, so that neither the worker's blocking reads nor larger frames, which go as a stream
// through the relay, see the mode.
type packetPipe struct {
	in   int // for writing
	back int // for reading what the worker has not read
}

// minPackets is how many packets a pipe must hold: each takes a page of it. The kernel gives less to users with very many pipes.
const minPackets = 2 * maxAhead

// openPackets opens the descriptors, or returns nil where that is not possible.
func openPackets(r relay) *packetPipe {
	pipes, ok := r.(*pipeRelay)
	if !ok {
		return nil
	}
	p := &packetPipe{in: -1, back: -1}
	control(pipes.in, func(fd int) {
		if size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err != nil || size < minPackets*unix.Getpagesize() {
			return
		}
		path := fmt.Sprintf("/proc/self/fd/%d", fd)
		var err error
		if p.in, err = unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		if _, err = unix.FcntlInt(uintptr(p.in), unix.F_SETFL, unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
			return
		}
		p.back, _ = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if p.in < 0 || p.back < 0 {
		p.close()
		return nil
	}
	return p
}

// write writes a packet. There is room for it: see minPackets.
func (p *packetPipe) write(b []byte) error {
	for try := 0; ; try++ {
		// Not unix.Write: for the race detector that reads b once more when the packet has been sent, which may be back by then.
		n, _, err := unix.Syscall(unix.SYS_WRITE, uintptr(p.in), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch {
		case err == 0 && int(n) == len(b):
			return nil
		case err == unix.EINTR:
		case err == unix.EAGAIN && try < 1000:
			time.Sleep(100 * time.Microsecond)
		case err == 0:
			return fmt.Errorf("the pipe took %d of %d bytes", n, len(b))
		default:
			return err
		}
	}
}

// takeBack reads a packet that the worker has not read, and returns how long it is. It does not wait.
func (p *packetPipe) takeBack(b []byte) int {
	for {
		n, err := unix.Read(p.back, b)
		if !errors.Is(err, unix.EINTR) {
			return n
		}
	}
}

func (p *packetPipe) close() {
	for _, fd := range []int{p.in, p.back} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
