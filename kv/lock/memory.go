package lock

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// maxLocks bounds the locks that are held, and the clients that wait, in one process.
const maxLocks = 1 << 18

// Memory is Locks of one process.
type Memory struct {
	mu        sync.Mutex // protects everything below
	resources map[string]*resource
	token     int64 // of the last grant
	entries   int   // holders and waiters
	limit     int
	closed    bool
	done      chan struct{} // closed by Close, for those who wait
}

var _ Locks = (*Memory)(nil)

// NewMemory returns Locks without any lock. Tokens begin at the time in microseconds, so that those of a server that was started
// again are larger than those it gave before.
func NewMemory() *Memory {
	return &Memory{resources: map[string]*resource{}, token: time.Now().UnixMicro(), limit: maxLocks, done: make(chan struct{})}
}

// resource is one name while somebody holds it or waits for it.
type resource struct {
	name      string
	exclusive bool // the one holder is a writer
	holders   map[string]*holder
	queue     []*waiter // who waits, longest first
}

type holder struct {
	expires time.Time
	timer   *time.Timer
}

type waiter struct {
	Request
	granted chan int64 // has room for the token
}

// Acquire takes or awaits a lock.
func (m *Memory) Acquire(ctx context.Context, r Request) (int64, error) {
	w, token, err := m.ask(r)
	if w == nil || err != nil {
		return token, err
	}
	patience := time.NewTimer(r.Wait)
	defer patience.Stop()
	select {
	case token := <-w.granted:
		return token, m.taken(ctx, w)
	case <-patience.C:
	case <-ctx.Done():
	case <-m.done:
	}
	return m.giveUp(ctx, w)
}

// ask grants the request at once, or returns who waits for it.
func (m *Memory) ask(r Request) (*waiter, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, 0, ErrClosed
	}
	res := m.resources[r.Resource]
	if res != nil && r.Shared && !res.exclusive && res.holders[r.ID] != nil {
		m.hold(res, r) // asks again for what it has
		return nil, m.token, nil
	}
	if m.entries >= m.limit {
		return nil, 0, fmt.Errorf("%w: %d are held or waited for in this server", ErrTooMany, m.entries)
	}
	if res == nil {
		res = &resource{name: r.Resource, holders: map[string]*holder{}}
		m.resources[r.Resource] = res
	}
	// A reader that wants to write does so before those who wait for it to end.
	if res.promotes(r) || len(res.queue) == 0 && res.admits(r) {
		m.grant(res, r)
		return nil, m.token, nil
	}
	w := &waiter{Request: r, granted: make(chan int64, 1)}
	res.queue = append(res.queue, w)
	m.entries++
	return w, 0, nil
}

// giveUp takes w out of the queue. It may have been served in this very moment.
func (m *Memory) giveUp(ctx context.Context, w *waiter) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case token := <-w.granted:
		if ctx.Err() != nil {
			m.drop(m.resources[w.Resource], w.ID)
			return 0, ctx.Err()
		}
		return token, nil
	default:
	}
	res := m.resources[w.Resource]
	if res == nil {
		return 0, ErrClosed
	}
	for i := range res.queue {
		if res.queue[i] == w {
			res.queue = append(res.queue[:i], res.queue[i+1:]...)
			m.entries--
			break
		}
	}
	m.advance(res)
	if m.closed {
		return 0, ErrClosed
	}
	return 0, ctx.Err()
}

// taken gives a lock back that was granted to a client that has gone.
func (m *Memory) taken(ctx context.Context, w *waiter) error {
	if ctx.Err() == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.resources[w.Resource], w.ID)
	return ctx.Err()
}

// promotes reports whether r comes from the only reader, which wants to write.
func (res *resource) promotes(r Request) bool {
	return !r.Shared && !res.exclusive && len(res.holders) == 1 && res.holders[r.ID] != nil
}

// admits reports whether r can be granted beside the holders.
func (res *resource) admits(r Request) bool {
	return len(res.holders) == 0 || r.Shared && !res.exclusive || res.promotes(r)
}

// grant makes r a holder. m.mu is held.
func (m *Memory) grant(res *resource, r Request) {
	m.hold(res, r)
	res.exclusive = !r.Shared
}

// hold notes a holder and when it ends. m.mu is held.
func (m *Memory) hold(res *resource, r Request) {
	m.token++
	if old := res.holders[r.ID]; old != nil {
		old.timer.Stop()
	} else {
		m.entries++
	}
	h := &holder{expires: time.Now().Add(r.TTL)}
	h.timer = time.AfterFunc(r.TTL, func() { m.expire(r.Resource, r.ID, h) })
	res.holders[r.ID] = h
}

// expire ends a lock whose time is over.
func (m *Memory) expire(name, id string, h *holder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if res := m.resources[name]; res != nil && res.holders[id] == h {
		m.drop(res, id)
	}
}

// drop ends a lock, if it is held, and serves those who wait. m.mu is held.
func (m *Memory) drop(res *resource, id string) bool {
	if res == nil || res.holders[id] == nil {
		return false
	}
	res.holders[id].timer.Stop()
	delete(res.holders, id)
	m.entries--
	m.advance(res)
	return true
}

// advance grants to the front of the queue what can be granted. m.mu is held.
func (m *Memory) advance(res *resource) {
	if len(res.holders) == 0 {
		res.exclusive = false
	}
	for len(res.queue) > 0 && res.admits(res.queue[0].Request) {
		w := res.queue[0]
		res.queue = res.queue[1:]
		m.entries--
		m.grant(res, w.Request)
		w.granted <- m.token
	}
	// The only reader may be waiting behind others for its own end.
	for i, w := range res.queue {
		if res.promotes(w.Request) {
			res.queue = append(res.queue[:i:i], res.queue[i+1:]...)
			m.entries--
			m.grant(res, w.Request)
			w.granted <- m.token
			break
		}
	}
	if len(res.holders) == 0 && len(res.queue) == 0 && m.resources[res.name] == res {
		delete(m.resources, res.name)
	}
}

// Release gives a lock back.
func (m *Memory) Release(_ context.Context, name, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drop(m.resources[name], id), nil
}

// ForceRelease ends every lock of the resource.
func (m *Memory) ForceRelease(_ context.Context, name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	res := m.resources[name]
	if res == nil || len(res.holders) == 0 {
		return false, nil
	}
	for id, h := range res.holders {
		h.timer.Stop()
		delete(res.holders, id)
		m.entries--
	}
	m.advance(res)
	return true, nil
}

// Exists says whether a lock is held.
func (m *Memory) Exists(_ context.Context, name, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	res := m.resources[name]
	if res == nil {
		return false, nil
	}
	return id == anybody && len(res.holders) > 0 || res.holders[id] != nil, nil
}

// UpdateTTL moves the end of a lock.
func (m *Memory) UpdateTTL(_ context.Context, name, id string, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	res := m.resources[name]
	if res == nil || res.holders[id] == nil {
		return false, nil
	}
	res.holders[id].timer.Stop()
	h := &holder{expires: time.Now().Add(ttl)}
	h.timer = time.AfterFunc(ttl, func() { m.expire(name, id, h) })
	res.holders[id] = h
	return true, nil
}

// Stats says how many locks are held, and how many clients wait.
func (m *Memory) Stats() (held, waiting int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, res := range m.resources {
		held += len(res.holders)
		waiting += len(res.queue)
	}
	return held, waiting
}

// Close ends every lock; those who wait get ErrClosed.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.closed = true
	close(m.done)
	for _, res := range m.resources {
		for _, h := range res.holders {
			h.timer.Stop()
		}
	}
	clear(m.resources)
	m.entries = 0
}
