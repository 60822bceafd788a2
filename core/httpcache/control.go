package httpcache

import (
	"strings"
)

// directives are those of Cache-Control (RFC 9111, section 5.2; RFC 5861) that matter here, of a request or an answer. Times are in
// seconds, absent where the directive does not stand there.
type directives struct {
	noStore, noCache, private, public  bool
	mustRevalidate, proxyRevalidate    bool
	onlyIfCached                       bool
	maxAge, sMaxAge                    int64
	staleWhileRevalidate, staleIfError int64
	minFresh, maxStale                 int64
	broken                             bool // a quote that does not end: what stands behind it is anybody's guess
}

const (
	absent = -1
	// longest is what larger numbers are taken for (RFC 9111, section 1.2.2).
	longest = 1 << 31
)

// parseControl reads the lines of Cache-Control. It never fails: what it cannot read is taken for what stores less.
func parseControl(lines []string) directives {
	d := directives{maxAge: absent, sMaxAge: absent, staleWhileRevalidate: absent, staleIfError: absent, minFresh: absent, maxStale: absent}
	for _, line := range lines {
		for line != "" {
			var name, value string
			var valued, ok bool
			if name, value, valued, line, ok = nextDirective(line); !ok {
				d.broken = true
				break
			}
			d.set(name, value, valued)
		}
	}
	return d
}

// nextDirective cuts name, name=token or name="text" off the beginning of a list.
func nextDirective(line string) (name, value string, valued bool, rest string, ok bool) {
	end := strings.IndexAny(line, ",=\"")
	switch {
	case end < 0:
		return trim(line), "", false, "", true
	case line[end] == ',':
		return trim(line[:end]), "", false, line[end+1:], true
	case line[end] == '"':
		return "", "", false, "", false
	}
	name, line = trim(line[:end]), strings.TrimLeft(line[end+1:], " \t")
	if !strings.HasPrefix(line, `"`) {
		value, rest, _ = strings.Cut(line, ",")
		return name, trim(value), true, rest, !strings.Contains(value, `"`)
	}
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			after := strings.TrimLeft(line[i+1:], " \t")
			if after != "" && after[0] != ',' {
				return "", "", false, "", false
			}
			return name, line[1:i], true, strings.TrimPrefix(after, ","), true
		}
	}
	return "", "", false, "", false
}

func trim(s string) string { return strings.Trim(s, " \t") }

// set takes over one directive. Names are known in any case. The forms private="X" and no-cache="X", which are about some headers
// only, are taken for those about all, as RFC 9111 lets a cache do (sections 5.2.2.4 and 5.2.2.7).
func (d *directives) set(name, value string, valued bool) {
	switch {
	case strings.EqualFold(name, "no-store"):
		d.noStore = true
	case strings.EqualFold(name, "no-cache"):
		d.noCache = true
	case strings.EqualFold(name, "private"):
		d.private = true
	case strings.EqualFold(name, "public"):
		d.public = true
	case strings.EqualFold(name, "must-revalidate"):
		d.mustRevalidate = true
	case strings.EqualFold(name, "proxy-revalidate"):
		d.proxyRevalidate = true
	case strings.EqualFold(name, "only-if-cached"):
		d.onlyIfCached = true
	case strings.EqualFold(name, "max-age"):
		least(&d.maxAge, seconds(value, 0))
	case strings.EqualFold(name, "s-maxage"):
		least(&d.sMaxAge, seconds(value, 0))
	case strings.EqualFold(name, "stale-while-revalidate"):
		least(&d.staleWhileRevalidate, seconds(value, 0))
	case strings.EqualFold(name, "stale-if-error"):
		least(&d.staleIfError, seconds(value, 0))
	case strings.EqualFold(name, "min-fresh"):
		d.minFresh = max(d.minFresh, seconds(value, longest))
	case strings.EqualFold(name, "max-stale") && !valued:
		least(&d.maxStale, longest)
	case strings.EqualFold(name, "max-stale"):
		least(&d.maxStale, seconds(value, 0))
	}
}

// least keeps the smaller of two: a directive that stands there twice is believed where it stores less (RFC 9111, section 4.2.1).
func least(to *int64, n int64) {
	if *to == absent || n < *to {
		*to = n
	}
}

// seconds reads delta-seconds (RFC 9111, section 1.2.2), and takes wrong for what is none.
func seconds(text string, wrong int64) int64 {
	if text == "" {
		return wrong
	}
	var n int64
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return wrong
		}
		if n = n*10 + int64(text[i]-'0'); n >= longest {
			n = longest
		}
	}
	return n
}
