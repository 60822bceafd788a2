package osproc

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// MaxLine is where a line is cut.
	MaxLine = 8 << 10
	// A process may log this many lines and bytes in a burst, and per second; the rest is counted and dropped.
	lineBurst, linesPerSecond = 1000, 200
	byteBurst, bytesPerSecond = 1 << 20, 256 << 10
	// floodReport is how often, at most, the log says that a process floods.
	floodReport = time.Second
	// TailSize is how much of what came last an error can carry.
	TailSize = 4 << 10
)

// Lines passes what a process says to the log, line by line. It always reads on, whatever comes: a full pipe would stop the process.
type Lines struct {
	log   *slog.Logger
	flood string

	mu   sync.Mutex // protects tail
	tail []byte     // what came last, for errors; cut off at TailSize

	// Used by Copy only.
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

// NewLines logs to log. flood is the message about lines that were dropped because there are too many.
func NewLines(log *slog.Logger, flood string) *Lines {
	return &Lines{log: log, flood: flood, lines: lineBurst, bytes: byteBurst, filled: time.Now()}
}

// Copy logs until the end of r.
func (l *Lines) Copy(pid int, r io.Reader) {
	lines := bufio.NewReaderSize(r, MaxLine)
	for cut := false; ; {
		line, err := lines.ReadSlice('\n')
		if cut {
			l.drop(pid, 0, len(line))
		} else if len(line) > 0 {
			l.Line(pid, bytes.TrimRight(line, "\r\n"), err == bufio.ErrBufferFull)
		}
		if cut = err == bufio.ErrBufferFull; err != nil && !cut {
			break
		}
	}
	l.report(pid)
}

// Line logs one line of a process; cut says that there was more of it.
func (l *Lines) Line(pid int, line []byte, cut bool) {
	if len(line) == 0 {
		return
	}
	l.mu.Lock()
	l.tail = append(append(l.tail, line...), '\n')
	if extra := len(l.tail) - TailSize; extra > 0 {
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
	l.log.Info(text, "pid", pid)
}

// drop counts what is not logged. The log hears of a flood at once, and then once in a while.
func (l *Lines) drop(pid, lines, bytes int) {
	l.dropped += lines
	l.droppedBytes += bytes
	if l.dropped > 0 && time.Since(l.reported) >= floodReport {
		l.report(pid)
	}
}

func (l *Lines) report(pid int) {
	if l.dropped == 0 {
		return
	}
	l.log.Warn(l.flood, "pid", pid, "lines", l.dropped, "bytes", l.droppedBytes)
	l.dropped, l.droppedBytes, l.reported = 0, 0, time.Now()
}

// Said returns the end of what came so far.
func (l *Lines) Said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.tail))
}
