package httpcache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/kv"
)

// Store is what a cache needs of a store of the kv section: *kv.Front.
type Store interface {
	kv.Store
	SetTagged(ctx context.Context, item kv.Item, tags []string) error
	InvalidateTags(ctx context.Context, tags []string) error
}

// errAway means that the store has just failed and is not asked.
var errAway = errors.New("the store is away")

// retry is after what time a store that failed is asked again, by one request.
const retry = time.Second

// guard stands before a store that may be slow or away: a call lasts as long as timeout at most, and after one that failed there are
// none for a moment, so that requests do not queue up before it.
type guard struct {
	store   Store
	instant bool // it looks into memory: no call needs a deadline
	timeout time.Duration
	log     *slog.Logger
	name    string // of the cache
	life    context.Context
	until   atomic.Int64 // ns since 1970; 0 while the store works
	down    atomic.Bool  // the log has been told
	failed  atomic.Uint64
	back    func() // called when the store works again
}

// do runs one call to the store. It does not end with the request: a client that has gone says nothing about the store.
func (g *guard) do(call func(ctx context.Context) error) error {
	if !g.allowed() {
		return errAway
	}
	ctx := g.life
	if !g.instant {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.timeout)
		defer cancel()
	}
	return g.done(call(ctx))
}

// allowed reports whether the store may be asked. While it is away one caller at a time tries it again.
func (g *guard) allowed() bool {
	until := g.until.Load()
	if until == 0 {
		return true
	}
	now := time.Now()
	return now.UnixNano() >= until && g.until.CompareAndSwap(until, now.Add(retry+g.timeout).UnixNano())
}

// done looks at how a call ended. What is wrong with one key or value, and a store that is full, are no reason to leave it alone.
func (g *guard) done(err error) error {
	if err == nil {
		if g.until.Load() != 0 {
			g.until.Store(0)
		}
		if g.down.Load() && g.down.Swap(false) {
			g.log.Info("response cache: its store is back", "cache", g.name)
			g.back()
		}
		return nil
	}
	if g.life.Err() != nil {
		return err // the cache stops
	}
	g.failed.Add(1)
	for _, harmless := range []error{kv.ErrLimit, kv.ErrFull, kv.ErrBusy, kv.ErrKind, kv.ErrUnsupported} {
		if errors.Is(err, harmless) {
			return err
		}
	}
	g.until.Store(time.Now().Add(retry).UnixNano())
	if !g.down.Swap(true) {
		g.log.Warn("response cache: its store fails: requests go to their targets until it is back", "cache", g.name, "error", err)
	}
	return err
}

// get reads keys. It is what every request does.
func (g *guard) get(items []kv.Item) error {
	if g.instant && g.until.Load() == 0 {
		return g.done(g.store.Get(g.life, items))
	}
	return g.do(func(ctx context.Context) error { return g.store.Get(ctx, items) })
}
