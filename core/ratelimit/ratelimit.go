// Package ratelimit is the middleware that refuses requests beyond a rate, by the generic cell rate algorithm (GCRA): of every client
// one time is remembered, the one at which it would be idle again if its requests took their share of the rate each. It needs no
// window that all clients fill at its beginning, and forgets nobody too early.
package ratelimit

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Times remembers until when each client is busy.
type Times interface {
	// Take hands the time under key to change, zero if there is none, and remembers what that returns with true. It is one step.
	Take(ctx context.Context, key string, change func(busyUntil time.Time) (time.Time, bool)) error
}

// Limit is one limit in use.
type Limit struct {
	config  Config
	name    string
	key     Key
	times   Times
	log     *slog.Logger
	allowed atomic.Uint64
	refused atomic.Uint64
	failed  atomic.Uint64
	failing atomic.Bool
}

// New returns a limit. times nil is memory.
func New(name string, c Config, times Times, log *slog.Logger) *Limit {
	if times == nil {
		times = newMemory(c.Keys)
	}
	key, _ := ParseKey(c.By) // it was checked
	return &Limit{config: c, name: name, key: key, times: times, log: log}
}

// Stats are counts of requests. Failed ones were served, since nobody could tell whether they were beyond the limit.
type Stats struct{ Allowed, Refused, Failed uint64 }

// Stats returns the counts.
func (l *Limit) Stats() Stats { return Stats{l.allowed.Load(), l.refused.Load(), l.failed.Load()} }

// Middleware serves what is within the limit.
func (l *Limit) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := l.take(r.Context(), l.key.Of(l.name, r), time.Now())
		if err != nil {
			l.serveUncounted(err)
			next.ServeHTTP(w, r)
			return
		}
		if l.failing.Swap(false) {
			l.log.Info("rate limit counts again", "limit", l.name)
		}
		v.tell(w.Header(), &l.config)
		if !v.allowed {
			l.refused.Add(1)
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(v.wait.Seconds()))))
			http.Error(w, strconv.Itoa(l.config.Status)+" too many requests: try again later", l.config.Status)
			return
		}
		l.allowed.Add(1)
		next.ServeHTTP(w, r)
	})
}

// serveUncounted lets a request pass that could not be counted: a store that is away must not take the site along.
func (l *Limit) serveUncounted(err error) {
	l.failed.Add(1)
	if !l.failing.Swap(true) {
		l.log.Warn("rate limit cannot count: requests pass until its store is back", "limit", l.name, "store", l.config.Store, "error", err)
	}
}

// verdict is about one request.
type verdict struct {
	allowed   bool
	remaining int           // further requests that would be served now
	wait      time.Duration // until the next would be
	reset     time.Duration // until the client has its whole burst again
}

// tooFar ahead of what a limit allows, a time is no time of this limit: the clock was set back, or the limit was another. Much nearer
// are those of requests that read the clock later and came first.
const tooFar = time.Minute

func (l *Limit) take(ctx context.Context, key string, now time.Time) (v verdict, err error) {
	step := l.config.interval()
	most := step * time.Duration(l.config.burst())
	err = l.times.Take(ctx, key, func(busy time.Time) (time.Time, bool) {
		if busy.Before(now) || busy.Sub(now) > most+tooFar {
			busy = now
		}
		after := busy.Add(step)
		if over := after.Sub(now) - most; over > 0 {
			v = verdict{wait: over, reset: busy.Sub(now)}
			return busy, false
		}
		v = verdict{allowed: true, remaining: int((most - after.Sub(now)) / step), reset: after.Sub(now)}
		return after, true
	})
	return v, err
}

// tell writes the headers of draft-ietf-httpapi-ratelimit-headers in the form that clients know.
func (v *verdict) tell(h http.Header, c *Config) {
	h.Set("RateLimit-Limit", strconv.Itoa(c.burst()))
	h.Set("RateLimit-Remaining", strconv.Itoa(v.remaining))
	h.Set("RateLimit-Reset", strconv.Itoa(int(math.Ceil(v.reset.Seconds()))))
}
