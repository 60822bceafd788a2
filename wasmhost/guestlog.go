package wasmhost

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	maxLogLine    = 4 << 10 // bytes of one line of a guest
	maxTail       = 1 << 10 // bytes of stderr that are kept to explain a trap
	logBurst      = 200     // lines at once
	linesASecond  = 100
	linesDropped  = "lines of this plugin were dropped: it logs too much"
	truncatedMark = "… (cut)"
)

// guestLog writes what a plugin says into the server's log: bounded in length and rate, so that a plugin cannot drown
// the log or fill the disk.
type guestLog struct {
	out *slog.Logger

	mu      sync.Mutex // guards all below
	tokens  float64
	filled  time.Time
	dropped uint64 // since the last line that went through
	total   uint64 // dropped in all
}

func newGuestLog(log *slog.Logger) *guestLog {
	return &guestLog{out: log, tokens: logBurst, filled: time.Now()}
}

func (l *guestLog) enabled(level slog.Level) bool { return l.out.Enabled(context.Background(), level) }

// line writes one line, unless there were too many.
func (l *guestLog) line(level slog.Level, text []byte, attrs ...slog.Attr) {
	if !l.enabled(level) || !l.allow() {
		return
	}
	l.out.LogAttrs(context.Background(), level, printable(text), attrs...)
}

func (l *guestLog) allow() bool {
	l.mu.Lock()
	now := time.Now()
	l.tokens = min(logBurst, l.tokens+now.Sub(l.filled).Seconds()*linesASecond)
	l.filled = now
	if l.tokens < 1 {
		l.dropped++
		l.total++
		l.mu.Unlock()
		return false
	}
	l.tokens--
	dropped := l.dropped
	l.dropped = 0
	l.mu.Unlock()

	if dropped > 0 {
		l.out.Warn(linesDropped, "lines", dropped)
	}
	return true
}

func (l *guestLog) droppedLines() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// printable makes a bounded, valid string of a guest's bytes.
func printable(text []byte) string {
	cut := len(text) > maxLogLine
	if cut {
		text = text[:maxLogLine]
	}
	s := strings.ToValidUTF8(string(text), "\uFFFD")
	if cut {
		s += truncatedMark
	}
	return s
}

// lineWriter is the stdout or stderr of one instance: lines go to the log at debug, and the last ones are kept, because
// most languages say there why they trap. An instance runs on one goroutine at a time, so there is no lock.
type lineWriter struct {
	log    *guestLog
	stream string
	inst   *instance // pays for what it writes; nil in tests
	line   []byte    // not ended yet; bounded, the rest of a longer line is dropped
	tail   []byte    // the end of what was written
	panics bool      // tail is the beginning of Go's explanation, whose first line matters most
}

// Write never fails: what a guest prints is no reason to stop it.
func (w *lineWriter) Write(p []byte) (int, error) {
	written := len(p)
	if w.inst != nil {
		w.inst.spendBytes(written)
		w.inst.spoke = true
	}
	w.keep(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			w.append(p)
			break
		}
		w.append(p[:end])
		w.endLine()
		p = p[end+1:]
	}
	return written, nil
}

// endLine logs what there is of a line. What comes next does not go on with it.
func (w *lineWriter) endLine() {
	if len(w.line) > 0 {
		w.log.line(slog.LevelDebug, w.line, slog.String("stream", w.stream))
	}
	w.line = w.line[:0]
}

func (w *lineWriter) append(p []byte) {
	room := max(maxLogLine+1-len(w.line), 0) // one byte over the limit shows that it was cut
	w.line = append(w.line, p[:min(room, len(p))]...)
}

func (w *lineWriter) keep(p []byte) {
	if !w.panics && (bytes.HasPrefix(p, []byte("panic: ")) || bytes.HasPrefix(p, []byte("fatal error: "))) {
		w.panics, w.tail = true, w.tail[:0]
	}
	if w.panics {
		w.tail = append(w.tail, p[:min(len(p), maxTail-len(w.tail))]...)
		return
	}
	if len(p) >= maxTail {
		w.tail = append(w.tail[:0], p[len(p)-maxTail:]...)
		return
	}
	if over := len(w.tail) + len(p) - maxTail; over > 0 {
		w.tail = append(w.tail[:0], w.tail[over:]...)
	}
	w.tail = append(w.tail, p...)
}
