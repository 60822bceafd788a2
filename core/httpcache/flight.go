package httpcache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// flights are the answers that are being fetched, by key.
type flights struct {
	mu   sync.Mutex // protects all, and waiting of each
	all  map[string]*flight
	most int // that wait for one

	landings atomic.Uint64 // so far
}

// flight is one answer that is being fetched for several requests.
type flight struct {
	key     string
	state   state         // of the cache when it began: who came after a purge does not wait for what was before it
	done    chan struct{} // closed when the fields below are set
	entry   *entry        // nil: each must fetch its own
	stale   bool          // the entry is the old one, since the target failed
	again   bool          // the one that fetched it gave up: another may
	settled bool          // done is closed; only the leader looks

	waiting int
}

// What a request does about an answer that another one may be fetching.
const (
	lead  = iota // it fetches for all
	join         // it waits
	alone        // it fetches its own
)

func (f *flights) join(key string, s state) (*flight, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[string]*flight{}
	}
	if one := f.all[key]; one != nil && one.state.epoch == s.epoch && one.state.count == s.count {
		if one.waiting >= f.most {
			return nil, alone
		}
		one.waiting++
		return one, join
	}
	one := &flight{key: key, state: s, done: make(chan struct{})}
	f.all[key] = one
	return one, lead
}

func (f *flights) leave(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.waiting--
}

// settle tells those who wait what became of it. Later calls do nothing.
func (one *flight) settle(e *entry, stale, again bool) {
	if one == nil || one.settled {
		return
	}
	one.settled, one.entry, one.stale, one.again = true, e, stale, again
	close(one.done)
}

// land ends a flight: requests from now on look into the store. Those who wait, and were told nothing else, try again.
func (f *flights) land(one *flight) {
	f.remove(one)
	one.settle(nil, false, true)
}

// remove comes before those who wait are told to try again: they must not find the same flight.
func (f *flights) remove(one *flight) {
	if one == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landings.Add(1)
	if f.all[one.key] == one {
		delete(f.all, one.key)
	}
}

// shunned remembers URLs whose answers are not stored, for a while: requests for them must not wait for each other. It forgets by
// chance, which costs one wait.
type shunned struct {
	seed  maphash.Seed
	slots [4096]atomic.Uint64 // half of a hash of the key, and the second until which it holds
}

const shunnedFor = 60

func (s *shunned) slot(key string) (*atomic.Uint64, uint64) {
	h := maphash.String(s.seed, key)
	return &s.slots[h%uint64(len(s.slots))], h >> 32
}

func (s *shunned) add(key string, now time.Time) {
	slot, half := s.slot(key)
	slot.Store(half<<32 | uint64(uint32(now.Unix())+shunnedFor))
}

func (s *shunned) remove(key string) {
	if slot, half := s.slot(key); slot.Load()>>32 == half {
		slot.Store(0)
	}
}

func (s *shunned) has(key string, now time.Time) bool {
	slot, half := s.slot(key)
	v := slot.Load()
	return v != 0 && v>>32 == half && uint32(v) > uint32(now.Unix())
}
