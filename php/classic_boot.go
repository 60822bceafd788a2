package php

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/edge-server/edge/internal/osproc"
	"github.com/edge-server/edge/php/fastcgi"
)

// bootClassic starts a worker of classic mode.
func (p *Pool) bootClassic(ctx context.Context, s *spec) (*worker, error) {
	select {
	case p.boots <- struct{}{}:
		defer func() { <-p.boots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	inTime, cancel := context.WithTimeoutCause(ctx, p.cfg.BootTimeout, errNotInTime)
	defer cancel()
	w := p.newWorker(s)
	var err error
	switch {
	case s.classic.fpm != nil:
		err = w.bootOnFPM(inTime)
	case s.classic.address != "":
		w.bootOnAddress()
	default:
		err = w.bootCGI(inTime)
	}
	if err != nil {
		putBuffer(w.box)
		return nil, err
	}
	return w, nil
}

// converse gives the worker what it needs to talk over connections to that address.
func (w *worker) converse(network, address string, own bool) {
	conn := &fcgiConn{network: network, address: address, own: own}
	w.relay = conn
	w.fcgi = &conversation{conn: conn, own: own, reader: fastcgi.NewReader(conn), stderr: newStderrLog(w.pool.log, w.pool.name)}
}

// bootOnAddress makes a worker that stands for one connection to a server that somebody else runs. Whether that server answers is
// found out with each request: it may start after Edge, and restart without it.
func (w *worker) bootOnAddress() {
	c := w.spec.classic
	w.converse(c.network, c.address, false)
	w.proc = newSlot(w.pool, w.fcgi.conn.disconnect)
}

// newSlot is the process of a worker that has none: its end is the end of a connection.
func newSlot(p *Pool, disconnect func()) *process {
	proc := &process{log: newStderrLog(p.log, p.name), exited: make(chan struct{})}
	proc.end = sync.OnceFunc(func() {
		disconnect()
		proc.status = "the connection was closed"
		proc.tellGone()
		close(proc.exited)
	})
	return proc
}

// bootCGI starts a php-cgi on a socket of its own. The socket is its standard input, by which it knows that it is to speak FastCGI;
// only Edge's user can dial it.
func (w *worker) bootCGI(ctx context.Context) error {
	p, s := w.pool, w.spec
	fail := func(err error) error {
		return fmt.Errorf("start a worker of php pool %q (%s): %w", p.name, Command(s.args), err)
	}
	path, err := socketPath(p.temp.path, p.name, p.serial.Add(1))
	if err != nil {
		return fail(err)
	}
	listener, err := listenPrivately(path)
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(s.path)
	cmd.Args, cmd.Dir, cmd.Env = s.args, s.dir, slices.Clip(s.env)
	cmd.SysProcAttr = osproc.Attributes(s.user)
	cmd.Stdin = listener
	if w.proc, err = p.spawner.start(cmd, newStderrLog(p.log, p.name), listener); err != nil {
		os.Remove(path)
		return fail(err)
	}
	w.converse("unix", path, true)
	// A process that left children behind may be gone while its socket stays open.
	w.proc.whenGone(func() {
		_ = w.relay.SetReadDeadline(time.Now().Add(drainGrace))
		_ = w.relay.SetWriteDeadline(time.Now().Add(drainGrace))
	})
	stop := context.AfterFunc(ctx, func() { interrupt(w.relay) })
	err = w.greetScript(ctx.Err)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	return fail(w.bootFailure(ctx, err))
}

// bootFailure ends a worker that did not come up, and says why in PHP's own words.
func (w *worker) bootFailure(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		cause = context.Cause(ctx)
	} else {
		w.proc.waitFor(exitGrace)
	}
	ended := w.proc.gone.Load()
	w.proc.kill()
	<-w.proc.exited
	w.closeRelay()
	if ended {
		cause = fmt.Errorf("%w (%s)", cause, w.proc.status)
	}
	if said := w.proc.log.Said(); said != "" {
		cause = fmt.Errorf("%w; php said: %s", cause, said)
	}
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	return fmt.Errorf("%w; classic mode needs php-cgi (apt-get install php-cgi) or php-fpm as command: the command-line php does not speak FastCGI", cause)
}

// listenPrivately returns a listening socket for a child, in blocking mode, as PHP expects it.
func listenPrivately(path string) (*os.File, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false) // it ends with the worker
	err = os.Chmod(path, 0o600)
	var file *os.File
	if err == nil {
		file, err = listener.File()
	}
	if err == nil {
		err = syscall.SetNonblock(int(file.Fd()), false)
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return file, nil
}

// greetScript asks PHP a question over a new connection. The answer shows that PHP waits for requests, after a script that may
// still run for a client that left. The question is dropped when over reports an error.
func (w *worker) greetScript(over func() error) error {
	c := w.fcgi
	if _, err := c.conn.open(); err != nil {
		return err
	}
	c.reader.Reset(c.conn)
	if _, err := c.conn.Write(fastcgi.AppendGetValues(nil)); err != nil {
		return err
	}
	for {
		t, _, err := w.record(0)
		switch {
		case err == nil && t == fastcgi.GetValuesResult:
			return nil
		case err == nil:
			return fmt.Errorf("%w: record of type %d in place of an answer to GET_VALUES", fastcgi.ErrRecord, t)
		case !errors.Is(err, os.ErrDeadlineExceeded) || over() != nil:
			return err
		}
	}
}
