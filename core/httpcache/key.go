package httpcache

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"
)

const (
	// maxKey is how long a key may be in the store; some servers take no more than 250 bytes. What of longer ones does not fit is a sum.
	maxKey  = 200
	keyHead = 100
)

// schemeOf is what the client spoke. Trusted proxies in front have a say in r.TLS.
func schemeOf(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// hostOf is the host as keys have it: lower case, without the port that goes without saying.
func hostOf(scheme, host string) string {
	for i := range len(host) {
		if host[i] >= 'A' && host[i] <= 'Z' {
			host = strings.ToLower(host)
			break
		}
	}
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// The key of a URL (RFC 9111, section 2) begins with the cache and the route, so that routes which answer one URL differently, by
// headers or addresses of clients, never meet. The bytes of path and query are as the client wrote them: two spellings of a URL are two
// keys, since the target can tell them apart.
//
//	httpcache/pages/2f8a41c09be1/https://example.com/blog?page=2
func (c *Cache) key(scope, scheme, host, path, query string) string {
	var buf [256]byte
	b := append(append(append(append(buf[:0], c.prefix...), scope...), '/'), scheme...)
	b = append(append(append(b, "://"...), host...), path...)
	if query != "" {
		b = append(append(b, '?'), query...)
	}
	return shortened(b)
}

// shortened is a key that the store takes. An entry holds its whole name, so that no other is taken for it.
func shortened(b []byte) string {
	if len(b) <= maxKey {
		return string(b)
	}
	sum := sha256.Sum256(b)
	return string(b[:keyHead]) + "#" + hex.EncodeToString(sum[:])
}

// variantKey is the key of one answer of several that a URL has. The salt of the URL's marker makes variants of an earlier life
// unreachable. It is shorter than maxKey and 50 bytes.
func variantKey(key, salt string, v variant) string {
	return key + "#" + salt + hex.EncodeToString(v[:])
}

// query is that of the request without the parameters that make no difference. What it leaves out the target does not see either:
// otherwise an answer could show to everybody what one client wrote there.
func (c *Cache) query(raw string) string {
	if len(c.cfg.IgnoreQuery) == 0 || raw == "" {
		return raw
	}
	kept := make([]string, 0, 8)
	for pair := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if !c.ignored(name) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

func (c *Cache) ignored(name string) bool {
	for _, pattern := range c.cfg.IgnoreQuery {
		if prefix, all := strings.CutSuffix(pattern, "*"); all && strings.HasPrefix(name, prefix) || name == pattern {
			return true
		}
	}
	return false
}

// mark is what the log of purges has of what was purged.
func mark(kind byte, text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{kind})
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// Kinds of marks. A purge of a prefix is marked by the host: it concerns more than it needs to, for a moment.
const (
	markTag  = 't'
	markURL  = 'u'
	markHost = 'h'
)

// place is a URL as purges name it.
type place struct{ host, path, query string }

func (p place) text() string {
	if p.query == "" {
		return p.host + p.path
	}
	return p.host + p.path + "?" + p.query
}

// placeOf reads a URL that is to be purged. The scheme does not matter: both are.
func (c *Cache) placeOf(u *url.URL) place {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return place{hostOf(strings.ToLower(u.Scheme), u.Host), path, c.query(u.RawQuery)}
}
