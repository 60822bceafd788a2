package pusher

import (
	"net/url"
	"strings"
)

// validOrigin reports whether pattern can stand in allowed_origins.
func validOrigin(pattern string) bool {
	if pattern == "*" {
		return true
	}
	if scheme, _, ok := strings.Cut(pattern, "://"); ok {
		u, err := url.Parse(pattern)
		return err == nil && (scheme == "http" || scheme == "https") && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.User == nil
	}
	host := strings.TrimPrefix(pattern, "*.")
	return host != "" && !strings.ContainsAny(host, "*/: @")
}

// originAllowed reports whether a page of origin may connect. A client that sends none is no browser, and no page of another site.
func originAllowed(patterns []string, origin string) bool {
	if origin == "" {
		return true
	}
	var host string
	for _, p := range patterns {
		if p == "*" || strings.EqualFold(p, origin) {
			return true
		}
		if host == "" {
			u, err := url.Parse(origin)
			if err != nil || u.Hostname() == "" {
				host = "\x00" // null, or nonsense: only * allows it
				continue
			}
			host = strings.ToLower(u.Hostname())
		}
		p = strings.ToLower(p)
		if suffix, wild := strings.CutPrefix(p, "*"); p == host || wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
			return true
		}
	}
	return false
}
