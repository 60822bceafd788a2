package guard

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/edge-server/edge/core/configfile"
)

// Access is one list of http.access. Routes use it as access/NAME.
type Access struct {
	// Allow are the addresses and ranges that may come, such as 10.0.0.0/8; private is short for the private and local ones. Default all.
	Allow configfile.Strings `koanf:"allow"`

	// Deny are those that may not, even if allow has them. Default none.
	Deny configfile.Strings `koanf:"deny"`

	// Status of the answer to others. Default 403.
	Status int `koanf:"status"`
}

// Defaults is where decoding starts.
func (Access) Defaults() any { return Access{Status: http.StatusForbidden} }

// Validate checks the configuration.
func (c Access) Validate() error {
	var errs []error
	if len(c.Allow) == 0 && len(c.Deny) == 0 {
		errs = append(errs, errors.New("allow: name addresses or ranges, here or in deny"))
	}
	_, err := newRanges("allow", c.Allow)
	errs = append(errs, err)
	_, err = newRanges("deny", c.Deny)
	return errors.Join(append(errs, err, errorStatus(c.Status))...)
}

// AccessList is an Access in use.
type AccessList struct {
	allow, deny      ranges
	all              bool // without allow
	status           int
	allowed, refused atomic.Uint64
}

// NewAccess makes the list of c, which is valid.
func NewAccess(c Access) *AccessList {
	l := &AccessList{all: len(c.Allow) == 0, status: c.Status}
	l.allow, _ = newRanges("allow", c.Allow)
	l.deny, _ = newRanges("deny", c.Deny)
	return l
}

// AccessStats are counts of requests.
type AccessStats struct{ Allowed, Refused uint64 }

// Stats returns the counts.
func (l *AccessList) Stats() AccessStats { return AccessStats{l.allowed.Load(), l.refused.Load()} }

// Middleware serves clients that may come. Who the client is, http.forwarded has found out before.
func (l *AccessList) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.may(r.RemoteAddr) {
			l.refused.Add(1)
			refuse(w, r, l.status, "you may not come here")
			return
		}
		l.allowed.Add(1)
		next.ServeHTTP(w, r)
	})
}

// may reports whether a client may come. One whose address nobody knows may not.
func (l *AccessList) may(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := at.Addr().Unmap().WithZone("")
	return !l.deny.have(addr) && (l.all || l.allow.have(addr))
}

// private are the ranges of RFC 1918, RFC 4193, loopback and link-local addresses.
var private = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"}

// ranges are in order and do not overlap, so that long lists cost as little as short ones.
type ranges []addressRange

type addressRange struct{ first, last netip.Addr }

func newRanges(key string, texts []string) (ranges, error) {
	var all ranges
	var errs []error
	for i, text := range texts {
		list := []string{text}
		if text == "private" {
			list = private
		}
		for _, one := range list {
			prefix, err := parseRange(one)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s[%d]: %w", key, i, err))
				continue
			}
			all = append(all, addressRange{prefix.Addr(), lastOf(prefix)})
		}
	}
	slices.SortFunc(all, func(a, b addressRange) int { return a.first.Compare(b.first) })
	merged := all[:0]
	for _, r := range all {
		if n := len(merged); n > 0 && merged[n-1].last.BitLen() == r.first.BitLen() && r.first.Compare(merged[n-1].last) <= 0 {
			if merged[n-1].last.Less(r.last) {
				merged[n-1].last = r.last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged, errors.Join(errs...)
}

func parseRange(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return prefix, fmt.Errorf("%q is neither an address nor a range such as 10.0.0.0/8 or 2001:db8::/32, nor private", text)
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("%q has bits set behind its length: write %s", text, prefix.Masked())
	}
	return prefix, nil
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

func (l ranges) have(addr netip.Addr) bool {
	at, exact := slices.BinarySearchFunc(l, addr, func(r addressRange, a netip.Addr) int { return r.first.Compare(a) })
	if exact {
		return true
	}
	return at > 0 && l[at-1].first.BitLen() == addr.BitLen() && addr.Compare(l[at-1].last) <= 0
}
