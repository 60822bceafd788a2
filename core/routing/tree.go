package routing

import (
	"slices"
	"strings"
)

// tree has the patterns of the routes of one host, by segment.
type tree struct {
	root    node
	regexps []entry // in the order of routes; each must be tried
}

// node is where a pattern, or a part of one, leads to.
type node struct {
	literal map[string]*node
	any     *node   // one segment that is not empty
	here    []entry // patterns that end here
	below   []entry // patterns for everything below
}

// entry is a pattern of a route. Lists of them are in the order of routes.
type entry struct{ route, path int32 }

func (t *tree) add(route int, paths []pattern) {
	for i, p := range paths {
		e := entry{int32(route), int32(i)}
		if p.re != nil {
			t.regexps = append(t.regexps, e)
			continue
		}
		n := &t.root
		for _, s := range p.segments {
			n = n.child(s)
		}
		list := &n.here
		if p.below {
			list = &n.below
		}
		if !slices.ContainsFunc(*list, func(have entry) bool { return have.route == e.route }) {
			*list = append(*list, e)
		}
	}
}

func (n *node) child(s segment) *node {
	if s.name != "" {
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[s.literal] == nil {
		n.literal[s.literal] = &node{}
	}
	return n.literal[s.literal]
}

// candidates are the lists of patterns that fit a path. There are few but for odd configurations, so that they need no memory.
type candidates struct {
	few  [24][]entry
	n    int
	more [][]entry
}

func (c *candidates) add(list []entry) {
	switch {
	case len(list) == 0:
	case c.n < len(c.few):
		c.few[c.n] = list
		c.n++
	default:
		c.more = append(c.more, list)
	}
}

// next takes the entry of the smallest route off the lists.
func (c *candidates) next() (entry, bool) {
	var least *[]entry
	for i := range c.few[:c.n] {
		least = smaller(least, &c.few[i])
	}
	for i := range c.more {
		least = smaller(least, &c.more[i])
	}
	if least == nil {
		return entry{}, false
	}
	e := (*least)[0]
	*least = (*least)[1:]
	return e, true
}

func smaller(a, b *[]entry) *[]entry {
	if len(*b) > 0 && (a == nil || (*b)[0].route < (*a)[0].route) {
		return b
	}
	return a
}

// collect adds what fits a path.
func (t *tree) collect(c *candidates, path string) {
	c.add(t.regexps)
	t.root.collect(c, path[1:])
}

// collect goes down along the segments of rest, which is what follows a slash.
func (n *node) collect(c *candidates, rest string) {
	c.add(n.below)
	segment, rest, more := strings.Cut(rest, "/")
	n.literal[segment].arrive(c, rest, more)
	if segment != "" {
		n.any.arrive(c, rest, more)
	}
}

// arrive comes at a node, which may not be there, with what is left of the path.
func (n *node) arrive(c *candidates, rest string, more bool) {
	switch {
	case n == nil:
	case more:
		n.collect(c, rest)
	default:
		c.add(n.here)
	}
}
