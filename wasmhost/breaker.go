package wasmhost

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Values of on_error.
const (
	OnErrorClosed = "closed"
	OnErrorOpen   = "open"
	OnErrorBypass = "bypass"
)

// What on_error: bypass counts and does. After the pause the plugin is tried again, and one more error is enough for
// another pause until it has gone without one for a window.
const (
	bypassAfter  = 5 // errors
	bypassWindow = 10 * time.Second
	bypassPause  = 30 * time.Second
)

// breaker takes a plugin that fails again and again out of the way of requests, for a while. Its zero value lets all pass.
type breaker struct {
	until atomic.Int64 // Unix nanoseconds until which requests go by; 0: they do not

	mu     sync.Mutex // guards all below
	errors int        // in the window
	began  time.Time  // of the window
	pauses uint64
}

// bypassed reports whether requests go by at this moment.
func (b *breaker) bypassed(now func() time.Time) bool {
	until := b.until.Load()
	return until != 0 && now().UnixNano() < until
}

// failed notes an error, and reports whether it is the one that begins a pause.
func (b *breaker) failed(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.UnixNano() < b.until.Load() { // of a request that came before the pause
		return false
	}
	if now.Sub(b.began) > bypassWindow {
		b.errors, b.began = 0, now
	}
	if b.errors++; b.errors < bypassAfter {
		return false
	}
	end := now.Add(bypassPause)
	b.until.Store(end.UnixNano())
	b.errors, b.began = bypassAfter-1, end
	b.pauses++
	return true
}

func (b *breaker) count() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pauses
}

// goesAround reports whether a request passes the plugin by because it failed too often.
func (p *Plugin) goesAround() bool {
	return p.config.OnError == OnErrorBypass && p.breaker.bypassed(time.Now)
}

// failedOnce tells the breaker about an error that is the plugin's.
func (p *Plugin) failedOnce() {
	if p.config.OnError == OnErrorBypass && p.breaker.failed(time.Now()) {
		p.log.Warn("plugin is bypassed: it failed too often; requests go on without it",
			"errors", bypassAfter, "within", bypassWindow, "for", bypassPause)
	}
}

// bypassReason says that the plugin is out of the way, "" if it is not.
func (p *Plugin) bypassReason() string {
	if !p.goesAround() {
		return ""
	}
	until := time.Unix(0, p.breaker.until.Load())
	return fmt.Sprintf("it failed too often; requests go on without it until %s", until.Format(time.TimeOnly))
}
