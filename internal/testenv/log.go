package testenv

import (
	"bytes"
	"sync"
)

// Log collects what a server logs, for tests that read it meanwhile.
type Log struct {
	mu  sync.Mutex // protects buf
	buf bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
