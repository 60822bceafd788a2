package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Lines is where many goroutines write lines at once, such as that of each request. A line costs its writer a copy: one goroutine
// takes what has come together and writes it as a whole, which is a system call for hundreds of requests instead of one for each, with
// all others waiting behind it.
//
// A line is written within linesDelay, or sooner when many come. Nothing is thrown away: when the output takes less than comes, writers
// wait for it.
type Lines struct {
	out io.Writer
	log *slog.Logger

	writing sync.Mutex // held through a write; taken before mu

	mu      sync.Mutex // guards what follows
	room    sync.Cond  // some was taken, or the end has begun
	waiting []byte     // whole lines
	spare   []byte     // the buffer of the last write
	closed  bool

	failed bool   // guarded by writing: the last write has failed, and that was said
	lost   uint64 // the same: lines since then

	came  chan struct{} // holds one when there are lines
	many  chan struct{} // holds one when there are so many that they are not to wait for more
	end   chan struct{}
	ended chan struct{}
}

const (
	// linesDelay is how long a line may wait for others: what a process that is killed has not said.
	linesDelay = 5 * time.Millisecond

	// linesEnough are written without waiting for more.
	linesEnough = 32 << 10

	// linesMost may wait. A write of a slow output takes as long as it takes, and requests wait from here on.
	linesMost = 256 << 10
)

// NewLines starts the goroutine, which Close ends. An output that fails is said once in log, and once more when it is well again.
func NewLines(out io.Writer, log *slog.Logger) *Lines {
	l := &Lines{
		out: out, log: log,
		came: make(chan struct{}, 1), many: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{}),
	}
	l.room.L = &l.mu
	go l.run()
	return l
}

// Write takes p, which is one line or a few. It returns before they are written, and so never fails. After Close it writes at once.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	for len(l.waiting) > 0 && len(l.waiting)+len(p) > linesMost && !l.closed {
		l.room.Wait()
	}
	before := len(l.waiting)
	l.waiting = append(l.waiting, p...)
	after, closed := len(l.waiting), l.closed
	l.mu.Unlock()
	switch {
	case closed:
		l.flush()
	case before < linesEnough && after >= linesEnough:
		wake(l.many)
		fallthrough
	case before == 0:
		wake(l.came)
	}
	return len(p), nil
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run ends with Close.
func (l *Lines) run() {
	defer close(l.ended)
	delay := time.NewTimer(time.Hour)
	defer delay.Stop()
	for {
		select {
		case <-l.came:
		case <-l.end:
			l.flush()
			return
		}
		delay.Reset(linesDelay)
		select {
		case <-delay.C:
		case <-l.many:
		case <-l.end:
		}
		l.flush()
	}
}

// flush writes what waits.
func (l *Lines) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	lines := l.waiting
	l.waiting, l.spare = l.spare[:0], nil
	l.room.Broadcast()
	l.mu.Unlock()
	if len(lines) > 0 {
		n, err := l.out.Write(lines)
		l.say(lines[min(max(n, 0), len(lines)):], err)
	}
	l.mu.Lock()
	if cap(lines) <= 2*linesMost { // one long line is no reason to keep its room
		l.spare = lines[:0]
	}
	l.mu.Unlock()
}

// say reports trouble when it begins and when it is over. A server whose disk is full has enough of it.
func (l *Lines) say(lost []byte, err error) {
	if err != nil {
		l.lost += uint64(bytes.Count(lost, []byte{'\n'}))
		if !l.failed {
			l.log.Error("access log: lines of requests are lost until its output takes them again", "error", err)
		}
		l.failed = true
		return
	}
	if l.failed {
		l.log.Warn("access log: its output takes lines again", "lost", l.lost)
		l.failed, l.lost = false, 0
	}
}

// Close returns when all lines are written, or with an error when ctx ends before the output has taken them.
func (l *Lines) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.end)
		l.room.Broadcast()
	}
	l.mu.Unlock()
	select {
	case <-l.ended:
		return nil
	default:
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the output does not take the last lines: %w", ctx.Err())
	}
}
