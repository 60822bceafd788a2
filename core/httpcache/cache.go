// Package httpcache is the middleware that keeps answers and serves them again: a shared cache by RFC 9111, with RFC 5861 (stale while
// revalidate, stale if error) and RFC 9211 (Cache-Status).
//
// A [Cache] keeps its answers in a store of the kv section, so that all servers of a fleet that share the store share them, and a purge
// on one of them is one on all. Of every URL the store has an entry, or a marker that says by which headers of the request several
// entries differ (RFC 9111, section 4.1). Beside them is one small state, which says what was purged lately; see [state].
//
// Nothing is stored of which the target has not said that it may be: an answer without a lifetime passes through, unless ttl gives it
// one, and so do answers to requests with credentials or cookies that do not say public.
//
// Requests that could make an answer which others must not see do not take part at all; see bypass.
package httpcache

import (
	"context"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/kv"
)

// Options is what a cache needs beside its configuration.
type Options struct {
	Name   string
	Store  Store
	Logger *slog.Logger
}

// Cache is one cache of http.cache.
type Cache struct {
	cfg      Config
	name     string
	log      *slog.Logger
	guard    guard
	prefix   string // of all keys
	stateKey string
	vary     []string // of the configuration, sorted
	purgers  []netip.Prefix

	flights    flights
	shunned    shunned
	held       atomic.Int64  // bytes of answers in memory
	background chan struct{} // has room for as many tasks as may run in the background
	stats      counters

	mu      sync.Mutex // protects what follows, up to tasks
	scopes  map[string]bool
	closed  bool
	owed    []place // to be purged when the store is back
	owedAll bool
	tasks   sync.WaitGroup
	end     context.CancelFunc
}

// maxBackground is how many answers are stored and fetched anew at once while no request waits for it.
const maxBackground = 64

// New returns a cache. Nothing runs until requests come.
func New(cfg Config, opts Options) (*Cache, error) {
	purgers, err := networks(cfg.PurgeFrom)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, name: opts.Name, log: opts.Logger, prefix: "httpcache/" + opts.Name + "/", purgers: purgers,
		background: make(chan struct{}, maxBackground), scopes: map[string]bool{},
	}
	c.stateKey = c.prefix + "state"
	for _, name := range cfg.Vary {
		if !strings.HasPrefix(name, cookieVary) {
			name = http.CanonicalHeaderKey(name)
		}
		c.vary = append(c.vary, name)
	}
	slices.Sort(c.vary)
	c.vary = slices.Compact(c.vary)
	c.flights.most = cfg.MaxWaiting
	c.shunned.seed = maphash.MakeSeed()
	life, end := context.WithCancel(context.Background())
	c.end = end
	_, instant := kv.As[kv.Instant](opts.Store)
	c.guard = guard{store: opts.Store, instant: instant, timeout: cfg.Timeout, log: opts.Logger, name: opts.Name, life: life, back: c.settleDebts}
	return c, nil
}

// Name is the name of the cache.
func (c *Cache) Name() string { return c.name }

// Needs is what the driver of the store must be able to do.
const Needs = kv.CanAdd | kv.CanUpdate

// Stop ends what runs in the background, and waits for it as long as ctx lasts. Requests are still served, without the store.
func (c *Cache) Stop(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	ended := make(chan struct{})
	go func() { // ends when the tasks have, which end with c.life
		c.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// inBackground runs a task of its own, unless too many run, or the cache stops.
func (c *Cache) inBackground(task func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	select {
	case c.background <- struct{}{}:
	default:
		return false
	}
	c.tasks.Go(func() { // ends with the task, which ends with c.life
		defer func() { <-c.background }()
		task()
	})
	return true
}

// hold takes memory for an answer, if there is some.
func (c *Cache) hold(n int64) bool {
	if c.held.Add(n) <= int64(c.cfg.MaxHeld) {
		return true
	}
	c.held.Add(-n)
	return false
}

func (c *Cache) drop(n int64) { c.held.Add(-n) }

// Route is what a route tells of itself.
type Route struct {
	// Scope tells routes apart: two that answer one URL differently have different ones. It is made of letters and digits.
	Scope string

	// Hold keeps alive what serves the route until release is called. A request is being served when it is called.
	Hold func() (release func())
}

// Middleware caches what a route answers.
func (c *Cache) Middleware(route Route) func(http.Handler) http.Handler {
	c.mu.Lock()
	c.scopes[route.Scope] = true
	c.mu.Unlock()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, &route, next) })
	}
}

func (c *Cache) allScopes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.scopes))
}

// counters are of requests, unless their names say otherwise.
type counters struct {
	results                 [len(resultNames)]atomic.Uint64
	stored, skipped, purged atomic.Uint64
}

// What became of a request.
const (
	hit = iota
	staleHit
	staleError
	revalidated
	collapsed
	miss
	bypassed
	refusedIfCached
)

var resultNames = [...]string{"hit", "stale", "stale_error", "revalidated", "collapsed", "miss", "bypass", "only_if_cached"}

// Stats is a snapshot.
type Stats struct {
	Name    string
	Store   string
	Results map[string]uint64 // requests
	Stored  uint64            // answers that were written to the store
	Skipped uint64            // answers that could be stored and were not: too large, too much at once, purged meanwhile, the store away
	Purged  uint64            // tags, URLs, prefixes
	Errors  uint64            // calls to the store that failed
	Held    int64             // bytes of answers in memory
	Down    bool              // the store is away
}

// Stats returns a snapshot.
func (c *Cache) Stats() Stats {
	s := Stats{
		Name: c.name, Store: c.cfg.Store, Results: map[string]uint64{}, Stored: c.stats.stored.Load(), Skipped: c.stats.skipped.Load(),
		Purged: c.stats.purged.Load(), Errors: c.guard.failed.Load(), Held: c.held.Load(), Down: c.guard.down.Load(),
	}
	for i, name := range resultNames {
		s.Results[name] = c.stats.results[i].Load()
	}
	return s
}

func (c *Cache) count(result int) { c.stats.results[result].Add(1) }

// refreshTimeout is how long a target may take that is asked in the background.
const refreshTimeout = time.Minute
