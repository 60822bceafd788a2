//go:build unix

package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supported says why this system has no upgrade, or nil.
func Supported() error { return nil }

// Options say what Start starts.
type Options struct {
	Binary  string
	Args    []string // without the program's name
	Environ []string
	Stdout  *os.File
	Stderr  *os.File
}

// Successor is the process that is to take the place of this one, as seen from here.
type Successor struct {
	*channel
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended; status is set by then
	status error
	tail   *tail
}

// Start starts the new process and hands it the sockets.
func Start(opts Options, sockets *Sockets) (s *Successor, err error) {
	mine, theirs, err := SocketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	link, err := newChannel(mine)
	if err != nil {
		return nil, err
	}
	// What it says until it serves is ours to read; then it speaks for itself, and needs a stderr that this process does not hold.
	says, itsStderr, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, link.Close())
	}
	defer itsStderr.Close()
	cmd := exec.Command(opts.Binary, opts.Args...)
	cmd.Env = environ(opts.Environ)
	cmd.Stdout, cmd.Stderr = opts.Stdout, itsStderr
	cmd.ExtraFiles = []*os.File{theirs, opts.Stderr}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", opts.Binary, err), link.Close(), says.Close())
	}
	s = &Successor{channel: link, cmd: cmd, exited: make(chan struct{}), tail: &tail{}}
	var heard sync.WaitGroup
	heard.Go(func() { // ends when the new process, and what it has started, have another stderr or none
		defer says.Close()
		_, _ = io.Copy(io.MultiWriter(s.tail, opts.Stderr), says)
	})
	go func() { // ends with the new process, or with this one
		status := cmd.Wait()
		waitFor(&heard, time.Second)
		s.status = status
		close(s.exited)
	}()
	if err := sockets.send(link); err != nil {
		return nil, s.Fail(err)
	}
	return s, nil
}

func waitFor(wg *sync.WaitGroup, most time.Duration) {
	done := make(chan struct{})
	go func() { // ends with what it waits for
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(most):
	}
}

// environ is that of the new process. What was meant for this process alone is left out.
func environ(list []string) []string {
	var env []string
	for _, entry := range list {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", variable:
			continue
		}
		env = append(env, entry)
	}
	return append(env, fmt.Sprintf("%s=%d", variable, channelFD))
}

// The descriptors of the new process.
const (
	channelFD = 3
	stderrFD  = 4
)

// PID is that of the new process.
func (s *Successor) PID() int { return s.cmd.Process.Pid }

// patience is how long a process that is told to end may take before it is killed.
const patience = 5 * time.Second

// Fail ends the new process, and says what came of it: why, how it has ended by itself, and what it wrote last.
func (s *Successor) Fail(why error) error {
	s.Close()
	var said errFailed
	ended := errors.Is(why, io.EOF) || errors.Is(why, syscall.EPIPE) || errors.Is(why, syscall.ECONNRESET)
	select {
	case <-s.exited:
	case <-time.After(time.Second):
	}
	byItself := true
	select {
	case <-s.exited:
	default:
		byItself = false
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.exited:
		case <-time.After(patience):
			_ = s.cmd.Process.Kill()
			<-s.exited
		}
	}
	switch {
	case errors.As(why, &said):
		return fmt.Errorf("%s (pid %d) does not start: %w", s.cmd.Path, s.PID(), why)
	case ended && byItself:
		why = fmt.Errorf("it has ended (%s) before it was ready", s.cmd.ProcessState)
	case ended:
		why = errors.New("it has closed the connection to this process: it is no edge that knows upgrades")
	}
	err := fmt.Errorf("%s (pid %d): %w", s.cmd.Path, s.PID(), why)
	if last := s.tail.String(); last != "" {
		err = fmt.Errorf("%w; its last words: %s", err, last)
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}

// Predecessor is the process whose place this one is to take, as seen from here.
type Predecessor struct {
	*channel
	sockets *Sockets
	begin   []byte
	files   []*os.File
	stderr  *os.File
}

// Arrive finds out whether an older process has started this one, and takes what it hands over. Without one it returns nil. The environment
// that it returns is the one that the process should have.
func Arrive(ctx context.Context, environ []string) (*Predecessor, []string, error) {
	var env []string
	found := ""
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, variable+"="); ok {
			found = value
			continue
		}
		env = append(env, entry)
	}
	if found == "" {
		return nil, environ, nil
	}
	os.Unsetenv(variable) // nobody who is started from here should take it for theirs
	if found != fmt.Sprint(channelFD) {
		return nil, env, fmt.Errorf("%s=%s: it is set by an edge that starts its successor, and by nobody else", variable, found)
	}
	unix.CloseOnExec(channelFD)
	unix.CloseOnExec(stderrFD)
	link, err := newChannel(os.NewFile(channelFD, "upgrade"))
	if err != nil {
		return nil, env, fmt.Errorf("%s=%s: it is set by an edge that starts its successor, and by nobody else: %w", variable, found, err)
	}
	p := &Predecessor{channel: link, stderr: os.NewFile(stderrFD, "stderr"), sockets: &Sockets{gate: make(chan struct{}), inherited: map[string][]*os.File{}}}
	return p, env, p.takeSockets(ctx)
}

func (p *Predecessor) takeSockets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		m, files, err := p.next(ctx)
		if err != nil {
			return fmt.Errorf("what the older edge hands over: %w", err)
		}
		switch m.Kind {
		case KindSocket:
			var d socketData
			if err := json.Unmarshal(m.Data, &d); err != nil || len(files) != 1 {
				return errors.Join(errors.New("what the older edge hands over is no socket"), err)
			}
			p.sockets.inherited[d.Name] = append(p.sockets.inherited[d.Name], files[0])
		case KindBegin:
			p.begin, p.files = m.Data, files
			return nil
		default:
			return fmt.Errorf("the older edge says %q", m.Kind)
		}
	}
}

// Sockets are those that were handed over.
func (p *Predecessor) Sockets() *Sockets { return p.sockets }

// Begin reads what the older process has said at the start, and returns the files that came with it.
func (p *Predecessor) Begin(into any) ([]*os.File, error) {
	return p.files, json.Unmarshal(p.begin, into)
}

// Failed tells the older process why this one does not start.
func (p *Predecessor) Failed(why error) {
	_ = p.Send(kindFailed, why.Error()) // it may have gone
	p.Close()
}

// Taken tells the older process that this one serves, and gives it the stderr of that one. An error means that it does not hear that.
func (p *Predecessor) Taken() error {
	if err := p.Send(KindTaken, nil); err != nil {
		return fmt.Errorf("the older edge has gone: %w", err)
	}
	if err := replaceFD(int(p.stderr.Fd()), 2); err != nil {
		return nil //nolint:nilerr // it serves all the same, and says less
	}
	p.stderr.Close()
	return nil
}
