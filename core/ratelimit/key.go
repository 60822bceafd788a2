package ratelimit

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Key says whose requests are counted together.
type Key struct {
	by     string
	header string // of header:NAME
}

// ParseKey reads ip, host, all or header:NAME.
func ParseKey(by string) (Key, error) {
	name, isHeader := strings.CutPrefix(by, "header:")
	switch {
	case isHeader && httpguts.ValidHeaderFieldName(name):
		return Key{by: "header", header: http.CanonicalHeaderKey(name)}, nil
	case by == "ip" || by == "host" || by == "all":
		return Key{by: by}, nil
	}
	return Key{}, fmt.Errorf("%q: write ip, host, all or header:NAME", by)
}

// maxKey bounds what of a header becomes a key; longer ones are counted by what they begin with.
const maxKey = 256

// Of is the key of a request, behind prefix. Requests without the header are counted by address.
func (k Key) Of(prefix string, r *http.Request) string {
	switch k.by {
	case "all":
		return prefix
	case "host":
		return prefix + "/h/" + strings.ToLower(r.Host[:min(len(r.Host), maxKey)])
	case "header":
		if value := r.Header.Get(k.header); value != "" {
			return prefix + "/v/" + value[:min(len(value), maxKey)]
		}
	}
	return prefix + "/i/" + client(r.RemoteAddr)
}

// client is whose address it is: of IPv6 a customer has a whole network.
func client(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr().String()
		}
	}
	return addr.String()
}
