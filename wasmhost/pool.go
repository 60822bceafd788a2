package wasmhost

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// errBusy: all instances stayed busy for as long as a request may wait.
	errBusy = errors.New("all instances are busy")

	// errClosed: the generation was closed by force.
	errClosed = errors.New("the plugin is closed")
)

// pool is the explicit list of a generation's instances: at most max of them, the one used last handed out first so that
// its memory is still in the CPU's cache and the others can be closed, and a queue, first come first served, when all are
// busy. (sync.Pool would drop instances at any garbage collection, and a Go guest takes 3 ms to make.)
type pool struct {
	min, max int
	create   func() (*instance, error)

	// near is an instance that was given back, for whoever comes next, without mu: one request after the other takes it and gives
	// it back. It is counted in its generation all the while, so that none of them has to be; uncount ends that. Attention is not 0
	// when none may stay there, since somebody waits or the pool ends. Whoever puts one there looks at attention afterwards, and
	// whoever raises attention looks there afterwards, so that one of the two sees the other.
	near      atomic.Pointer[instance]
	attention atomic.Int32
	uncount   func()

	mu       sync.Mutex // guards all below
	idle     []*instance
	live     map[*instance]struct{} // idle and busy
	making   int                    // being created; counts towards max
	waiters  []chan *instance       // each gets an instance, or nil as the permit to make one
	waits    uint64                 // how many had to queue
	lowIdle  int                    // fewest idle since the last trim
	isClosed bool
}

func newPool(limits Instances, create func() (*instance, error), uncount func()) *pool {
	return &pool{min: limits.Min, max: limits.Max, create: create, uncount: uncount, live: map[*instance]struct{}{}}
}

// only makes the first instance the only one there will ever be.
func (p *pool) only() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.min, p.max = 1, 1
}

// takeNear returns the instance that is near, with its count, or nil.
func (p *pool) takeNear() *instance {
	return p.near.Swap(nil)
}

// keepNear puts an instance near, and its count with it; false if it must go back by put.
func (p *pool) keepNear(inst *instance) bool {
	if p.attention.Load() != 0 || !p.near.CompareAndSwap(nil, inst) {
		return false
	}
	if p.attention.Load() == 0 {
		return true
	}
	return !p.near.CompareAndSwap(inst, nil) // somebody has it already
}

// get returns an instance for the caller alone, or errBusy after wait, or what creating one ended with. The caller is counted, or
// knows that the generation stays.
func (p *pool) get(ctx context.Context, wait time.Duration) (*instance, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		inst := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.lowIdle = min(p.lowIdle, n-1)
		p.mu.Unlock()
		return inst, nil
	}
	p.lowIdle = 0
	if p.isClosed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if len(p.live)+p.making < p.max {
		p.making++
		p.mu.Unlock()
		return p.make()
	}
	if inst := p.fromNear(); inst != nil {
		p.mu.Unlock()
		return inst, nil
	}
	p.waits++
	if wait <= 0 {
		p.mu.Unlock()
		return nil, errBusy
	}
	turn := make(chan *instance, 1)
	p.waiters = append(p.waiters, turn)
	p.attention.Add(1)
	if inst := p.fromNear(); inst != nil {
		p.next() <- inst
	}
	p.mu.Unlock()
	return p.await(ctx, turn, wait)
}

func (p *pool) await(ctx context.Context, turn chan *instance, wait time.Duration) (*instance, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()

	var err error
	select {
	case inst, open := <-turn:
		return p.take(inst, open)
	case <-timer.C:
		err = errBusy
	case <-ctx.Done():
		err = ctx.Err()
	}

	p.mu.Lock()
	i := slices.Index(p.waiters, turn)
	if i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
		p.attention.Add(-1)
	}
	p.mu.Unlock()
	if i < 0 { // the turn came at the same moment
		inst, open := <-turn
		return p.take(inst, open)
	}
	return nil, err
}

func (p *pool) take(inst *instance, open bool) (*instance, error) {
	switch {
	case !open:
		return nil, errClosed
	case inst == nil:
		return p.make()
	}
	return inst, nil
}

// make creates an instance; the caller has counted it in making.
func (p *pool) make() (*instance, error) {
	inst, err := p.create()

	p.mu.Lock()
	p.making--
	if err != nil {
		p.invite()
	} else {
		p.live[inst] = struct{}{}
	}
	closed := p.isClosed
	p.mu.Unlock()

	if err == nil && closed {
		p.discard(inst)
		return nil, errClosed
	}
	return inst, err
}

// put gives an instance back to whoever waits longest, or to the idle ones.
func (p *pool) put(inst *instance) {
	p.mu.Lock()
	if p.isClosed {
		p.mu.Unlock()
		p.discard(inst)
		return
	}
	if len(p.waiters) > 0 {
		p.next() <- inst
	} else {
		p.idle = append(p.idle, inst)
	}
	p.mu.Unlock()
}

// discard closes an instance that must not be used again.
func (p *pool) discard(inst *instance) {
	p.mu.Lock()
	delete(p.live, inst)
	p.invite()
	p.mu.Unlock()
	inst.close()
}

// invite lets the first in the queue make an instance. The caller holds mu.
func (p *pool) invite() {
	if len(p.waiters) > 0 && len(p.live)+p.making < p.max && !p.isClosed {
		p.making++
		p.next() <- nil
	}
}

func (p *pool) next() chan *instance {
	turn := p.waiters[0]
	p.waiters = slices.Delete(p.waiters, 0, 1)
	p.attention.Add(-1)
	return turn
}

// fill makes instances until min of them exist.
func (p *pool) fill() error {
	for {
		p.mu.Lock()
		if len(p.live)+p.making >= p.min {
			p.mu.Unlock()
			return nil
		}
		p.making++
		p.mu.Unlock()
		inst, err := p.make()
		if err != nil {
			return err
		}
		p.put(inst)
	}
}

// trim closes the instances that nobody needed since the last trim, and keeps min.
func (p *pool) trim() {
	p.mu.Lock()
	p.bringNear()
	surplus := max(min(p.lowIdle, len(p.live)-p.min, len(p.idle)), 0)
	unused := slices.Clone(p.idle[:surplus]) // the bottom of the stack was idle for longest
	p.idle = slices.Delete(p.idle, 0, surplus)
	for _, inst := range unused {
		delete(p.live, inst)
	}
	p.lowIdle = len(p.idle)
	p.mu.Unlock()

	for _, inst := range unused {
		inst.close()
	}
}

// fromNear is takeNear without the count. The caller holds mu.
func (p *pool) fromNear() *instance {
	inst := p.takeNear()
	if inst != nil {
		p.uncount()
	}
	return inst
}

// bringNear moves what is near to the idle ones. The caller holds mu.
func (p *pool) bringNear() {
	if inst := p.fromNear(); inst != nil {
		p.idle = append(p.idle, inst)
	}
}

// withdraw is bringNear for who has no lock.
func (p *pool) withdraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bringNear()
}

// retire lets nothing stay near any more.
func (p *pool) retire() {
	p.attention.Add(1)
	p.withdraw()
}

// close sends everybody in the queue away and closes what is idle or parked, so that an instance whose request waits for
// the rest of the chain does not outlive its generation; one whose request needs it for its answer is left to it, unless by force.
// The instances that run guest code just now are closed by their requests. It reports how many instances were taken from requests
// and how many are left to an answer, and whether none is left at all.
func (p *pool) close(force bool) (taken, pinned int, empty bool) {
	p.mu.Lock()
	p.isClosed = true
	for _, turn := range p.waiters {
		close(turn)
	}
	p.waiters = nil
	p.attention.Add(1)
	p.bringNear()
	reclaimed := p.idle
	p.idle = nil
	for _, inst := range reclaimed {
		delete(p.live, inst)
	}
	for inst := range p.live {
		switch {
		case inst.reclaim(force):
			taken++
			reclaimed = append(reclaimed, inst)
			delete(p.live, inst)
		case inst.hold.Load() == holdPinned:
			pinned++
		}
	}
	empty = len(p.live)+p.making == 0
	p.mu.Unlock()

	for _, inst := range reclaimed {
		inst.close()
	}
	return taken, pinned, empty
}

// counts returns how many instances are idle and busy, and how many requests had to queue.
func (p *pool) counts() (idle, busy int, waits uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle = len(p.idle)
	if p.near.Load() != nil {
		idle++
	}
	return idle, max(len(p.live)+p.making-idle, 0), p.waits
}
