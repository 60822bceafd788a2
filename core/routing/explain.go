package routing

import (
	"net/http"
	"slices"
)

// Explain says of every route why it does not match; of the one that does it says "". Routes behind that one are looked at, too.
func (t *Table) Explain(routes []Match, r *http.Request, path string) []string {
	asked := request{Request: r}
	host := Host(r.Host)
	why := make([]string, len(t.routes))
	for i := range t.routes {
		c := &t.routes[i]
		switch {
		case !hostFits(routes[i].Host, host):
			why[i] = "host"
		case !slices.ContainsFunc(c.paths, func(p pattern) bool { return p.fits(path) }):
			why[i] = "path"
		default:
			why[i] = c.failing(&asked)
		}
	}
	return why
}

func hostFits(patterns []string, host string) bool {
	if len(patterns) == 0 {
		return true
	}
	alone := New([]Match{{Host: patterns}})
	_, ok := alone.Find(&http.Request{Host: host}, "/")
	return ok
}

// fits reports whether the pattern matches.
func (p *pattern) fits(at string) bool {
	if p.re != nil {
		return p.re.MatchString(at)
	}
	var t tree
	t.add(0, []pattern{*p})
	var c candidates
	t.collect(&c, at)
	return c.n > 0
}
