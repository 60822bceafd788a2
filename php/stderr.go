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
	// A worker may log this many lines and bytes in a burst, and per second; the rest is counted and dropped.
	lineBurst, linesPerSecond = 1000, 200
	byteBurst, bytesPerSecond = 1 << 20, 256 << 10
	// floodReport is how often, at most, the log says that a worker floods.
	floodReport = time.Second
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

	// Used by copy only.
	lines, bytes bucket
	filled       time.Time
	dropped      int // lines since the last report
	droppedBytes int
	reported     time.Time
}

// bucket holds what may still be logged now.
type bucket float64

func (b *bucket) fill(seconds, perSecond, burst float64) {
	*b = min(bucket(burst), *b+bucket(seconds*perSecond))
}

func newStderrLog(log *slog.Logger, pool string) *stderrLog {
	return &stderrLog{log: log, pool: pool, lines: lineBurst, bytes: byteBurst, filled: time.Now()}
}

// copy logs until the end of r.
func (l *stderrLog) copy(pid int, r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLogLine)
	for cut := false; ; {
		line, err := lines.ReadSlice('\n')
		if cut {
			l.drop(pid, 0, len(line))
		} else if len(line) > 0 {
			l.line(pid, bytes.TrimRight(line, "\r\n"), err == bufio.ErrBufferFull)
		}
		if cut = err == bufio.ErrBufferFull; err != nil && !cut {
			break
		}
	}
	l.report(pid)
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
	passed := now.Sub(l.filled).Seconds()
	l.lines.fill(passed, linesPerSecond, lineBurst)
	l.bytes.fill(passed, bytesPerSecond, byteBurst)
	l.filled = now
	if l.lines < 1 || l.bytes < bucket(len(line)) {
		l.drop(pid, 1, len(line))
		return
	}
	l.lines--
	l.bytes -= bucket(len(line))
	if now.Sub(l.reported) >= floodReport {
		l.report(pid)
	}
	text := string(line)
	if cut {
		text += " … (line cut)"
	}
	l.log.Info(text, "pool", l.pool, "pid", pid)
}

// drop counts what is not logged. The log hears of a flood at once, and then once in a while.
func (l *stderrLog) drop(pid, lines, bytes int) {
	l.dropped += lines
	l.droppedBytes += bytes
	if l.dropped > 0 && time.Since(l.reported) >= floodReport {
		l.report(pid)
	}
}

func (l *stderrLog) report(pid int) {
	if l.dropped == 0 {
		return
	}
	l.log.Warn("php worker floods stderr, lines dropped", "pool", l.pool, "pid", pid, "lines", l.dropped, "bytes", l.droppedBytes)
	l.dropped, l.droppedBytes, l.reported = 0, 0, time.Now()
}

// said returns the end of what came so far.
func (l *stderrLog) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.tail))
}
