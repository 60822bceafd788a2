package proxy

import (
	"hash/fnv"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// pick chooses an upstream for the request and takes a place at it, or returns nil. Those that were tried already are left out. One
// that was left out because of failures still is better than none; one that the checks found ill is not.
func (p *Proxy) pick(r *http.Request, tried []*upstream) *upstream {
	now := time.Now()
	for _, lenient := range []bool{false, true} {
		usable := func(u *upstream) bool {
			return !u.down.Load() && (lenient || !u.isEjected(now)) && !slices.Contains(tried, u)
		}
		if u := p.choose(r, usable); u != nil {
			return u
		}
	}
	return nil
}

// choose follows cookie and policy among the upstreams that are usable and have a place.
func (p *Proxy) choose(r *http.Request, usable func(*upstream) bool) *upstream {
	if u := p.stuckTo(r); u != nil && usable(u) && u.acquire() {
		return u
	}
	switch p.config.Policy {
	case "hash":
		return p.byHash(r, usable)
	case "least_conn":
		return p.byLoad(usable)
	}
	// In turns. The order has each as often as its weight says.
	start := p.turn.Add(1)
	for i := range uint64(len(p.order)) {
		if u := p.order[(start+i)%uint64(len(p.order))]; usable(u) && u.acquire() {
			return u
		}
	}
	return nil
}

// byLoad finds the one that has the least to do for its weight; those that have equally little take turns.
func (p *Proxy) byLoad(usable func(*upstream) bool) *upstream {
	var full []*upstream
	for {
		var best *upstream
		least := math.Inf(1)
		start := p.turn.Add(1)
		for i := range uint64(len(p.upstreams)) {
			u := p.upstreams[(start+i)%uint64(len(p.upstreams))]
			if load := float64(u.active.Load()+1) / float64(u.config.Weight); load < least && usable(u) && !slices.Contains(full, u) {
				best, least = u, load
			}
		}
		if best == nil || best.acquire() {
			return best
		}
		full = append(full, best)
	}
}

// byHash finds the one with the highest draw for the key (rendezvous hashing): when an upstream comes or goes, only its keys move.
func (p *Proxy) byHash(r *http.Request, usable func(*upstream) bool) *upstream {
	key := p.hash.of(r)
	var full []*upstream
	for {
		var best *upstream
		highest := math.Inf(-1)
		for _, u := range p.upstreams {
			if !usable(u) || slices.Contains(full, u) {
				continue
			}
			if draw := draw(key, u); draw > highest {
				best, highest = u, draw
			}
		}
		if best == nil || best.acquire() {
			return best
		}
		full = append(full, best)
	}
}

func draw(key string, u *upstream) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(u.config.URL))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	x := h.Sum64()
	// FNV's upper bits change little with the last bytes.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return -float64(u.config.Weight) / math.Log((float64(x>>11)+0.5)/(1<<53))
}

func (k hashKey) of(r *http.Request) string {
	switch k.kind {
	case "path":
		return r.URL.Path
	case "header":
		return strings.Join(r.Header.Values(k.name), ",")
	case "cookie":
		if c, err := r.Cookie(k.name); err == nil {
			return c.Value
		}
		return ""
	}
	return clientIP(r)
}

// clientIP is the address of the client, as http.forwarded has found it, or "" for one on a unix socket.
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// stuckTo is the upstream that the client's cookie names.
func (p *Proxy) stuckTo(r *http.Request) *upstream {
	if p.config.Sticky == "" {
		return nil
	}
	c, err := r.Cookie(p.config.Sticky)
	if err != nil {
		return nil
	}
	for _, u := range p.upstreams {
		if u.name == c.Value {
			return u
		}
	}
	return nil
}

// turns mixes upstreams by their weights, evenly spread: with 2 and 1, a b a.
func turns(list []*upstream) []*upstream {
	total := 0
	for _, u := range list {
		total += u.config.Weight
	}
	order, owed := make([]*upstream, 0, total), make([]int, len(list))
	for range total {
		next := 0
		for i, u := range list {
			owed[i] += u.config.Weight
			if owed[i] > owed[next] {
				next = i
			}
		}
		owed[next] -= total
		order = append(order, list[next])
	}
	return order
}
