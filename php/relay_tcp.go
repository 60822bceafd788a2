package php

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os/exec"
	"sync"
	"syscall"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/osproc"
)

// maxStrangers is how many connections may be asked at a time who they are.
const maxStrangers = 64

// tcpRelay is a connection that the worker made, with the greeting done: that is how it was told from others.
type tcpRelay struct {
	*net.TCPConn
	reader *frame.Reader
	hello  hello
}

func (*tcpRelay) unread() int { return -1 }

// startOnTCP starts cmd and waits until it dialed a port of its own and answered the greeting, or ctx ends. Any process of this
// machine can dial the port. Those of other users are turned away, and so is whoever says to be another process than the one
// started here, or one of its descendants; the wait goes on.
func startOnTCP(ctx context.Context, s *spawner, cmd *exec.Cmd, log *osproc.Lines, uid int) (*process, relay, error) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	cmd.Env = append(cmd.Env, "RR_RELAY=tcp://"+listener.Addr().String())
	proc, err := s.start(cmd, log)
	if err != nil {
		listener.Close()
		return nil, nil, err
	}
	door := &door{proc: proc, uid: uid, listener: listener, found: make(chan *tcpRelay, 1), strangers: map[*net.TCPConn]bool{}}
	door.asking.Go(door.open) // ends with close
	select {
	case r := <-door.found:
		door.close()
		return proc, r, nil
	case <-proc.exited:
	case <-ctx.Done():
	}
	door.close()
	select {
	case r := <-door.found: // at the same moment
		return proc, r, nil
	default:
		return proc, nil, door.failure()
	}
}

// door lets one worker in.
type door struct {
	proc     *process
	uid      int
	listener *net.TCPListener
	found    chan *tcpRelay
	asking   sync.WaitGroup

	mu        sync.Mutex // protects what follows
	strangers map[*net.TCPConn]bool
	refused   error // the last one
	closed    bool
}

// open accepts connections until the listener is closed.
func (d *door) open() {
	for {
		conn, err := d.listener.AcceptTCP()
		if err != nil {
			return
		}
		if !d.admit(conn) {
			conn.Close()
			continue
		}
		d.asking.Go(func() { d.ask(conn) }) // ends with close at the latest
	}
}

// admit reports whether it is worth asking who dialed.
func (d *door) admit(conn *net.TCPConn) bool {
	if uid, known := dialedBy(conn); known && uid != d.uid {
		d.refuse(fmt.Errorf("a connection came from a process of user %d, and the workers run as %d", uid, d.uid))
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.strangers) >= maxStrangers {
		return false
	}
	d.strangers[conn] = true
	return true
}

// ask greets, and lets in the worker.
func (d *door) ask(conn *net.TCPConn) {
	r := &tcpRelay{TCPConn: conn, reader: frame.NewReader(conn, math.MaxUint32)}
	err := d.identify(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.strangers, conn)
	if err == nil && !d.closed && len(d.found) == 0 {
		d.found <- r
		return
	}
	conn.Close()
	if !d.closed && err != nil {
		d.refused = err
	}
}

func (d *door) identify(r *tcpRelay) (err error) {
	if r.hello, err = greet(r, r.reader); err == nil && !descends(r.hello.PID, d.proc.pid) {
		return fmt.Errorf("a connection came from process %d, which is not the one that was started (%d) nor a descendant of it: "+
			"with relay tcp, command must not lead into another container", r.hello.PID, d.proc.pid)
	}
	return err
}

func (d *door) refuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.refused = err
	}
}

// close ends the wait, and every connection that was not let in.
func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	for conn := range d.strangers {
		conn.Close()
	}
	d.mu.Unlock()
	d.listener.Close()
	d.asking.Wait()
}

func (d *door) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refused != nil {
		// Not its type: it is not about the worker.
		err := fmt.Errorf("wait for the worker to dial %s: %s", d.listener.Addr(), d.refused.Error())
		if errors.Is(d.refused, errHello) {
			return markedHello{err}
		}
		return err
	}
	return fmt.Errorf("the worker did not dial %s", d.listener.Addr())
}

// maxAncestors bounds the search for an ancestor.
const maxAncestors = 32

// descends reports whether a process is the leader, of its process group, or has it among its ancestors.
func descends(pid, leader int) bool {
	if group, err := syscall.Getpgid(pid); err == nil && group == leader {
		return true
	}
	for range maxAncestors {
		if pid == leader {
			return true
		}
		if pid = parentOf(pid); pid <= 1 {
			return false
		}
	}
	return false
}

// markedHello is an error about an answer to a greeting that makes no sense.
type markedHello struct{ error }

func (markedHello) Is(target error) bool { return target == errHello }
