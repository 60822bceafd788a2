package core_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/internal/testenv"
)

// put is a file of a server's folder.
func put(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// with sends a GET with headers, given as name, value, name, value.
func with(t testing.TB, m edgetest.Mode, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return m.Do(t, req)
}

// TestNoTargetAnswersTrace, whatever it is. (What plugins make of it is in TestTCK.)
func TestNoTargetAnswersTrace(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http: {routes: [{match: {path: /respond}, respond: {body: here}}, {match: {path: /redirect}, redirect: {to: /}}, {php: app}]}
`+phpApp(t, "guards.php", ""))
	for _, m := range s.Modes(t) {
		for _, path := range []string{"/respond", "/redirect", "/user"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodTrace, m.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Cookie", "secret=1")
			if res, body := m.Do(t, req); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" || strings.Contains(body, "secret") {
				t.Errorf("%s: TRACE %s got %s %q", m.Name, path, res.Status, body)
			}
		}
	}
}

// TestBasicAuth: the user reaches PHP and the access log, in every protocol, and whoever has no password reaches nothing.
func TestBasicAuth(t *testing.T) {
	t.Parallel()
	hash, err := guard.HashPassword("in the file", 4)
	if err != nil {
		t.Fatal(err)
	}
	s := edgetest.Start(t, `
http:
  middleware: [access-log]
  basic_auth: {staff: {realm: Staff, users: {alice: "plain:secret"}, file: users}}
  routes:
    - {match: {path: /user}, use: [basic-auth/staff], php: app}
`+phpApp(t, "guards.php", ""), func(dir string) { put(t, dir, "users", "bob:"+hash+"\n") })
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		res, _ := m.Get(t, "/user")
		if res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") != `Basic realm="Staff", charset="UTF-8"` {
			t.Errorf("without a password: %s %v", res.Status, res.Header)
		}
		for pair, want := range map[string]string{"alice:secret": "alice", "bob:in the file": "bob", "alice:wrong": "", "eve:secret": ""} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+"/user", nil)
			name, password, _ := strings.Cut(pair, ":")
			req.SetBasicAuth(name, password)
			res, body := m.Do(t, req)
			if want == "" {
				if res.StatusCode != 401 {
					t.Errorf("%s: %s", pair, res.Status)
				}
				continue
			}
			if body != `{"REMOTE_USER":["`+want+`"],"AUTH_TYPE":["Basic"]}` {
				t.Errorf("%s: %s %s", pair, res.Status, body)
			}
		}
	})
	if log := s.Log.String(); !strings.Contains(log, `"user":"alice"`) || strings.Contains(log, `"eve"`) {
		t.Errorf("the access log does not name alice, or it names who has no password:\n%s", log)
	}
}

// TestErrorPagesLeavePHPAlone: pages stand for what Edge answers, of the site, the route, and for JSON, but not for what PHP has answered.
func TestErrorPagesLeavePHPAlone(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  middleware: [access-log, request-id, compress]
  errors:
    - {root: pages}
  routes:
    - {match: {path: /replaced/*}, errors: [{status: 404, file: pages/404.html, replace: true}], php: app}
    - {match: {path: /respond}, respond: {status: 503, body: maintenance}}
    - {match: {path: /files/*}, files: {root: pages, strip: /files}}
    - {match: {path: [/crash, /missing]}, php: app}
`+phpApp(t, "guards.php", ""), func(dir string) {
		put(t, dir, "pages/404.html", "<h1>{status} {path}</h1>")
		put(t, dir, "pages/5xx.html", "<h1>broken</h1>"+strings.Repeat("<!-- long enough to be compressed -->", 100))
		put(t, dir, "pages/error.json", `{"status":{status},"id":"{request_id}"}`)
	})
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for path, want := range map[string]string{
			"/nowhere": "<h1>404 /nowhere</h1>", "/files/none": "<h1>404 /files/none</h1>", "/files/404.html": "<h1>{status} {path}</h1>",
			"/missing": "PHP's own", "/replaced/x": "<h1>404 /replaced/x</h1>", "/respond": "maintenance", "/crash": "<h1>broken</h1>",
		} {
			res, body := with(t, m, path, "Accept", "text/html", "Accept-Encoding", "identity")
			if !strings.HasPrefix(body, want) {
				t.Errorf("%s: %s %q, want %q", path, res.Status, body, want)
			}
		}
		res, body := with(t, m, "/crash", "Accept", "application/json", "X-Request-Id", "number-5")
		if res.StatusCode != 502 || body != `{"status":502,"id":"number-5"}` || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("JSON: %s %v %q", res.Status, res.Header, body)
		}
	})
	if want := fmt.Sprintf(`"bytes_out":%d`, len("<h1>404 /nowhere</h1>")); !strings.Contains(s.Log.String(), want) {
		t.Errorf("the access log does not have the length of the page, %s", want)
	}
}

// TestLimitsOfRoutes: bodies larger than http.limits.body where a route says so, smaller elsewhere, and time that is over.
func TestLimitsOfRoutes(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  limits: {body: 1KiB}
  routes:
    - {match: {path: /length, header: {X-Route: large}}, limits: {body: 8KiB}, php: app}
    - {match: {path: /length, header: {X-Route: small}}, limits: {body: 100}, php: app}
    - {match: {path: /held}, limits: {time: 100ms}, php: app}
    - {php: app}
`+phpApp(t, "guards.php", ""))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for _, tt := range []struct {
			route string
			size  int
			want  int
		}{{"large", 8 << 10, 200}, {"large", 8<<10 + 1, 413}, {"small", 100, 200}, {"small", 101, 413}, {"", 1 << 10, 200}, {"", 1<<10 + 1, 413}} {
			for _, streamed := range []bool{false, true} {
				var body io.Reader = strings.NewReader(strings.Repeat("x", tt.size))
				if streamed {
					body = io.MultiReader(body) // of which nobody knows the length
				}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, m.URL+"/length", body)
				req.Header.Set("X-Route", tt.route)
				req.Header.Set("Content-Type", "text/plain")
				res, text := m.Do(t, req)
				if res.StatusCode != tt.want || tt.want == 200 && text != fmt.Sprint(tt.size) {
					t.Errorf("%+v, streamed %v: %s %q", tt, streamed, res.Status, text)
				}
			}
		}
		if res, body := m.Get(t, "/held"); res.StatusCode != 504 {
			t.Errorf("/held: %s %q", res.Status, body)
		}
		put(t, s.Dir, "release", "") // the worker is free for the next protocol
		testenv.Eventually(t, "no worker is busy", func() bool { return busy(s) == 0 })
		os.Remove(filepath.Join(s.Dir, "release"))
	})
}

// TestConcurrencyLimit over real workers: what is too much is refused at once, and a reload of other things forgets nobody.
func TestConcurrencyLimit(t *testing.T) {
	t.Parallel()
	config := func(text string) string {
		return `
http:
  concurrency: {few: {max: 2, queue: 1, wait: 1m, retry_after: 3s}}
  routes:
    - {match: {path: /held}, use: [concurrency/few], php: app}
    - {respond: "` + text + `"}
` + phpApp(t, "guards.php", "")
	}
	s := edgetest.Start(t, config("first"))
	m := s.Modes(t)[0]
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if res, body := m.Get(t, "/held"); res.StatusCode != 200 || body != "released" {
				t.Errorf("%s %q", res.Status, body)
			}
		})
	}
	metrics := func(want string) func() bool {
		return func() bool { return strings.Contains(metricsOf(t, s), want) }
	}
	testenv.Eventually(t, "one waits", metrics(`edge_concurrency_waiting_requests{limit="few"} 1`))
	full := func() {
		t.Helper()
		if res, _ := m.Get(t, "/held"); res.StatusCode != 503 || res.Header.Get("Retry-After") != "3" {
			t.Errorf("the fourth: %s %v", res.Status, res.Header)
		}
	}
	full()
	s.WriteConfig(t, config("second"))
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	full()
	put(t, s.Dir, "release", "")
	all.Wait()
	for _, want := range []string{`result="queue_full"} 2`, `result="served"} 3`, `edge_concurrency_active_requests{limit="few"} 0`} {
		testenv.Eventually(t, want, metrics(want))
	}
}

// TestHostsAndAddresses: other hosts get 421, other addresses 403, and the headers of security are on all answers.
func TestHostsAndAddresses(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  hosts: [localhost, 127.0.0.1, good.test]
  middleware: [security-headers]
  access: {here: {allow: [private]}, elsewhere: {deny: [127.0.0.1, "::1"]}}
  routes:
    - {match: {path: /here}, use: [access/here], respond: fine}
    - {match: {path: /elsewhere}, use: [access/elsewhere], respond: fine}
`)
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for path, want := range map[string]int{"/here": 200, "/elsewhere": 403, "/none": 404} {
			res, _ := m.Get(t, path)
			if res.StatusCode != want || res.Header.Get("X-Frame-Options") != "SAMEORIGIN" {
				t.Errorf("%s: %s %v", path, res.Status, res.Header)
			}
		}
		for host, want := range map[string]int{"good.test": 200, "evil.test": 421, "good.test.evil.test": 421} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+"/here", nil)
			req.Host = host
			if res, _ := m.Do(t, req); res.StatusCode != want {
				t.Errorf("%s: %s", host, res.Status)
			}
		}
	})
}

// TestEarlyHintsOfPHP: a 103 goes out before PHP has answered, in every protocol, through all that stands between.
func TestEarlyHintsOfPHP(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  middleware: [access-log, request-id, security-headers, compress]
  errors: [{}]
  concurrency: {all: {max: 10}}
  routes: [{use: [concurrency/all], limits: {time: 1m}, php: app}]
`+phpApp(t, "guards.php", ""))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		var hints []string
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, header["Link"]))
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, m.URL+"/hints", nil)
		res, body := m.Do(t, req)
		if body != "hinted" || len(hints) != 1 || hints[0] != "103 [</app.css>; rel=preload; as=style]" || res.Header["Link"] != nil {
			t.Errorf("%s %q, before it %q, %v", res.Status, body, hints, res.Header)
		}
	})
}

// metricsOf is what the admin socket tells Prometheus.
func metricsOf(t testing.TB, s *edgetest.Server) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Dir, ".edge", "admin.sock"))
	}}}
	res, err := client.Get("http://admin/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestBadGuards(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"http: {routes: [{use: [concurrency/x], respond: a}]}":                           `http.routes[0].use[0]: there is no "x" in http.concurrency, which has none`,
		"http: {middleware: [basic-auth/x], basic_auth: {y: {users: {a: \"plain:b\"}}}}": `http.middleware[0]: there is no "x" in http.basic_auth, which has 1: y`,
		"http: {access: {x: {}}}":                                   "http.access.x.allow: name addresses",
		"http: {concurrency: {x: {}}}":                              "http.concurrency.x.max: write how many",
		"http: {basic_auth: {x: {users: {a: secret}}}}":             "http.basic_auth.x.users.a: this is no hash of bcrypt",
		"http: {basic_auth: {x: {file: nowhere}}}":                  "http.basic_auth.x.file: open ",
		"http: {errors: [{status: 200}]}":                           "http.errors[0].status[0]: ",
		"http: {errors: [{root: nowhere}]}":                         "http.errors[0].root: open ",
		"http: {routes: [{respond: a, errors: [{file: nowhere}]}]}": "http.routes[0].errors[0].file: open ",
		"http: {hosts: [\"https://a\"]}":                            "http.hosts[0]: ",
		"http: {routes: [{respond: a, limits: {body: -1}}]}":        "http.routes[0].limits.body: ",
		"http: {security_headers: {content_policy: \"a\\nb\"}}":     "http.security_headers.content_policy: ",
	} {
		_, err := edgetest.TryStart(t, config)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}
