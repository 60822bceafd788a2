package routing

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Table finds routes by their number in the list it was made of. It never changes.
type Table struct {
	routes []conditions
	exact  map[string]*tree // by host
	wild   map[string]*tree // by what follows the first label, dot included
	any    *tree
}

// conditions are what is left to be checked of a route whose host and path fit.
type conditions struct {
	paths   []pattern // in the order of the configuration
	methods []string
	headers []named
	query   []named
	clients []netip.Prefix
	plain   bool // there are none
}

type named struct {
	name string
	value
}

// New compiles the conditions of routes, which must be valid.
func New(routes []Match) *Table {
	t := &Table{exact: map[string]*tree{}, wild: map[string]*tree{}, any: &tree{}}
	for i := range routes {
		m := &routes[i]
		c := m.compile()
		t.routes = append(t.routes, c)
		for _, tree := range t.treesFor(m.Host) {
			tree.add(i, c.paths)
		}
	}
	return t
}

func (m *Match) compile() conditions {
	c := conditions{methods: m.Method}
	for _, text := range m.Path {
		p, err := parsePath(text)
		if err == nil {
			c.paths = append(c.paths, p)
		}
	}
	if len(m.Path) == 0 {
		c.paths = []pattern{{below: true}}
	}
	c.headers = compileValues(m.Header, http.CanonicalHeaderKey)
	c.query = compileValues(m.Query, strings.Clone)
	for _, text := range m.Client {
		if p, err := parseRange(text); err == nil {
			c.clients = append(c.clients, p)
		}
	}
	c.plain = len(c.methods)+len(c.headers)+len(c.query)+len(c.clients) == 0
	return c
}

func compileValues(from map[string]string, canonical func(string) string) []named {
	var list []named
	for name, text := range from {
		if v, err := parseValue(text); err == nil {
			list = append(list, named{canonical(name), v})
		}
	}
	slices.SortFunc(list, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return list
}

// treesFor returns the trees of hosts, of which there is one for all when a route names none.
func (t *Table) treesFor(hosts []string) []*tree {
	if len(hosts) == 0 {
		return []*tree{t.any}
	}
	var trees []*tree
	for _, host := range hosts {
		name, in := strings.ToLower(strings.TrimSuffix(host, ".")), t.exact
		if suffix, ok := strings.CutPrefix(name, "*"); ok {
			name, in = suffix, t.wild
		}
		if in[name] == nil {
			in[name] = &tree{}
		}
		if !slices.Contains(trees, in[name]) {
			trees = append(trees, in[name])
		}
	}
	return trees
}

// Found is the route of a request.
type Found struct {
	Route int
	path  *pattern
	at    string
}

// Find returns the first route that matches. path is Clean's; the client's address is that of the connection.
func (t *Table) Find(r *http.Request, path string) (Found, bool) {
	var fitting candidates
	host := Host(r.Host)
	if tree := t.exact[host]; tree != nil {
		tree.collect(&fitting, path)
	}
	if len(t.wild) > 0 {
		if dot := strings.IndexByte(host, '.'); dot > 0 {
			if tree := t.wild[host[dot:]]; tree != nil {
				tree.collect(&fitting, path)
			}
		}
	}
	t.any.collect(&fitting, path)
	asked := request{Request: r}
	for {
		e, ok := fitting.next()
		if !ok {
			return Found{}, false
		}
		c := &t.routes[e.route]
		p := &c.paths[e.path]
		if (p.re == nil || p.re.MatchString(path)) && (c.plain || c.hold(&asked)) {
			return Found{Route: int(e.route), path: p, at: path}, true
		}
	}
}

// SetPathValues tells the request what the names of the pattern stand for.
func (f Found) SetPathValues(r *http.Request) {
	p := f.path
	if p == nil {
		return
	}
	if p.re != nil {
		setGroups(p, f.at, r)
		return
	}
	rest := f.at[1:]
	for _, s := range p.segments {
		var text string
		text, rest, _ = strings.Cut(rest, "/")
		if s.name != "" {
			r.SetPathValue(s.name, text)
		}
	}
	if p.rest != "" {
		r.SetPathValue(p.rest, rest)
	}
}

// setGroups does it for the named groups of a regular expression.
func setGroups(p *pattern, at string, r *http.Request) {
	groups := p.re.FindStringSubmatch(at)
	for i, name := range p.re.SubexpNames() {
		if name != "" && i < len(groups) {
			r.SetPathValue(name, groups[i])
		}
	}
}

// request is one whose query and address are read when they are first needed.
type request struct {
	*http.Request
	query     url.Values
	client    netip.Addr
	hasQuery  bool
	hasClient bool
}

func (r *request) parameters() url.Values {
	if !r.hasQuery {
		r.query, r.hasQuery = r.URL.Query(), true
	}
	return r.query
}

func (r *request) address() netip.Addr {
	if !r.hasClient {
		r.hasClient = true
		if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			r.client = at.Addr().Unmap().WithZone("")
		}
	}
	return r.client
}

// hold reports whether all conditions hold.
func (c *conditions) hold(r *request) bool { return c.failing(r) == "" }

// failing names the first condition that does not hold, or "".
func (c *conditions) failing(r *request) string {
	if len(c.methods) > 0 && !slices.ContainsFunc(c.methods, func(m string) bool { return methodMatches(m, r.Method) }) {
		return "method"
	}
	for i := range c.headers {
		if h := &c.headers[i]; !h.holds(r.Header[h.name]) {
			return "header." + h.name
		}
	}
	for i := range c.query {
		if q := &c.query[i]; !q.holds(r.parameters()[q.name]) {
			return "query." + q.name
		}
	}
	if len(c.clients) > 0 {
		addr := r.address()
		if !slices.ContainsFunc(c.clients, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return "client"
		}
	}
	return ""
}

// methodMatches: GET includes HEAD, as in net/http's ServeMux.
func methodMatches(pattern, method string) bool {
	return pattern == method || pattern == http.MethodGet && method == http.MethodHead
}

// Host is the Host header as patterns are compared with it: lower case, no port, no final dot.
func Host(hostport string) string {
	host := hostport
	if strings.IndexByte(hostport, ':') >= 0 {
		if h, _, err := net.SplitHostPort(hostport); err == nil {
			host = h
		}
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
