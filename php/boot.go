package php

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/osproc"
)

// featureBodyFile is announced by workers that take large bodies as a file.
const featureBodyFile = "body-file"

// bootHint ends the error about a worker that runs but does not ask for work, or ended without a word. RoadRunner users look for its
// name. Who gets PHP's own message needs no other.
const bootHint = "allocate-timeout: the script has to ask for its first request within boot_timeout, and must not write anything to its relay before"

var (
	errNotInTime = errors.New("it did not ask for work within boot_timeout")
	errHello     = errors.New("unexpected response")
)

// hello is a worker's answer to the server's pid.
type hello struct {
	PID  int `json:"pid"`
	Edge struct {
		Features []string `json:"features"`
	} `json:"edge"`
}

// boot starts a worker and waits until it asks for work. Without an error its goroutine has yet to be started.
func (p *Pool) boot(ctx context.Context, s *spec) (*worker, error) {
	if s.classic != nil {
		return p.bootClassic(ctx, s)
	}
	w, err := p.bootOnce(ctx, s)
	if errors.Is(err, errNoFence) && ctx.Err() == nil {
		if s.fence.Swap(fenceUnanswered) != fenceUnanswered {
			p.log.Warn("php workers do not answer a second greeting, as those of RoadRunner's packages do: should one answer a request twice, the next client may get the second answer",
				"pool", p.name)
		}
		w, err = p.bootOnce(ctx, s)
	}
	return w, err
}

func (p *Pool) bootOnce(ctx context.Context, s *spec) (*worker, error) {
	select {
	case p.boots <- struct{}{}:
		defer func() { <-p.boots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	log := newStderrLog(p.log, p.name)
	inTime, cancel := context.WithTimeoutCause(ctx, p.cfg.BootTimeout, errNotInTime)
	defer cancel()
	proc, r, err := p.startProcess(inTime, s, log)
	if proc == nil {
		return nil, fmt.Errorf("start a worker of php pool %q (%s in %s): %w", p.name, p.cfg.Command, s.dir, err)
	}
	w := p.newWorker(s)
	w.proc, w.relay = proc, r
	if err == nil {
		// A process that left children behind may be gone while its relay stays open.
		proc.whenGone(func() {
			_ = r.SetReadDeadline(time.Now().Add(drainGrace))
			_ = r.SetWriteDeadline(time.Now().Add(drainGrace))
		})
		stop := context.AfterFunc(inTime, func() { interrupt(r) })
		err = w.handshake()
		if !stop() && err == nil {
			err = context.Cause(inTime)
		}
	}
	if err == nil {
		return w, nil
	}
	return nil, p.bootError(inTime, w, err)
}

// newWorker is a worker of generation s that has no process yet.
func (p *Pool) newWorker(s *spec) *worker {
	return &worker{
		pool:    p,
		spec:    s,
		box:     getBuffer(),
		started: time.Now(),
		jobs:    make(chan *job, 1),
		quit:    make(chan struct{}),
		limit:   jitter(p.cfg.MaxJobs),
		expires: p.expiry(),
	}
}

// startProcess starts the worker's process with its relay. Both results may be there beside an error.
func (p *Pool) startProcess(ctx context.Context, s *spec, log *osproc.Lines) (*process, relay, error) {
	cmd := exec.Command(s.path)
	cmd.Args, cmd.Dir, cmd.Env = s.args, s.dir, slices.Clip(s.env)
	cmd.SysProcAttr = osproc.Attributes(s.user)
	if p.cfg.Relay == relayPipes {
		return startOnPipes(p.spawner, cmd, log)
	}
	if p.cfg.Relay == relayTCP {
		uid := os.Geteuid()
		if s.user != nil {
			uid = int(s.user.UID)
		}
		return startOnTCP(ctx, p.spawner, cmd, log, uid)
	}
	dir := p.opts.StateDir
	if dir == "" || s.user != nil {
		dir = p.temp.path // the workers' user must be able to enter it
	}
	path, err := socketPath(dir, p.name, p.serial.Add(1))
	if err != nil {
		return nil, nil, err
	}
	return startOnSocket(ctx, p.spawner, cmd, log, path, s.user)
}

// handshake exchanges pids, which shows that the script asks for work, and learns what the worker understands.
func (w *worker) handshake() error {
	var answer hello
	if r, ok := w.relay.(*tcpRelay); ok {
		w.reader, answer = r.reader, r.hello
	} else {
		var err error
		w.reader = frame.NewReader(w.relay, math.MaxUint32)
		if answer, err = greet(w.relay, w.reader); err != nil {
			return err
		}
	}
	w.takesFiles = slices.Contains(answer.Edge.Features, featureBodyFile)
	w.speaks = w.spec.speaks
	if w.takesFiles && slices.Contains(answer.Edge.Features, featureNative) {
		w.speaks = speaksNative
	}
	if slices.Contains(answer.Edge.Features, featureCancel) {
		w.hangup = &hangup{}
	}
	if slices.Contains(answer.Edge.Features, featureOneAnswer) {
		if slices.Contains(answer.Edge.Features, featureAhead) && w.hangup == nil && !w.pool.alone() {
			w.goAhead(answer.Edge.Features)
		}
		return nil
	}
	return w.proveFence()
}

// greet tells a worker Edge's pid, and waits for its own.
func greet(r relay, reader *frame.Reader) (answer hello, err error) {
	pid := strconv.AppendInt([]byte(`{"pid":`), int64(os.Getpid()), 10)
	if _, err := r.Write(frame.AppendFrame(nil, frame.FlagControl|frame.FlagJSON, 0, append(pid, '}'))); err != nil {
		return answer, err
	}
	h, err := reader.Head()
	if err != nil {
		return answer, err
	}
	payload, err := reader.Take(chunkSize)
	if err != nil {
		return answer, err
	}
	if !h.Is(frame.FlagControl) || json.Unmarshal(payload, &answer) != nil || answer.PID <= 0 {
		return answer, fmt.Errorf("%w in place of the worker's pid: flags %#x, %q", errHello, h.Flags, payload)
	}
	return answer, nil
}

// bootError ends a worker that did not come up, and says why in PHP's own words.
func (p *Pool) bootError(ctx context.Context, w *worker, cause error) error {
	var junk *frame.JunkError
	switch {
	case ctx.Err() != nil:
		cause = context.Cause(ctx)
		if errors.Is(cause, errNotInTime) {
			cause = fmt.Errorf("%w (%s)", cause, p.cfg.BootTimeout)
		}
		cause = w.withOutput(cause)
	case errors.As(cause, &junk):
		_ = w.relay.SetReadDeadline(time.Now().Add(drainGrace))
		junk.Junk = w.reader.Drain(osproc.TailSize)
		w.proc.waitFor(exitGrace)
	default:
		w.proc.waitFor(exitGrace)
		cause = w.withOutput(cause)
	}
	ended := w.proc.gone.Load()
	w.proc.kill()
	<-w.proc.exited
	if w.relay != nil {
		w.closeRelay()
	}
	putBuffer(w.box)

	err := fmt.Errorf("start a worker of php pool %q (%s in %s): %w", p.name, p.cfg.Command, w.spec.dir, cause)
	if ended {
		err = fmt.Errorf("%w (%s)", err, w.proc.status)
	}
	if said := w.proc.log.Said(); said != "" {
		err = fmt.Errorf("%w; php said: %s", err, said)
	}
	switch {
	case errors.Is(cause, errNotInTime), errors.Is(cause, errHello):
	case ctx.Err() != nil:
		return err // somebody changed their mind; nothing is wrong with the script
	case ended && !w.proc.clean:
		return err // it says itself what is wrong
	}
	return fmt.Errorf("%w; %s", err, bootHint)
}

// withOutput adds what the script wrote to its relay, such as "Could not open input file".
func (w *worker) withOutput(cause error) error {
	if w.reader == nil {
		return cause
	}
	_ = w.relay.SetReadDeadline(time.Now().Add(drainGrace))
	if output := w.reader.Drain(osproc.TailSize); len(output) > 0 {
		return fmt.Errorf("%w; it wrote %q", cause, output)
	}
	return cause
}

// expiry is when ttl is over for a worker that is booted now: up to 14 % earlier, so that workers started together do not go
// together.
func (p *Pool) expiry() int64 {
	if p.cfg.TTL == 0 {
		return 0
	}
	return p.now() + int64(p.cfg.TTL) - rand.Int64N(int64(p.cfg.TTL)*14/100+1)
}

// jitter adds up to 14 % to max_jobs, so that workers started together do not go together.
func jitter(maxJobs int) uint64 {
	if maxJobs == 0 {
		return 0
	}
	return uint64(maxJobs + rand.IntN(maxJobs*14/100+1))
}
