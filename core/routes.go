package core

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/edge-server/edge/core/routing"
)

// RouteLine is a route as people read it.
type RouteLine struct {
	Place  string   `json:"place"` // such as http.routes[0]
	Name   string   `json:"name,omitempty"`
	Match  []string `json:"match"` // conditions; none is every request
	Use    []string `json:"use"`   // middleware, the outermost first, that of all routes included
	Target string   `json:"target"`

	// In an explanation: why the route does not match, or "". Chosen is the one that serves.
	Why    string `json:"why,omitempty"`
	Chosen bool   `json:"chosen,omitempty"`
}

// RouteTable lists the routes of the configuration in their order.
func (c *Config) RouteTable() []RouteLine {
	if c.HTTP == nil {
		return nil
	}
	lines := make([]RouteLine, len(c.HTTP.Routes))
	for i := range c.HTTP.Routes {
		r := &c.HTTP.Routes[i]
		lines[i] = RouteLine{
			Place: fmt.Sprintf("http.routes[%d]", i), Name: r.Name, Match: describeMatch(&r.Match),
			Use: slices.Concat(c.HTTP.Middleware, r.Use), Target: r.describeTarget(),
		}
	}
	return lines
}

// ExplainRoute says which route serves a request, and of those before it why they do not. Routers, which are plugins, are not asked.
func (c *Config) ExplainRoute(method, target string, header http.Header, client string) ([]RouteLine, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL: write it whole, as in https://example.com/path", target)
	}
	lines := c.RouteTable()
	if len(lines) == 0 {
		return nil, errors.New("there are no routes in http.routes")
	}
	path, ok := routing.Clean(u.Path)
	if !ok {
		return nil, fmt.Errorf("the path %q climbs above the root: it is answered with 400 before any route is looked at", u.Path)
	}
	if path == "" {
		path = "/"
	}
	r := &http.Request{Method: method, URL: u, Host: u.Host, Header: header, RemoteAddr: client}
	matches := c.matches()
	table := routing.New(matches)
	for i, why := range table.Explain(matches, r, path) {
		lines[i].Why = why
	}
	if found, ok := table.Find(r, path); ok {
		lines[found.Route].Chosen = true
	}
	return lines, nil
}

func (c *Config) matches() []routing.Match {
	list := make([]routing.Match, len(c.HTTP.Routes))
	for i := range c.HTTP.Routes {
		list[i] = c.HTTP.Routes[i].Match
	}
	return list
}

func describeMatch(m *routing.Match) []string {
	list := []string{}
	add := func(key string, values []string) {
		if len(values) > 0 {
			list = append(list, key+" "+strings.Join(values, ", "))
		}
	}
	add("host", m.Host)
	add("path", m.Path)
	add("method", m.Method)
	for _, kind := range []struct {
		key    string
		values map[string]string
	}{{"header", m.Header}, {"query", m.Query}} {
		for _, name := range slices.Sorted(maps.Keys(kind.values)) {
			switch text := kind.values[name]; text {
			case "":
				list = append(list, kind.key+" "+name+" absent")
			default:
				list = append(list, kind.key+" "+name+"="+text)
			}
		}
	}
	add("client", m.Client)
	return list
}

func (r *Route) describeTarget() string {
	switch {
	case r.PHP != "":
		return "php " + r.PHP
	case r.Wasm != "":
		return "wasm " + r.Wasm
	case r.WS != "":
		return "ws " + r.WS
	case r.Files != nil:
		return "files " + r.Files.Root
	case r.Proxy != nil:
		return "proxy " + r.Proxy.Describe()
	case r.Redirect != nil:
		return fmt.Sprintf("redirect %d %s", r.Redirect.Status, r.Redirect.To)
	case r.Respond != nil:
		return fmt.Sprintf("respond %d", r.Respond.Status)
	}
	return ""
}
