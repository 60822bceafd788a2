package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	config := filepath.Join(testenv.Dir(t), "edge.yaml")
	if err := os.WriteFile(config, []byte(`
version: 1
http:
  listen: [{address: "127.0.0.1:0"}]
  middleware: [request-id]
  routes:
    - {name: new, match: {host: example.com, path: "/users/{id}", header: {X-Version: "2"}}, use: [headers], respond: new}
    - {name: old, match: {path: "/users/*", client: 10.0.0.0/8}, redirect: /other}
    - {name: office, match: {path: "/users/*", query: {page: "~[0-9]+"}}, redirect: /office}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"http.routes[0]  new", "host example.com; path /users/{id}; header X-Version=2", "request-id, headers  respond 200", "redirect 308 /other"}},
		{[]string{"--explain", "GET https://example.com/users/7", "--header", "X-Version: 2"}, []string{"serves it  http.routes[0]", "no: client"}},
		{[]string{"--explain", "https://example.com/users/7", "--client", "10.1.2.3"}, []string{"no: header.X-Version  http.routes[0]", "serves it", "no: query.page"}},
		{[]string{"--explain", "GET https://example.com/users/7?page=3", "--client", "10.1.2.3"}, []string{"serves it", "would, but comes later  http.routes[2]"}},
		{[]string{"--explain", "GET https://example.com/x"}, []string{"no: path", "no route matches: the answer is 404"}},
		{[]string{"--explain", "GET /x"}, []string{`"/x" is not a URL`}},
		{[]string{"--explain", "GET http://h/x", "--client", "me"}, []string{`"me" is not an IP address`}},
		{[]string{"--json", "--explain", "GET http://h/users/1?page=1"}, []string{`"name":"office"`, `"chosen":true`}},
	} {
		var out bytes.Buffer
		run(t.Context(), append([]string{"routes", "-c", config}, tt.args...), &out, &out)
		for _, want := range tt.want {
			if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(want), " ")) {
				t.Errorf("edge routes %q printed\n%swhich has no %q", tt.args, &out, want)
			}
		}
	}
}
