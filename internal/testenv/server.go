package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a program that a test started on an address of its own and that ends with the test.
type Server struct {
	Addr string // host:port, or the path of a socket
	Dir  string // where it keeps its files

	t     testing.TB
	path  string
	args  []string
	ready func(addr string) error
	log   *Log

	mu   sync.Mutex // protects cmd and done
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// startServer runs the program and waits until ready has no complaint about its address.
func startServer(t testing.TB, addr, dir, path string, args []string, ready func(addr string) error) *Server {
	t.Helper()
	s := &Server{Addr: addr, Dir: dir, t: t, path: path, args: args, ready: ready, log: &Log{}}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// Port is the port of Addr.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Start runs the server again after Kill, on the same address, and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.Launch()
	s.AwaitReady()
}

// Launch is Start without the wait.
func (s *Server) Launch() {
	s.t.Helper()
	cmd := exec.Command(s.path, s.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, s.log, s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", s.path, err)
	}
	done := make(chan struct{})
	go func() { // ends with the program, which Kill ends
		_ = cmd.Wait()
		close(done)
	}()
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
}

// AwaitReady waits until the server answers.
func (s *Server) AwaitReady() {
	s.t.Helper()
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	var err error
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		if err = s.ready(s.Addr); err == nil {
			return
		}
		select {
		case <-done:
			s.t.Fatalf("%s ended instead of serving %s:\n%s", s.path, s.Addr, s.log)
		case <-time.After(3 * time.Millisecond):
		}
	}
	s.t.Fatalf("%s does not serve %s: %v\n%s", s.path, s.Addr, err, s.log)
}

// Kill ends the server as kill -9 does and waits until it is gone. A server that is down stays down.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// Pause stops the server in its tracks: its connections stay open, and nobody answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

// Log is what the server has printed.
func (s *Server) Log() string { return s.log.String() }

// accepts is the simplest sign of life.
func accepts(addr string) error {
	network := "tcp"
	if len(addr) > 0 && addr[0] == '/' {
		network = "unix"
	}
	c, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// write puts a file of a server into its folder.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
