package wasmhost

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const (
	shortestTick  = 100 * time.Millisecond
	longestTick   = 24 * time.Hour
	maxQueue      = 1024
	maxQueueBytes = 1 << 20
	kvTickEvery   = time.Second
)

func schedFunctions() []edgeFunction {
	return []edgeFunction{
		{abi.SchedEvery, "i:i", always, schedEvery},
		{abi.SchedPush, "ii:i", always, queuePush},
		{abi.SchedPop, "ii:i", always, queuePop},
	}
}

// clock says how often a generation's tick is called. Whichever instance set it last is right.
type clock struct {
	every atomic.Int64 // nanoseconds; 0: never
	busy  atomic.Bool
	wake  chan<- struct{}
	due   time.Time // the host's goroutine alone
}

func schedEvery(i *instance, _ api.Memory, s []uint64) (int64, error) {
	every := time.Duration(uint32(s[0])) * time.Millisecond
	switch {
	case every != 0 && (every < shortestTick || every > longestTick):
		return 0, refusal(abi.ErrInvalid, "a tick every %s; %s to %s are possible", every, shortestTick, longestTick)
	case !i.gen.ext.kinds.Has(KindCron):
		return 0, refusal(abi.ErrUnsupported, "the module has no export %q that could be called", abi.Tick)
	}
	i.gen.ext.clock.set(every)
	return 0, nil
}

func (c *clock) set(every time.Duration) {
	if c.every.Swap(int64(every)) == int64(every) {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// wakeClock makes the host look at what is due.
func (p *Plugin) wakeClock() {
	if g := p.current.Load(); g != nil {
		select {
		case g.ext.clock.wake <- struct{}{}:
		default:
		}
	}
}

// keepTime calls the ticks that are due, until the host stops. Each plugin has at most one tick at a time, and one that is late
// does not pile up.
func (h *Host) keepTime() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	life, end := context.WithCancel(context.Background())
	defer end()
	for {
		select {
		case <-h.stopping:
			return
		case <-h.loader.wake:
		case <-timer.C:
		}
		next := longestTick
		now := time.Now()
		for _, p := range h.all() {
			if g := p.current.Load(); g != nil {
				next = min(next, h.tickIfDue(life, p, g, now))
			}
		}
		timer.Reset(next)
	}
}

// tickIfDue starts what is due of g, and returns how long the next is off.
func (h *Host) tickIfDue(life context.Context, p *Plugin, g *generation, now time.Time) time.Duration {
	next := longestTick
	if g.ext.kinds.Has(KindCron) {
		next = h.startIfDue(&g.ext.clock, time.Duration(g.ext.clock.every.Load()), now, func() {
			if err := p.tick(life, now); err != nil && life.Err() == nil {
				p.noteError(err)
			}
		})
	}
	if d := p.driver.Load(); d != nil && g.ext.kvTicks {
		next = min(next, h.startIfDue(&g.ext.kvClock, kvTickEvery, now, func() {
			if err := d.Tick(life, now); err != nil && life.Err() == nil {
				p.noteError(err)
			}
		}))
	}
	return next
}

func (h *Host) startIfDue(c *clock, every time.Duration, now time.Time, do func()) time.Duration {
	if every == 0 {
		c.due = time.Time{}
		return longestTick
	}
	if c.due.IsZero() || c.due.Sub(now) > every {
		c.due = now.Add(every)
	}
	if left := c.due.Sub(now); left > 0 {
		return left
	}
	c.due = now.Add(every)
	if c.busy.CompareAndSwap(false, true) {
		h.wg.Go(func() { // ends with the call, whose time is bounded
			defer c.busy.Store(false)
			do()
		})
	}
	return every
}

// tick calls the guest.
func (p *Plugin) tick(ctx context.Context, now time.Time) error {
	return p.run(ctx, phaseTick, func(inst *instance) error {
		return inst.run(inst.mod.ExportedFunction(abi.Tick), []uint64{uint64(now.UnixMilli())})
	})
}

// guestQueue hands items from one call of a plugin to another, such as from requests to the tick.
type guestQueue struct {
	mu    sync.Mutex // guards all below
	items [][]byte
	bytes int
}

func queuePush(i *instance, mem api.Memory, s []uint64) (int64, error) {
	b, err := bytesAt(mem, s[0], s[1])
	if err != nil {
		return 0, err
	}
	q := &i.gen.ext.plugin.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == maxQueue || q.bytes+len(b) > maxQueueBytes {
		return 0, refusal(abi.ErrLimit, "the queue has %d items with %d bytes; at most %d and %d are kept", len(q.items), q.bytes, maxQueue, maxQueueBytes)
	}
	q.items, q.bytes = append(q.items, slices.Clone(b)), q.bytes+len(b)
	return 0, nil
}

func queuePop(i *instance, mem api.Memory, s []uint64) (int64, error) {
	q := &i.gen.ext.plugin.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return 0, refusal(abi.ErrNotFound, "the queue is empty")
	}
	item := q.items[0]
	n, err := give(mem, s[0], s[1], item)
	if err == nil && uint64(n) <= uint64(uint32(s[1])) {
		q.items[0] = nil
		q.items, q.bytes = q.items[1:], q.bytes-len(item)
	}
	return n, err
}
