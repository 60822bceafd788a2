package httpcache

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is one cache of http.cache. Routes use it as cache/NAME.
type Config struct {
	// Store is the store of the kv section that keeps the answers; servers with the same store and the same routes share them. It has no
	// default.
	Store string `koanf:"store"`

	// TTL is how long answers are fresh that do not say it themselves. 0: they are not stored. Default 0s.
	TTL time.Duration `koanf:"ttl"`

	// MaxTTL bounds for how long an answer is fresh, whatever it says. Default 24h.
	MaxTTL time.Duration `koanf:"max_ttl"`

	// StaleWhileRevalidate is for how long an answer is served that is no longer fresh, while a new one is fetched in the background,
	// if it does not say it itself. Default 0s.
	StaleWhileRevalidate time.Duration `koanf:"stale_while_revalidate"`

	// StaleIfError is for how long an answer is served that is no longer fresh, when the target answers 500, 502, 503 or 504, if it does
	// not say it itself. Default 0s.
	StaleIfError time.Duration `koanf:"stale_if_error"`

	// Keep is for how long an answer with ETag or Last-Modified stays in the store when it is no longer fresh, for the target to say
	// whether it has changed. Default 10m.
	Keep time.Duration `koanf:"keep"`

	// MaxEntry is how large an answer may be, headers included. Larger ones pass through. Default 1MiB.
	MaxEntry bytesize.Size `koanf:"max_entry"`

	// MaxHeld is how much memory the answers may take together that are being fetched or written to the store. What comes beyond that
	// passes through. Default 64MiB.
	MaxHeld bytesize.Size `koanf:"max_held"`

	// Statuses of answers that are stored. Default [200, 203, 204, 300, 301, 302, 307, 308, 404, 410].
	Statuses []int `koanf:"statuses"`

	// IgnoreQuery are parameters of the query that make no difference, name* by what they begin with, * all of them. The target does
	// not see them. Default none.
	IgnoreQuery []string `koanf:"ignore_query"`

	// Vary are headers of requests by which answers differ, whether they say so or not, and cookies as cookie:NAME. Default none.
	Vary []string `koanf:"vary"`

	// Cookies says which requests with cookies take part: public, those whose answers say public or s-maxage; ignore, all; bypass, none.
	// Default public.
	Cookies string `koanf:"cookies"`

	// SetCookie says what becomes of answers that set cookies: refuse, they are not stored; strip, they are without the cookies; store,
	// they are as they are. Default refuse.
	SetCookie string `koanf:"set_cookie"`

	// ObeyClients lets the Cache-Control of a request ask for a newer answer than the stored one. Default true.
	ObeyClients bool `koanf:"obey_clients"`

	// Coalesce is how long requests wait for the answer that another one fetches; then they fetch their own. 0: none waits. Default 10s.
	Coalesce time.Duration `koanf:"coalesce"`

	// MaxWaiting is how many requests wait for the same answer at most. Default 1000.
	MaxWaiting int `koanf:"max_waiting"`

	// Timeout is how long the store may take. Then the target answers. Default 250ms.
	Timeout time.Duration `koanf:"timeout"`

	// KeepTags leaves Cache-Tag and Surrogate-Key in answers to clients. Default false.
	KeepTags bool `koanf:"keep_tags"`

	// CacheStatus writes what the cache did into answers (RFC 9211). Default true.
	CacheStatus bool `koanf:"cache_status"`

	// PurgeFrom are addresses and ranges from which the method PURGE removes what is stored of a URL. Default none: it is a method as any other.
	PurgeFrom []string `koanf:"purge_from"`
}

// Values of Cookies and SetCookie.
const (
	cookiesPublic = "public"
	cookiesIgnore = "ignore"
	cookiesBypass = "bypass"

	setCookieRefuse = "refuse"
	setCookieStrip  = "strip"
	setCookieStore  = "store"
)

// Defaults is where decoding starts.
func (Config) Defaults() any {
	return Config{
		MaxTTL: 24 * time.Hour, Keep: 10 * time.Minute, MaxEntry: bytesize.MiB, MaxHeld: 64 * bytesize.MiB,
		Statuses: []int{200, 203, 204, 300, 301, 302, 307, 308, 404, 410},
		Cookies:  cookiesPublic, SetCookie: setCookieRefuse, ObeyClients: true, Coalesce: 10 * time.Second, MaxWaiting: 1000,
		Timeout: 250 * time.Millisecond, CacheStatus: true,
	}
}

// ValidName reports whether a cache can be called so: the name stands in Cache-Status, as a token.
func ValidName(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// maxDays bounds what times of the configuration may be.
const maxDays = 366 * 24 * time.Hour

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Store == "" {
		complain("store: write the name of a store of the kv section: that is where answers are kept")
	}
	for key, d := range map[string]time.Duration{
		"ttl": c.TTL, "max_ttl": c.MaxTTL, "stale_while_revalidate": c.StaleWhileRevalidate, "stale_if_error": c.StaleIfError, "keep": c.Keep,
	} {
		if d < 0 || d > maxDays {
			complain("%s: must be between 0 and 366 days, got %s", key, d)
		}
	}
	if c.MaxTTL < time.Second {
		complain("max_ttl: must be at least 1s, got %s", c.MaxTTL)
	}
	if c.MaxEntry < bytesize.KiB || c.MaxEntry > 256*bytesize.MiB {
		complain("max_entry: must be between 1KiB and 256MiB, got %s", c.MaxEntry)
	}
	if c.MaxHeld < c.MaxEntry {
		complain("max_held: must be at least max_entry, which is %s; got %s", c.MaxEntry, c.MaxHeld)
	}
	for i, status := range c.Statuses {
		if status < 200 || status > 599 || status == http.StatusPartialContent || status == http.StatusNotModified {
			complain("statuses[%d]: must be between 200 and 599, and neither 206 nor 304; got %d", i, status)
		}
	}
	for i, name := range c.IgnoreQuery {
		if name == "" || strings.Contains(strings.TrimSuffix(name, "*"), "*") || strings.ContainsAny(name, "&=#?") {
			complain("ignore_query[%d]: %q: write the name of a parameter, utm_* for all that begin so, or *", i, name)
		}
	}
	for i, name := range c.Vary {
		cookie, isCookie := strings.CutPrefix(name, cookieVary)
		if isCookie {
			name = cookie
		}
		if !httpguts.ValidHeaderFieldName(name) {
			complain("vary[%d]: %q: write the name of a header, or cookie:NAME", i, c.Vary[i])
		}
	}
	if len(c.Vary) > maxVary/2 {
		complain("vary: %d names, at most %d", len(c.Vary), maxVary/2)
	}
	if !slices.Contains([]string{cookiesPublic, cookiesIgnore, cookiesBypass}, c.Cookies) {
		complain("cookies: write public, ignore or bypass, got %q", c.Cookies)
	}
	if !slices.Contains([]string{setCookieRefuse, setCookieStrip, setCookieStore}, c.SetCookie) {
		complain("set_cookie: write refuse, strip or store, got %q", c.SetCookie)
	}
	if c.Coalesce < 0 || c.Coalesce > 10*time.Minute {
		complain("coalesce: must be between 0 and 10m, got %s", c.Coalesce)
	}
	if c.MaxWaiting < 1 {
		complain("max_waiting: must be at least 1, got %d; coalesce: 0s lets none wait", c.MaxWaiting)
	}
	if c.Timeout < time.Millisecond || c.Timeout > time.Minute {
		complain("timeout: must be between 1ms and 1m, got %s", c.Timeout)
	}
	_, err := networks(c.PurgeFrom)
	return errors.Join(append(errs, err)...)
}

// networks reads purge_from.
func networks(texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	var errs []error
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(text); err == nil {
				p = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("purge_from[%d]: %q is no address and no range such as 10.0.0.0/8", i, text))
			continue
		}
		list = append(list, p.Masked())
	}
	return list, errors.Join(errs...)
}
