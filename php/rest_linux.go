package php

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// rest is the end of an answer in a pipe of its own.
type rest struct {
	in, out int // its ends
	left    int // bytes in it
}

// openRest makes an empty pipe that is as large as those of workers; nil when the system does not give one.
func openRest() *rest {
	var ends [2]int
	if unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	x := &rest{in: ends[1], out: ends[0]}
	if size, err := unix.FcntlInt(uintptr(x.in), unix.F_SETPIPE_SZ, pipeSize); err != nil || size < pipeSize {
		x.close()
		return nil
	}
	return x
}

func (x *rest) close() {
	_ = unix.Close(x.in)
	_ = unix.Close(x.out)
}

// fill moves up to n bytes of file into the pipe, and waits for the first. It moves none when the pipe is full.
func (x *rest) fill(file *os.File, n int) (moved int, err error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failure error
	err = conn.Read(func(fd uintptr) (done bool) {
		for {
			k, err := unix.Splice(int(fd), nil, x.in, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				waiting, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
				return err == nil && waiting > 0 // so it is this pipe that is full
			case err != nil:
				failure = os.NewSyscallError("splice", err)
				return true
			case k == 0:
				failure = io.ErrUnexpectedEOF
				return true
			default:
				moved = int(k)
				return true
			}
		}
	})
	x.left += moved
	if err == nil {
		err = failure
	}
	return moved, err
}

// Read reads from the pipe.
func (x *rest) Read(b []byte) (int, error) {
	if x.left == 0 {
		return 0, io.EOF
	}
	n, err := unix.Read(x.out, b[:min(len(b), x.left)])
	if err != nil {
		return 0, os.NewSyscallError("read", err)
	}
	x.left -= n
	return n, nil
}

// Splice moves what fits into the socket.
func (x *rest) Splice(socket uintptr) (int64, error) {
	n, err := unix.Splice(x.out, nil, int(socket), nil, x.left, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	if n > 0 {
		x.left -= int(n)
	}
	return max(n, 0), err
}
