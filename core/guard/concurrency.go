package guard

import (
	"bufio"
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/core/ratelimit"
)

// Concurrency is one limit of http.concurrency. Routes use it as concurrency/NAME.
type Concurrency struct {
	// Max is how many requests run at once. It has no default.
	Max int `koanf:"max"`

	// By says whose requests are counted together: all, ip (of IPv6 the /64 network), host, or header:NAME. Requests without the header
	// are counted by ip. Default all.
	By string `koanf:"by"`

	// Queue is how many further requests may wait, of those counted together; more are refused at once. Default 100.
	Queue int `koanf:"queue"`

	// Wait is how long a request may wait. Default 5s.
	Wait time.Duration `koanf:"wait"`

	// Status of the answer to requests that do not get in. Default 503.
	Status int `koanf:"status"`

	// RetryAfter is what that answer says in Retry-After. Default 1s.
	RetryAfter time.Duration `koanf:"retry_after"`
}

// Defaults is where decoding starts.
func (Concurrency) Defaults() any {
	return Concurrency{By: "all", Queue: 100, Wait: 5 * time.Second, Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
}

// Validate checks the configuration.
func (c Concurrency) Validate() error {
	var errs []error
	if c.Max < 1 {
		errs = append(errs, fmt.Errorf("max: write how many requests may run at once, got %d", c.Max))
	}
	if c.Queue < 0 || c.Queue > 1_000_000 {
		errs = append(errs, fmt.Errorf("queue: must be between 0 and 1000000, got %d", c.Queue))
	}
	if c.Wait <= 0 && c.Queue > 0 {
		errs = append(errs, fmt.Errorf("wait: must be more than 0, got %s; queue: 0 lets nobody wait", c.Wait))
	}
	if c.RetryAfter <= 0 {
		errs = append(errs, fmt.Errorf("retry_after: must be more than 0, got %s", c.RetryAfter))
	}
	if err := errorStatus(c.Status); err != nil {
		errs = append(errs, err)
	}
	if _, err := ratelimit.ParseKey(c.By); err != nil {
		errs = append(errs, fmt.Errorf("by: %w", err))
	}
	return errors.Join(errs...)
}

// Gate is a Concurrency in use.
type Gate struct {
	config Concurrency
	key    ratelimit.Key
	seed   maphash.Seed
	shards [gateShards]gateShard

	active, waiting                 atomic.Int64
	served, refused, expired, after atomic.Uint64
}

const gateShards = 16

// gateShard holds the places of some keys. A key without requests has none.
type gateShard struct {
	mu     sync.Mutex // guards places and all in them
	places map[string]*place
}

// place is where the requests of one key are.
type place struct {
	busy  int
	queue list.List // of *waiter; the first is next
}

// waiter is a request in a queue. in is closed when it may run, under the mutex of its shard.
type waiter struct {
	in     chan struct{}
	inside bool
}

// NewGate makes the limit of c, which is valid.
func NewGate(c Concurrency) *Gate {
	key, _ := ratelimit.ParseKey(c.By)
	g := &Gate{config: c, key: key, seed: maphash.MakeSeed()}
	for i := range g.shards {
		g.shards[i].places = map[string]*place{}
	}
	return g
}

// GateStats are what requests do at a limit, and what became of them.
type GateStats struct {
	Active, Waiting int64
	Served          uint64 // that have begun to run, at once or later
	Waited          uint64 // of these, those that had to wait
	Refused         uint64 // because the queue was full
	Expired         uint64 // because their wait was over
}

// Stats returns the counts.
func (g *Gate) Stats() GateStats {
	return GateStats{
		Active: g.active.Load(), Waiting: g.waiting.Load(), Served: g.served.Load(), Waited: g.after.Load(),
		Refused: g.refused.Load(), Expired: g.expired.Load(),
	}
}

var (
	errQueueFull = errors.New("the queue is full")
	errWaited    = errors.New("the wait is over")
)

// statusClientGone is what access logs show for a client that left.
const statusClientGone = 499

// Middleware serves so many requests at once. A request that becomes a WebSocket counts until it is one: how many of these are open, the
// limits of ws bound.
func (g *Gate) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := g.key.Of("", r)
		switch err := g.enter(r.Context(), key); {
		case err == nil:
		case r.Context().Err() != nil:
			w.WriteHeader(statusClientGone)
			return
		default:
			w.Header().Set("Retry-After", seconds(g.config.RetryAfter))
			refuse(w, r, g.config.Status, "too many requests at once: try again later")
			return
		}
		if r.Header["Upgrade"] != nil {
			u := &upgrade{ResponseWriter: w, leave: sync.OnceFunc(func() { g.leave(key) })}
			defer u.leave()
			next.ServeHTTP(u, r)
			return
		}
		defer g.leave(key)
		next.ServeHTTP(w, r)
	})
}

func (g *Gate) shard(key string) *gateShard { return &g.shards[maphash.String(g.seed, key)%gateShards] }

// enter returns nil when the request may run. It must leave then.
func (g *Gate) enter(ctx context.Context, key string) error {
	s := g.shard(key)
	s.mu.Lock()
	p := s.places[key]
	switch {
	case p == nil:
		s.places[key] = &place{busy: 1}
	case p.busy < g.config.Max:
		p.busy++
	case p.queue.Len() >= g.config.Queue:
		s.mu.Unlock()
		g.refused.Add(1)
		return errQueueFull
	default:
		me := &waiter{in: make(chan struct{})}
		at := p.queue.PushBack(me)
		s.mu.Unlock()
		if err := g.wait(ctx, s, p, at, me); err != nil {
			return err
		}
		g.after.Add(1)
		g.active.Add(1)
		g.served.Add(1)
		return nil
	}
	s.mu.Unlock()
	g.active.Add(1)
	g.served.Add(1)
	return nil
}

func (g *Gate) wait(ctx context.Context, s *gateShard, p *place, at *list.Element, me *waiter) error {
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	patience := time.NewTimer(g.config.Wait)
	defer patience.Stop()
	var why error
	select {
	case <-me.in:
		return nil
	case <-patience.C:
		why = errWaited
	case <-ctx.Done():
		why = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if me.inside {
		return nil // it came in at the last moment, and runs; a client that has gone costs what it costs elsewhere
	}
	p.queue.Remove(at)
	if errors.Is(why, errWaited) {
		g.expired.Add(1)
	}
	return why
}

// leave lets the next one in.
func (g *Gate) leave(key string) {
	g.active.Add(-1)
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.places[key]
	if first := p.queue.Front(); first != nil {
		next := p.queue.Remove(first).(*waiter)
		next.inside = true
		close(next.in)
		return
	}
	if p.busy--; p.busy == 0 {
		delete(s.places, key)
	}
}

// upgrade leaves when its request has become a connection.
type upgrade struct {
	http.ResponseWriter
	leave func()
}

// Unwrap lets http.ResponseController reach the rest.
func (u *upgrade) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// Hijack takes the connection over.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err == nil {
		u.leave()
	}
	return conn, buffered, err
}
