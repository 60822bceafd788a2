package php

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// relay carries the frames of one worker. Reading and writing belong to the worker's goroutine; deadlines may be set by others.
type relay interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// unread is how many of the bytes written the worker never read, once it is dead, or -1 when nobody can tell.
	unread() int
}

// pipeRelay is the worker's standard input and output. Both ends here are in Go's poller: with many goroutines waiting, that
// is nearly twice as fast as blocking reads, and a pipe is a third cheaper than a socket.
type pipeRelay struct {
	in     *os.File // requests
	out    *os.File // answers
	shared *shared  // for bodies of answers; may be nil
}

func (r *pipeRelay) Read(b []byte) (int, error)         { return r.out.Read(b) }
func (r *pipeRelay) Write(b []byte) (int, error)        { return r.in.Write(b) }
func (r *pipeRelay) SetReadDeadline(t time.Time) error  { return r.out.SetReadDeadline(t) }
func (r *pipeRelay) SetWriteDeadline(t time.Time) error { return r.in.SetWriteDeadline(t) }
func (r *pipeRelay) unread() int                        { return unreadBytes(r.in) }

func (r *pipeRelay) Close() error {
	r.shared.leave()
	r.in.Close()
	return r.out.Close()
}

// firstExtraFile is the descriptor that a child has the first of exec.Cmd.ExtraFiles under.
const firstExtraFile = 3

// startOnPipes starts cmd with the relay as its standard input and output.
func startOnPipes(s *spawner, cmd *exec.Cmd, log *osproc.Lines) (*process, relay, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		childIn.Close()
		in.Close()
		return nil, nil, err
	}
	growPipe(in)
	growPipe(out)
	memory, file := newShared()
	r := &pipeRelay{in: in, out: out, shared: memory}
	cmd.Stdin, cmd.Stdout = childIn, childOut
	cmd.Env = append(cmd.Env, "RR_RELAY=pipes")
	childFiles := []*os.File{childIn, childOut}
	if memory != nil {
		cmd.ExtraFiles = []*os.File{file}
		cmd.Env = append(cmd.Env, memory.place(firstExtraFile))
		childFiles = append(childFiles, file)
	}
	proc, err := s.start(cmd, log, childFiles...)
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return proc, r, nil
}

// socketRelay is a unix socket that the worker dialed.
type socketRelay struct{ *net.UnixConn }

func (socketRelay) unread() int { return -1 }

// startOnSocket starts cmd and waits until it dialed its own socket, or ctx ends. A socket per worker needs no matching of pids, which
// wrapper scripts and containers change. Standard output goes to the log with stderr.
func startOnSocket(ctx context.Context, s *spawner, cmd *exec.Cmd, log *osproc.Lines, path string, user *osproc.Account) (*process, relay, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	if user != nil {
		if err := os.Chown(path, int(user.UID), int(user.GID)); err != nil {
			return nil, nil, err
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, nil, err
	}
	cmd.Env = append(cmd.Env, "RR_RELAY=unix://"+path)
	proc, err := s.start(cmd, log)
	if err != nil {
		return nil, nil, err
	}

	accepted := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // ends when the worker dialed or died, or ctx ends
		select {
		case <-accepted:
		case <-proc.exited:
		case <-ctx.Done():
		}
		listener.Close()
	})
	conn, err := listener.AcceptUnix()
	close(accepted)
	watch.Wait()
	if err != nil {
		return proc, nil, fmt.Errorf("wait for the worker to dial %s: %w", path, err)
	}
	return proc, socketRelay{conn}, nil
}

// maxSocketPath is what the address of a unix socket can hold.
const maxSocketPath = 103

// socketPath is a fresh path in dir.
func socketPath(dir, pool string, serial uint64) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, fmt.Sprintf("php-%s-%d.sock", safeName(pool), serial)))
	if err != nil {
		return "", err
	}
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("the socket path %s is longer than %d bytes: choose a shorter state_dir", path, maxSocketPath)
	}
	// A socket that a killed Edge left behind.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	return path, nil
}
