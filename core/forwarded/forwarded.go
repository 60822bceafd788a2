// Package forwarded finds out who a client is when proxies stand between it and the server.
//
// Proxies say for whom they ask in Forwarded (RFC 7239), X-Forwarded-For or X-Real-Ip, and every one of them adds a name at the end.
// Whoever wants to can write the beginning. So the list is read from the end, for as long as those who wrote it are trusted: the
// first address that is not a trusted proxy's is the client's. What a peer says that is not trusted is taken out of the request, so
// that no application believes it either.
package forwarded

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Config says which proxies are believed.
type Config struct {
	// Proxies are the addresses and ranges of proxies that are believed, and unix for peers on unix sockets; private is short for
	// the private and local ranges. Without any, nobody is, and headers stay as they come. Default none.
	Proxies []string `koanf:"proxies"`

	// Headers in which proxies say for whom they ask; the first that a request has counts. Default [Forwarded, X-Forwarded-For, X-Real-Ip].
	Headers []string `koanf:"headers"`
}

// DefaultConfig believes nobody.
func DefaultConfig() Config {
	return Config{Headers: []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"}}
}

// private are the ranges of RFC 1918, RFC 4193, loopback and link-local addresses.
var private = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"}

// Validate checks the configuration.
func (c *Config) Validate() error {
	_, err := c.compile()
	errs := []error{err}
	for i, name := range c.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Forwarded", "X-Forwarded-For", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip":
		default:
			errs = append(errs, fmt.Errorf("headers[%d]: %q: write Forwarded, X-Forwarded-For, X-Real-Ip, True-Client-Ip or CF-Connecting-Ip", i, name))
		}
	}
	return errors.Join(errs...)
}

// trust is a compiled Config.
type trust struct {
	ranges  []netip.Prefix
	unix    bool
	headers []string
}

func (c *Config) compile() (*trust, error) {
	t := &trust{}
	var errs []error
	for i, text := range c.Proxies {
		switch text {
		case "unix":
			t.unix = true
			continue
		case "private":
			for _, p := range private {
				t.ranges = append(t.ranges, netip.MustParsePrefix(p))
			}
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(text); err == nil {
				p = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("proxies[%d]: %q is no address, no range such as 10.0.0.0/8, and neither private nor unix", i, text))
			continue
		}
		t.ranges = append(t.ranges, p.Masked())
	}
	for _, name := range c.Headers {
		t.headers = append(t.headers, http.CanonicalHeaderKey(name))
	}
	return t, errors.Join(errs...)
}

func (t *trust) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(t.ranges, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// said are the headers in which proxies tell what they know. Of peers that are not trusted they are dropped.
var said = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-Ip",
	"True-Client-Ip", "Cf-Connecting-Ip",
}

// secure stands for the TLS that a trusted proxy has ended: handlers take https from r.TLS.
var secure = &tls.ConnectionState{HandshakeComplete: true}

// Middleware puts the client's address into RemoteAddr, and whether it came by TLS into TLS, which is without a certificate then.
func Middleware(c Config) func(http.Handler) http.Handler {
	t, err := c.compile()
	if err != nil || len(c.Proxies) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			t.apply(r)
			next.ServeHTTP(w, r)
		})
	}
}

func (t *trust) apply(r *http.Request) {
	peer, isUnix := peerOf(r.RemoteAddr)
	if !(isUnix && t.unix) && !t.trusts(peer) {
		for _, name := range said {
			delete(r.Header, name)
		}
		return
	}
	client, proto := t.client(r.Header, peer)
	if client.IsValid() && client != peer {
		r.RemoteAddr = net.JoinHostPort(client.String(), "0")
	}
	switch proto {
	case "https":
		if r.TLS == nil {
			r.TLS = secure
		}
	case "http":
		r.TLS = nil
	}
}

// peerOf is the address of the connection. A unix socket has none; Edge's listeners say 127.0.0.1 without a port then.
func peerOf(remote string) (addr netip.Addr, isUnix bool) {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, remote == "" || remote == "@" || remote[0] == '/'
	}
	return at.Addr().Unmap().WithZone(""), at.Port() == 0 && at.Addr().IsLoopback()
}

// client walks the proxies back to the first address that is not a trusted proxy's, and returns the protocol that was spoken there.
func (t *trust) client(h http.Header, peer netip.Addr) (client netip.Addr, proto string) {
	client = peer
	if list := h["X-Forwarded-Proto"]; len(list) > 0 {
		proto = last(list[len(list)-1])
	}
	for _, name := range t.headers {
		lines := h[name]
		if len(lines) == 0 {
			continue
		}
		hops := hopsOf(name, lines)
		for _, hop := range slices.Backward(hops) {
			if !hop.addr.IsValid() {
				return client, proto // it is hidden, or nonsense: the proxy that said so is the last that is known
			}
			client = hop.addr
			if hop.proto != "" {
				proto = hop.proto
			}
			if !t.trusts(hop.addr) {
				break
			}
		}
		break
	}
	return client, strings.ToLower(proto)
}

// last is the last element of a list.
func last(list string) string {
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}

// hop is what a proxy says of whoever asked it.
type hop struct {
	addr  netip.Addr // not valid when it is hidden or cannot be read
	proto string
}

// maxHops bounds what is read of a list.
const maxHops = 64

func hopsOf(name string, lines []string) []hop {
	var hops []hop
	for _, line := range lines {
		if name == "Forwarded" {
			for _, element := range splitQuoted(line, ',') {
				hops = append(hops, forwardedElement(element))
			}
			continue
		}
		for element := range strings.SplitSeq(line, ",") {
			hops = append(hops, hop{addr: address(element)})
		}
	}
	if len(hops) > maxHops {
		hops = hops[len(hops)-maxHops:]
	}
	return hops
}

// forwardedElement reads for and proto of an element such as for="[2001:db8::1]:80";proto=https.
func forwardedElement(element string) (h hop) {
	for _, pair := range splitQuoted(element, ';') {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(key) {
		case "for":
			h.addr = address(value)
		case "proto":
			h.proto = value
		}
	}
	return h
}

// splitQuoted splits text at by, but not within a quoted string (RFC 9110 section 5.6.4). Where one has no end, quotes mean nothing: else a
// client could hide in one what proxies append to its field.
func splitQuoted(text string, by byte) (parts []string) {
	if strings.IndexByte(text, '"') < 0 {
		return strings.Split(text, string(by))
	}
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == by && !quoted:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	if quoted {
		return strings.Split(text, string(by))
	}
	return append(parts, text[from:])
}

// address reads an address, with or without a port.
func address(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.Unmap().WithZone("")
	}
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
