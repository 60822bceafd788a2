package core_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestAnswersOnTheirWay is about what error pages, limits, caches and middleware make of the answers of others: nothing that they are not
// asked for.
func TestAnswersOnTheirWay(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 10)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
		case "/missing":
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusNotFound)
		case "/slow", "/limited":
			came <- struct{}{}
			<-r.Context().Done()
		}
		w.Header().Set("Cache-Tag", "news")
		io.WriteString(w, "the upstream's own")
	}))
	defer up.Close()
	s := edgetest.Start(t, fmt.Sprintf(`
kv: {pages: {driver: memory}}
http:
  middleware: [access-log, request-id, security-headers]
  errors: [{}]
  cache: {pages: {store: pages}}
  routes:
    - {match: {path: /respond}, use: [cache/pages], respond: {status: 404, headers: {Cache-Control: max-age=60}, body: its own}}
    - {match: {path: /files/*}, files: {root: public, strip: /files}}
    - {match: {path: /limited}, limits: {time: 20ms}, proxy: %[1]q}
    - {match: {path: /cached/*}, use: [cache/pages], proxy: {upstreams: [%[1]q], strip: /cached}}
    - {name: proxied, proxy: %[1]q}
`, up.URL), func(dir string) { put(t, dir, "public/ten.txt", "0123456789") })
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for range 2 {
			if res, body := m.Get(t, "/respond"); res.StatusCode != 404 || body != "its own" {
				t.Errorf("a stored answer of respond: %s %q", res.Status, body)
			}
			if res, body := m.Get(t, "/cached/missing"); res.StatusCode != 404 || body != "the upstream's own" {
				t.Errorf("a stored answer of an upstream: %s %q", res.Status, body)
			}
		}
		for range 10 {
			if res, _ := m.Get(t, "/limited"); res.StatusCode != 504 {
				t.Errorf("a route with a limit: %s", res.Status)
			}
			<-came
		}
		if res, _ := m.Get(t, "/hints"); res.StatusCode != 200 || res.Header.Get("X-Request-Id") == "" || res.Header.Get("X-Frame-Options") == "" || res.Header.Get("Link") == "" {
			t.Errorf("after hints: %s %v", res.Status, res.Header)
		}
		if res, _ := with(t, m, "/files/ten.txt", "Range", "bytes=20-"); res.StatusCode != 416 || res.Header.Get("Content-Range") != "bytes */10" {
			t.Errorf("a range that there is not: %s %v", res.Status, res.Header)
		}
		if res, body := with(t, m, "/files/ten.txt", "Range", "lines=1-2"); res.StatusCode != 200 || body != "0123456789" {
			t.Errorf("a range in lines: %s %q", res.Status, body)
		}
		post, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+"/cached/x", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if res, _ := m.Do(t, post); res.StatusCode != 200 || res.Header.Get("Cache-Tag") != "" {
			t.Errorf("POST through a cache: %s %v", res.Status, res.Header)
		}
		before := strings.Count(s.Log.String(), `"status":499`)
		for _, path := range []string{"/slow", "/cached/slow"} {
			ctx, leave := context.WithCancel(t.Context())
			r, err := http.NewRequestWithContext(ctx, "GET", m.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			gone := make(chan struct{})
			go func() { // ends when its context does
				defer close(gone)
				if res, err := m.Client.Do(r); err == nil {
					res.Body.Close()
				}
			}()
			<-came
			leave()
			<-gone
		}
		testenv.Eventually(t, "the access log has the clients that left", func() bool { return strings.Count(s.Log.String(), `"status":499`) == before+2 })
	})
	if strings.Contains(s.Log.String(), `"status":500`) {
		t.Error("a client that leaves counts as a failure of the server")
	}
}

// TestRedirectingListener: it is no way past the hosts and the middleware of all requests, and asks for no password that could be overheard.
func TestRedirectingListener(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	put(t, dir, "edge.yaml", `version: 1
http:
  hosts: [example.com]
  basic_auth: {staff: {users: {alice: "plain:secret"}}}
  middleware: [access-log, request-id, basic-auth/staff]
  routes: [{respond: here}]
`)
	s := edgetest.StartDir(t, dir, `EDGE_HTTP__LISTEN=[{address: "127.0.0.1:0", redirect: true}, {address: "127.0.0.1:0", tls: true}]`)
	for host, want := range map[string]int{"example.com": 308, "evil.test": 421} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.HTTP+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		client := http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if to := res.Header.Get("Location"); res.StatusCode != want || (want == 308) != strings.HasPrefix(to, "https://example.com:") || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %s to %q %v", host, res.Status, to, res.Header)
		}
		if !strings.Contains(s.Log.String(), fmt.Sprintf(`"status":%d`, want)) {
			t.Errorf("the access log has no %d", want)
		}
	}
}
