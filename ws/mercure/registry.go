package mercure

import (
	"net/netip"
	"sync"
)

// registry knows who listens to what, and hands updates out in their order.
type registry struct {
	mu       sync.Mutex // held while an update is put into queues, which is what orders them
	subs     map[*subscriber]struct{}
	byID     map[string]*subscriber
	literals map[string]subscribers // selectors that mean one topic
	patterns map[selectorKey]*audience
	all      subscribers // "*"
	ips      map[netip.Addr]int
	users    map[string]int
	latest   uint64 // place of the last update that was handed out
	lastID   string
}

type subscribers map[*subscriber]struct{}

// audience is who listens to a template. It is tried once for all of them.
type audience struct {
	selector *selector
	subs     subscribers
}

func newRegistry() *registry {
	return &registry{
		subs: subscribers{}, byID: map[string]*subscriber{}, literals: map[string]subscribers{}, patterns: map[selectorKey]*audience{},
		all: subscribers{}, ips: map[netip.Addr]int{}, users: map[string]int{},
	}
}

// add makes a subscriber known. From now on updates are put into its queue, beginning behind the place that is returned.
func (r *registry) add(s *subscriber) (latest uint64, lastID string) {
	r.subs[s] = struct{}{}
	r.byID[s.id] = s
	for _, sel := range s.selectors {
		switch {
		case sel.all:
			r.all[s] = struct{}{}
		case sel.literal():
			if r.literals[sel.text] == nil {
				r.literals[sel.text] = subscribers{}
			}
			r.literals[sel.text][s] = struct{}{}
		default:
			key := selectorKey{sel.kind, sel.text}
			if r.patterns[key] == nil {
				r.patterns[key] = &audience{sel, subscribers{}}
			}
			r.patterns[key].subs[s] = struct{}{}
		}
	}
	return r.latest, r.lastID
}

// remove is add undone.
func (r *registry) remove(s *subscriber) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.subs, s)
	delete(r.byID, s.id)
	delete(r.all, s)
	for _, sel := range s.selectors {
		if list := r.literals[sel.text]; sel.literal() && list != nil {
			if delete(list, s); len(list) == 0 {
				delete(r.literals, sel.text)
			}
		}
		key := selectorKey{sel.kind, sel.text}
		if a := r.patterns[key]; a != nil {
			if delete(a.subs, s); len(a.subs) == 0 {
				delete(r.patterns, key)
			}
		}
	}
	release(r.ips, s.ip)
	if s.user() != "" {
		release(r.users, s.user())
	}
}

func release[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// dispatch puts an update into the queues of those it is for, each once, and returns how many that were.
func (r *registry) dispatch(u *update) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest, r.lastID = u.seq, u.id
	offer := func(list subscribers) {
		for s := range list {
			if s.seen == u.seq {
				continue
			}
			s.seen = u.seq
			if u.private && !s.grants.mayRead(u.topics) {
				continue
			}
			s.offer(u)
			n++
		}
	}
	offer(r.all)
	for _, t := range u.topics {
		offer(r.literals[t])
	}
	for _, a := range r.patterns {
		if a.selector.matchesAny(u.topics) {
			offer(a.subs)
		}
	}
	return n
}

// list returns all subscribers, in no order.
func (r *registry) list() []*subscriber {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*subscriber, 0, len(r.subs))
	for s := range r.subs {
		list = append(list, s)
	}
	return list
}

// of returns those of some subscribers that are still there.
func (r *registry) of(some []*subscriber) (left []*subscriber) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range some {
		if _, ok := r.subs[s]; ok {
			left = append(left, s)
		}
	}
	return left
}
