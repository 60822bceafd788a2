package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verdict is what becomes of an answer.
type verdict struct {
	store bool
	why   string // not, for Cache-Status
	flags byte
	times times
	vary  []string
}

// refuse is the verdict on what is not stored.
func refuse(why string) verdict { return verdict{why: why} }

// credentials reports whether the request says who sends it: by Authorization (RFC 9111, section 3.5), or by a certificate, which is
// the same for what it means.
func credentials(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

// judge says whether an answer may be stored, and for how long it is fresh (RFC 9111, sections 3 and 4.2.1). delay is how long the
// target took.
func (c *Cache) judge(r *http.Request, status int, h http.Header, now time.Time, delay time.Duration) verdict {
	d := parseControl(h["Cache-Control"])
	switch {
	case !slices.Contains(c.cfg.Statuses, status):
		return refuse("status")
	case d.broken:
		return refuse("cache-control")
	case d.noStore:
		return refuse("no-store")
	case d.private:
		return refuse("private")
	case len(h["Set-Cookie"]) > 0 && c.cfg.SetCookie == setCookieRefuse:
		return refuse("set-cookie")
	case len(h["Content-Range"]) > 0, len(h["Trailer"]) > 0, stream(h.Get("Content-Type")):
		return refuse("streaming")
	}
	vary, ok := varyNames(h["Vary"])
	if !ok {
		return refuse("vary")
	}
	v := verdict{store: true, vary: union(c.vary, vary)}
	if len(v.vary) > maxVary {
		return refuse("vary")
	}
	if d.public || d.sMaxAge != absent {
		v.flags |= forCookies | forCredentials
	}
	if d.mustRevalidate {
		v.flags |= forCredentials
	}
	if d.mustRevalidate || d.proxyRevalidate || d.sMaxAge != absent || d.noCache { // RFC 9111, sections 4.2.4, 5.2.2.8 and 5.2.2.10
		v.flags |= mustRevalidate
	}
	if d.noCache {
		v.flags |= alwaysAsk
	}
	if !c.takesPart(r, v.flags) {
		return refuse("request-credentials")
	}
	lifetime, said := freshness(d, h, now)
	if !said && !d.noCache {
		if lifetime = c.cfg.TTL; lifetime == 0 {
			return refuse("no-lifetime")
		}
	}
	if d.noCache {
		lifetime = 0
	}
	v.times = times{
		age: apparentAge(h, now, delay).Milliseconds(), lifetime: min(lifetime, c.cfg.MaxTTL).Milliseconds(),
		whileRevalidate: orElse(d.staleWhileRevalidate, c.cfg.StaleWhileRevalidate).Milliseconds(),
		ifError:         orElse(d.staleIfError, c.cfg.StaleIfError).Milliseconds(),
	}
	// An explicit wish to serve what is stale goes with s-maxage: section 3 of RFC 5861 has that example.
	if v.flags&mustRevalidate != 0 && !d.mustRevalidate && !d.proxyRevalidate && !d.noCache {
		if d.staleWhileRevalidate == absent {
			v.times.whileRevalidate = 0
		}
		if d.staleIfError == absent {
			v.times.ifError = 0
		}
	} else if v.flags&mustRevalidate != 0 {
		v.times.whileRevalidate, v.times.ifError = 0, 0
	}
	if v.times.keep(h, c.cfg.Keep) <= 0 {
		return refuse("stale")
	}
	return v
}

// takesPart reports whether an answer with these flags may be stored of a request, and served to it.
func (c *Cache) takesPart(r *http.Request, flags byte) bool {
	if flags&forCredentials == 0 && credentials(r) {
		return false
	}
	return c.cfg.Cookies != cookiesPublic || flags&forCookies != 0 || len(r.Header["Cookie"]) == 0
}

// stream reports whether answers of a type have no end that is worth waiting for.
func stream(contentType string) bool {
	name, _, _ := strings.Cut(contentType, ";")
	name = strings.ToLower(trim(name))
	return name == "text/event-stream" || name == "multipart/x-mixed-replace" || strings.HasPrefix(name, "application/grpc")
}

func orElse(said int64, otherwise time.Duration) time.Duration {
	if said == absent {
		return otherwise
	}
	return time.Duration(said) * time.Second
}

// keep is for how long the entry is worth its place.
func (t *times) keep(h http.Header, validated time.Duration) time.Duration {
	after := max(t.whileRevalidate, t.ifError)
	if h.Get("Etag") != "" || h.Get("Last-Modified") != "" {
		after = max(after, validated.Milliseconds())
	}
	return time.Duration(t.lifetime-t.age+after) * time.Millisecond
}

// freshness is for how long the answer says it is fresh. What cannot be understood is stale (RFC 9111, sections 4.2.1 and 5.3).
func freshness(d directives, h http.Header, now time.Time) (time.Duration, bool) {
	switch expires := h["Expires"]; {
	case d.sMaxAge != absent:
		return time.Duration(d.sMaxAge) * time.Second, true
	case d.maxAge != absent:
		return time.Duration(d.maxAge) * time.Second, true
	case len(expires) > 0:
		at, err := http.ParseTime(expires[0])
		if err != nil || len(expires) > 1 {
			return 0, true
		}
		return max(0, at.Sub(dateOf(h, now))), true
	}
	return 0, false
}

func dateOf(h http.Header, now time.Time) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at
	}
	return now
}

// apparentAge is how old the answer was when it came (RFC 9111, section 4.2.3).
func apparentAge(h http.Header, now time.Time, delay time.Duration) time.Duration {
	var said time.Duration
	if n, err := strconv.ParseUint(h.Get("Age"), 10, 64); err == nil {
		said = time.Duration(min(n, longest)) * time.Second
	}
	var apparent time.Duration
	if h.Get("Date") != "" {
		apparent = max(0, now.Sub(dateOf(h, now))).Truncate(time.Second)
	}
	if said > 0 {
		said += delay
	}
	return max(apparent, said)
}

// tags are those of Cache-Tag, between commas, and Surrogate-Key, between spaces. ok is false for more than a store takes: what cannot
// be purged must not be stored.
func tags(h http.Header) (list []string, ok bool) {
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = trim(tag); tag != "" {
				list = append(list, tag)
			}
		}
	}
	for _, line := range h["Surrogate-Key"] {
		list = append(list, strings.Fields(line)...)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	for _, tag := range list {
		if len(tag) > maxTag {
			return nil, false
		}
	}
	return list, len(list) <= maxTags
}

// Bounds of tags.
const (
	maxTag  = 512
	maxTags = 200
)

// hopByHop are headers of one connection, which are not stored (RFC 9111, section 3.1), and those that the cache writes itself.
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Transfer-Encoding": true, "Upgrade": true,
	"Proxy-Authenticate": true, "Proxy-Authentication-Info": true, "Proxy-Authorization": true, "Age": true, "Content-Length": true,
}

// stored is what of the headers goes into the store.
func (c *Cache) stored(h http.Header, now time.Time) http.Header {
	kept := make(http.Header, len(h)+1)
	for name, values := range h {
		if !hopByHop[name] {
			kept[name] = values
		}
	}
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			delete(kept, http.CanonicalHeaderKey(trim(name)))
		}
	}
	if c.cfg.SetCookie == setCookieStrip {
		delete(kept, "Set-Cookie")
	}
	if kept.Get("Date") == "" { // RFC 9110, section 6.6.1
		kept.Set("Date", now.UTC().Format(http.TimeFormat))
	}
	return kept
}
