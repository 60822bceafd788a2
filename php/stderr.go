package php

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxLogLine is where a line of a worker's stderr is cut.
	maxLogLine = 8 << 10
	// A worker may log this many lines in a burst and per second; the rest is counted and dropped.
	logBurst      = 1000
	logsPerSecond = 200
	// bootTail is how much of what PHP said an error about a failed start carries.
	bootTail = 4 << 10
)

// stderrLog passes a worker's stderr to the log, line by line. It always reads on, whatever the worker writes: a full pipe
// would stop PHP.
type stderrLog struct {
	log  *slog.Logger
	pool string

	mu   sync.Mutex // protects tail
	tail []byte     // what came last, for errors; cut off at bootTail
	// the token bucket, used by copy only
	tokens  float64
	filled  time.Time
	dropped int
}

func newStderrLog(log *slog.Logger, pool string) *stderrLog {
	return &stderrLog{log: log, pool: pool, tokens: logBurst, filled: time.Now()}
}

// copy logs until the end of r.
func (l *stderrLog) copy(pid int, r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLogLine)
	for cut := false; ; {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 && !cut {
			l.line(pid, bytes.TrimRight(line, "\r\n"), err == bufio.ErrBufferFull)
		}
		if cut = err == bufio.ErrBufferFull; err != nil && !cut {
			break
		}
	}
	l.reportDropped(pid)
}

func (l *stderrLog) line(pid int, line []byte, cut bool) {
	if len(line) == 0 {
		return
	}
	l.mu.Lock()
	l.tail = append(append(l.tail, line...), '\n')
	if extra := len(l.tail) - bootTail; extra > 0 {
		l.tail = append(l.tail[:0], l.tail[extra:]...)
	}
	l.mu.Unlock()

	now := time.Now()
	l.tokens = min(logBurst, l.tokens+now.Sub(l.filled).Seconds()*logsPerSecond)
	l.filled = now
	if l.tokens < 1 {
		l.dropped++
		return
	}
	l.tokens--
	l.reportDropped(pid)
	text := string(line)
	if cut {
		text += " … (line cut)"
	}
	l.log.Info(text, "pool", l.pool, "pid", pid)
}

func (l *stderrLog) reportDropped(pid int) {
	if l.dropped > 0 {
		l.log.Warn("php worker floods stderr, lines dropped", "pool", l.pool, "pid", pid, "lines", l.dropped)
		l.dropped = 0
	}
}

// said returns the end of what came so far.
func (l *stderrLog) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.tail))
}
