package routing_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/routing"
)

func request(method, host, path string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://localhost/", nil)
	path, query, _ := strings.Cut(path, "?")
	r.Host, r.URL.Path, r.URL.RawQuery = host, path, query
	r.RemoteAddr = "192.0.2.7:1234"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func find(t *routing.Table, r *http.Request) int {
	path, ok := routing.Clean(r.URL.Path)
	if !ok {
		return -2
	}
	found, ok := t.Find(r, path)
	if !ok {
		return -1
	}
	found.SetPathValues(r)
	return found.Route
}

var table = []routing.Match{
	0:  {Host: []string{"Admin.example.com"}},
	1:  {Host: []string{"*.example.com"}, Path: []string{"/api/*"}},
	2:  {Path: []string{"/api/*", "/api"}, Method: []string{"GET"}},
	3:  {Path: []string{"/api/*"}},
	4:  {Path: []string{"/"}},
	5:  {Path: []string{"/users/{id}"}},
	6:  {Path: []string{"/users/me"}},
	7:  {Path: []string{"/users/{id}/posts/{rest...}"}},
	8:  {Path: []string{`~/item-(?P<number>\d+)(\.html)?`}},
	9:  {Path: []string{"/v"}, Header: map[string]string{"x-version": "2", "X-Debug": ""}},
	10: {Path: []string{"/v"}, Header: map[string]string{"X-Version": "~[3-5]"}},
	11: {Path: []string{"/v"}, Query: map[string]string{"beta": "*"}},
	12: {Path: []string{"/v"}, Client: []string{"10.0.0.0/8", "192.0.2.7"}, Method: []string{"POST"}},
	13: {Path: []string{"/dir/"}},
	14: {Path: []string{"/dir"}},
	15: {Path: []string{"/users/*"}},
}

func TestFirstRouteThatMatchesWins(t *testing.T) {
	t.Parallel()
	routes := routing.New(table)
	for _, tt := range []struct {
		method, host, path string
		headers            []string
		want               int
	}{
		{"GET", "admin.example.com", "/api/x", nil, 0},
		{"GET", "ADMIN.example.com:8443", "/", nil, 0},
		{"GET", "admin.example.com.", "/", nil, 0},
		{"GET", "a.example.com", "/api/x", nil, 1},
		{"GET", "a.b.example.com", "/api/x", nil, 2},
		{"GET", "example.com", "/api/x", nil, 2},
		{"HEAD", "localhost", "/api", nil, 2},
		{"POST", "localhost", "/api/x", nil, 3},
		{"POST", "localhost", "/api/", nil, 3},
		{"POST", "localhost", "/x/../api/x", nil, 3},
		{"POST", "localhost", "//api/x", nil, 3},
		{"POST", "localhost", "/api", nil, -1},
		{"GET", "[::1]:8080", "/", nil, 4},
		{"OPTIONS", "localhost", "*", nil, 4},
		{"GET", "localhost", "/apix", nil, -1},
		{"GET", "localhost", "/../api/x", nil, -2},
		{"GET", "localhost", "/users/7", nil, 5},
		{"GET", "localhost", "/users/me", nil, 5}, // the order decides, not how exact a pattern is
		{"GET", "localhost", "/users/", nil, 15},
		{"GET", "localhost", "/users/7/posts/a/b", nil, 7},
		{"GET", "localhost", "/users/7/posts/", nil, 7},
		{"GET", "localhost", "/users/7/posts", nil, 15},
		{"GET", "localhost", "/item-12", nil, 8},
		{"GET", "localhost", "/item-12.html", nil, 8},
		{"GET", "localhost", "/item-12.htmlx", nil, -1},
		{"GET", "localhost", "/v", []string{"X-Version", "1", "X-Version", "2"}, 9},
		{"GET", "localhost", "/v", []string{"X-Version", "2", "X-Debug", "1"}, -1},
		{"GET", "localhost", "/v", []string{"X-Version", "4"}, 10},
		{"GET", "localhost", "/v", []string{"X-Version", "44"}, -1},
		{"GET", "localhost", "/v?beta", nil, 11},
		{"POST", "localhost", "/v", nil, 12},
		{"GET", "localhost", "/dir/", nil, 13},
		{"GET", "localhost", "/dir", nil, 14},
	} {
		if got := find(routes, request(tt.method, tt.host, tt.path, tt.headers...)); got != tt.want {
			t.Errorf("%s %s%s %v went to %d, want %d", tt.method, tt.host, tt.path, tt.headers, got, tt.want)
		}
	}
}

func TestPathValues(t *testing.T) {
	t.Parallel()
	routes := routing.New(table)
	for path, want := range map[string]map[string]string{
		"/users/7":                {"id": "7"},
		"/users/ä b/posts/x/y":    {"id": "ä b", "rest": "x/y"},
		"/users/8/posts/":         {"id": "8", "rest": ""},
		"/item-12.html":           {"number": "12"},
		"/x/../users/9/posts//z/": {"id": "9", "rest": "z/"},
	} {
		r := request("GET", "localhost", path)
		find(routes, r)
		for name, value := range want {
			if got := r.PathValue(name); got != value {
				t.Errorf("%s: {%s} is %q, want %q", path, name, got, value)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	routes := routing.New(table)
	why := routes.Explain(table, request("GET", "localhost", "/v", "X-Version", "2", "X-Debug", "on"), "/v")
	want := []string{0: "host", 1: "host", 2: "path", 9: "header.X-Debug", 10: "header.X-Version", 11: "query.beta", 12: "method"}
	for i, reason := range want {
		if reason != "" && why[i] != reason {
			t.Errorf("route %d: %q, want %q", i, why[i], reason)
		}
	}
	if why := routes.Explain(table, request("GET", "a.example.com", "/api/x"), "/api/x"); why[1] != "" || why[0] != "host" {
		t.Errorf("%q", why)
	}
}

func TestBadConditionsAreRefused(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]routing.Match{
		`path[0]: "api" must begin with /`:                              {Path: []string{"api"}},
		`path[1]: "/a//b" never matches`:                                {Path: []string{"/", "/a//b"}},
		`a * may only end the pattern`:                                  {Path: []string{"/a*"}},
		`a name stands for a whole segment`:                             {Path: []string{"/a{b}"}},
		`{b}: names are letters`:                                        {Path: []string{"/{b}/{b}"}},
		`{b...}: names are letters`:                                     {Path: []string{"/{b...}/c"}},
		`{1}: names are letters`:                                        {Path: []string{"/{1}"}},
		`"(" is not a regular expression`:                               {Path: []string{"~("}},
		`host[0]: "a:80" is not a host name`:                            {Host: []string{"a:80"}},
		`method[0]: "get": methods are written`:                         {Method: []string{"get"}},
		`header: "a b" is not a header name`:                            {Header: map[string]string{"a b": "x"}},
		`header.A: "[" is not a regular`:                                {Header: map[string]string{"A": "~["}},
		`query.q: "[" is not a regular`:                                 {Query: map[string]string{"q": "~["}},
		`"10.0.0.1/8" has bits set behind its length: write 10.0.0.0/8`: {Client: []string{"10.0.0.1/8"}},
		`"localhost" is neither an address nor a range`:                 {Client: []string{"localhost"}},
	} {
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", m, err, want)
		}
	}
	for i := range table {
		if err := table[i].Validate(); err != nil {
			t.Errorf("%+v: %v", table[i], err)
		}
	}
}

// TestTableIsAListInOrder compares the table with a look at one route after the other.
func TestTableIsAListInOrder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	segment := func() string { return pick("a", "b", "c", "{x}", "") }
	for range 3000 {
		var routes []routing.Match
		for range 1 + rng.IntN(8) {
			var m routing.Match
			for range rng.IntN(3) {
				path := "/" + segment()
				if path != "/" {
					path += pick("", "/", "/*", "/{r...}", "/"+pick("a", "b", "{y}"))
				} else {
					path = pick("/", "/*", "/{r...}", "~/[ab]+/?")
				}
				m.Path = append(m.Path, path)
			}
			for range rng.IntN(2) {
				m.Host = append(m.Host, pick("h", "a.h", "*.h"))
			}
			for range rng.IntN(2) {
				m.Method = append(m.Method, pick("GET", "POST"))
			}
			if err := m.Validate(); err != nil {
				t.Fatal(err)
			}
			routes = append(routes, m)
		}
		all := routing.New(routes)
		for range 20 {
			r := request(pick("GET", "HEAD", "POST"), pick("h", "a.h", "b.h", "x"), "/"+pick("a", "b", "c", "d", "")+pick("", "/", "/a", "/b/", "/d/e"))
			want := slices.IndexFunc(routes, func(m routing.Match) bool { return find(routing.New([]routing.Match{m}), r) == 0 })
			if got := find(all, r); got != want {
				t.Fatalf("%s %s%s went to %d, want %d of %+v", r.Method, r.Host, r.URL.Path, got, want, routes)
			}
		}
	}
}

// FuzzFind looks for paths and hosts that bring the table down, or that a pattern for everything does not match.
func FuzzFind(f *testing.F) {
	f.Add("localhost", "/users/7/posts/x", "a=b")
	f.Add("a.example.com:80", "//../x", "%")
	f.Add("", "", "")
	all := routing.New(append(slices.Clone(table), routing.Match{}))
	f.Fuzz(func(t *testing.T, host, path, query string) {
		r := request("GET", host, "/")
		r.URL.Path, r.URL.RawQuery = path, query
		if got := find(all, r); got == -1 {
			t.Errorf("%q %q matches nothing", host, path)
		}
	})
}

// manyRoutes is n routes, half of them with a name in their path.
func manyRoutes(n int) []routing.Match {
	var routes []routing.Match
	for i := range n / 2 {
		routes = append(routes, routing.Match{Path: []string{fmt.Sprintf("/section-%d/page", i)}},
			routing.Match{Path: []string{fmt.Sprintf("/things-%d/{id}/edit", i)}, Method: []string{"GET"}})
	}
	return routes
}

// TestFindAllocatesNothing: not for a route without names, be there as many as there may.
func TestFindAllocatesNothing(t *testing.T) {
	routes := routing.New(manyRoutes(10_000))
	r := request("GET", "www.example.com", "/section-4999/page")
	if n := testing.AllocsPerRun(100, func() { find(routes, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		routes := routing.New(manyRoutes(n))
		for name, path := range map[string]string{"literal": fmt.Sprintf("/section-%d/page", n/2-1), "pattern": fmt.Sprintf("/things-%d/17/edit", n/2-1)} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				r := request("GET", "www.example.com", path)
				b.ReportAllocs()
				for b.Loop() {
					if find(routes, r) < 0 {
						b.Fatal("not found")
					}
				}
			})
		}
	}
}
