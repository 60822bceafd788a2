package guard

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/edge-server/edge/core/routing"
)

// ValidateHosts checks a list of hosts.
func ValidateHosts(hosts []string) error {
	var errs []error
	for i, host := range hosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "*/ ") || routing.Host(name) != strings.ToLower(name) {
			errs = append(errs, fmt.Errorf("hosts[%d]: %q is not a host name: write example.com or *.example.com, without scheme and port", i, host))
		}
	}
	return errors.Join(errs...)
}

// hostSet is a list of hosts: *.example.com is one more label. One without any has all.
type hostSet struct {
	exact map[string]bool
	below map[string]bool // domains
}

func newHostSet(hosts []string) *hostSet {
	s := &hostSet{exact: map[string]bool{}, below: map[string]bool{}}
	for _, host := range hosts {
		if domain, ok := strings.CutPrefix(strings.ToLower(host), "*."); ok {
			s.below[domain] = true
		} else {
			s.exact[strings.ToLower(host)] = true
		}
	}
	return s
}

// has reports whether the host of a request is one of the list.
func (s *hostSet) has(hostport string) bool {
	if len(s.exact) == 0 && len(s.below) == 0 {
		return true
	}
	host := strings.Trim(routing.Host(hostport), "[]") // of an address without a port
	if s.exact[host] {
		return true
	}
	label, domain, _ := strings.Cut(host, ".")
	return label != "" && s.below[domain]
}

// Hosts lets refused answer requests for other hosts than those of the list, which is valid. Without a list, every host is served.
func Hosts(hosts []string, refused, next http.Handler) http.Handler {
	if len(hosts) == 0 {
		return next
	}
	set := newHostSet(hosts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !set.has(r.Host) {
			refused.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Misdirected is the answer to requests for other hosts.
func Misdirected(w http.ResponseWriter, r *http.Request) {
	refuse(w, r, http.StatusMisdirectedRequest, "there is no such host here")
}
