package core_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// phpApp is a php section with core/testdata/SCRIPT as the pool app.
func phpApp(t testing.TB, script, more string) string {
	t.Helper()
	root := testenv.Root(t)
	return `
php:
  app:
    command: [` + testenv.PHP(t) + `, ` + root + `/core/testdata/` + script + `]
    env: {EDGE_TEST_SDK: ` + root + `/sdk/php}
    user: ` + currentUser(t) + `
    workers: {min: 2, max: 2}
    ` + more + "\n"
}

func TestRequestThroughPluginToPHPAndBack(t *testing.T) {
	t.Parallel()
	hardening := testenv.CGuest(t, "plugins-wasm/hardening/hardening.c")
	s := edgetest.Start(t, `
http:
  middleware: [access-log, request-id]
  routes:
    - {use: [hardening], php: app}
plugins:
  modules: {hardening: {file: `+hardening+`}}
kv: {counters: {driver: memory}}
rpc: {}
`+phpApp(t, "app.php", ""))

	visits := 0
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		res, body := m.Get(t, "/")
		var page struct {
			PID, Served, Visits int
			Protocol            string
			Stamps              []string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatalf("%s: %v in %q", res.Status, err, body)
		}
		visits++
		if page.PID == 0 || page.Served == 0 || page.Visits != visits {
			t.Errorf("page = %+v, want a pid, a request count and %d visits", page, visits)
		}
		if page.Protocol != m.Proto || res.Proto != m.Proto {
			t.Errorf("protocol: PHP saw %s, the client %s, want %s", page.Protocol, res.Proto, m.Proto)
		}
		if len(page.Stamps) != 1 || !strings.Contains(page.Stamps[0], "plugin=hardening; lang=C") {
			t.Errorf("X-Edge-Stamp = %q, want one of the C plugin", page.Stamps)
		}
		if got := res.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("X-Content-Type-Options = %q, want nosniff from the plugin", got)
		}
		if res.Header.Get("X-Request-Id") == "" {
			t.Error("no X-Request-Id")
		}
		if altSvc := res.Header.Get("Alt-Svc"); (m.Name != "h1" && res.ProtoMajor < 3) != (altSvc != "") {
			t.Errorf("Alt-Svc = %q on %s, want it on the listener with h3, for those who do not speak that yet", altSvc, m.Name)
		}
	})
	if !strings.Contains(s.Log.String(), `"status":200`) {
		t.Error("the access log has no record with status 200")
	}
}

func TestEveryTarget(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  routes:
    - {match: {path: /hello}, respond: hello}
    - {match: {path: /teapot}, respond: {status: 418, headers: {Content-Type: text/html, X-Kind: pot}, body: "<b>short</b>"}}
    - {match: {path: /old/*}, redirect: "https://{host}/new{uri}"}
    - {match: {path: /moved}, redirect: {to: /there, status: 301}}
    - {match: {path: /docs/*}, files: {root: public, strip: /docs}}
    - {match: {method: POST}, respond: posted}
`, func(dir string) {
		os.MkdirAll(filepath.Join(dir, "public"), 0o755)
		os.WriteFile(filepath.Join(dir, "public", "a.txt"), []byte("a file"), 0o644)
		os.WriteFile(filepath.Join(dir, "public", ".env"), []byte("SECRET=1"), 0o644)
		os.WriteFile(filepath.Join(dir, "public", "index.php"), []byte("<?php"), 0o644)
	})

	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for _, tt := range []struct {
			method, path, body string
			status             int
			header, value      string
		}{
			{"GET", "/hello", "hello", 200, "Content-Type", "text/plain; charset=utf-8"},
			{"HEAD", "/hello", "", 200, "Content-Type", "text/plain; charset=utf-8"},
			{"GET", "/teapot", "<b>short</b>", 418, "X-Kind", "pot"},
			{"GET", "/old/x?y=1", "", 308, "Location", "https://" + hostOf(m) + "/new/old/x?y=1"},
			{"GET", "/moved", "", 301, "Location", "/there"},
			{"GET", "/docs/a.txt", "a file", 200, "Content-Type", "text/plain; charset=utf-8"},
			{"GET", "/docs/.env", "404 page not found\n", 404, "", ""},
			{"GET", "/docs/index.php", "404 page not found\n", 404, "", ""},
			{"POST", "/anything", "posted", 200, "", ""},
			{"GET", "/nowhere", "404 page not found\n", 404, "", ""},
		} {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, m.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, body := m.Do(t, req)
			if res.StatusCode != tt.status || body != tt.body {
				t.Errorf("%s %s = %d %q, want %d %q", tt.method, tt.path, res.StatusCode, body, tt.status, tt.body)
			}
			if got := res.Header.Get(tt.header); tt.header != "" && got != tt.value {
				t.Errorf("%s %s: %s = %q, want %q", tt.method, tt.path, tt.header, got, tt.value)
			}
		}
	})
}

func hostOf(m edgetest.Mode) string {
	host := strings.TrimPrefix(strings.TrimPrefix(m.URL, "https://"), "http://")
	return host[:strings.LastIndexByte(host, ':')]
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  limits: {body: 64KiB}
  routes: [{php: app}]
`+phpApp(t, "app.php", ""))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for _, announced := range []bool{true, false} {
			for size, want := range map[int]int{64 << 10: http.StatusOK, 64<<10 + 1: http.StatusRequestEntityTooLarge} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.URL+"/length", bytes.NewReader(make([]byte, size)))
				if err != nil {
					t.Fatal(err)
				}
				if !announced {
					req.ContentLength = -1
				}
				if res, body := m.Do(t, req); res.StatusCode != want {
					t.Errorf("%d bytes, announced %v: %s %q, want %d", size, announced, res.Status, body, want)
				}
			}
		}
	})
}

func TestWorkersGetTheEnvironmentOfRoadRunner(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http: {routes: [{php: app}]}
kv: {counters: {}}
rpc: {}
`+phpApp(t, "app.php", ""))
	_, body := s.Modes(t)[0].Get(t, "/env")
	var env map[string]string
	if err := json.Unmarshal([]byte(body), &env); err != nil {
		t.Fatal(err)
	}
	socket := "unix://" + filepath.Join(s.Dir, ".edge", "rpc.sock")
	for name, want := range map[string]string{
		"RR_MODE": "http", "RR_RELAY": "pipes", "RR_RPC": socket, "RR_VERSION": "2025.1.15", "EDGE_RPC": socket,
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	if env["EDGE_VERSION"] == "" {
		t.Error("no EDGE_VERSION")
	}
}

func TestWorkerCrashCostsOneRequest(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `http: {routes: [{php: app}]}`+phpApp(t, "app.php", ""))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if res, body := m.Get(t, "/crash"); res.StatusCode != http.StatusBadGateway || strings.Contains(body, "signal") {
			t.Errorf("crash = %s %q, want 502 without details", res.Status, body)
		}
		for range 4 {
			if res, body := m.Get(t, "/version"); res.StatusCode != http.StatusOK {
				t.Errorf("after the crash: %s %q", res.Status, body)
			}
		}
	})
}

func TestStreamArrives(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `http: {routes: [{php: app}]}`+phpApp(t, "app.php", ""))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		res, body := m.Get(t, "/stream")
		if body != "data: 0\n\ndata: 1\n\ndata: 2\n\n" || res.ContentLength >= 0 {
			t.Errorf("stream = %q, Content-Length %d", body, res.ContentLength)
		}
	})
}

func TestStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http: {routes: [{php: app}]}
kv: {counters: {driver: memory}}
rpc: {}
`+phpApp(t, "app.php", ""))
	type answer struct {
		status int
		body   string
	}
	modes := s.Modes(t)[:2]
	answers := make(chan answer, len(modes))
	for _, m := range modes {
		go func() {
			res, err := m.Client.Get(m.URL + "/slow")
			if err != nil {
				answers <- answer{body: err.Error()}
				return
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body) // what is missing shows
			answers <- answer{res.StatusCode, string(body)}
		}()
	}
	testenv.Eventually(t, "both requests run", func() bool {
		begun, _ := os.ReadFile(filepath.Join(s.Dir, "slow.started"))
		return len(begun) == 2
	})

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatalf("stop: %v", err)
	}
	for range modes {
		if a := <-answers; a.status != http.StatusOK || a.body != "slow but whole" {
			t.Errorf("request in flight at the stop: %d %q", a.status, a.body)
		}
	}
	if _, err := modes[0].Client.Get(s.HTTP); err == nil {
		t.Error("the listener still accepts after the stop")
	}
}

func TestStartFailuresSayWhatToDo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ config, want string }{
		"unknown key":       {"htp: {}", `did you mean "http"`},
		"two targets":       {"http: {routes: [{respond: a, redirect: /b}]}", "edge.yaml:2: http.routes[0]: needs exactly one target"},
		"no such pool":      {"http: {routes: [{php: app}]}", `there is no pool "app"`},
		"no such plugin":    {"http: {middleware: [jwt], routes: []}\nplugins: {}", "jwt.wasm"},
		"plugins off":       {"http: {middleware: [jwt], routes: []}", `no middleware is called "jwt"`},
		"script is missing": {"http: {routes: [{php: app}]}\nphp: {app: {command: [" + testenv.PHP(t) + ", nowhere.php], user: " + currentUser(t) + "}}", "nowhere.php"},
		"PHP is missing":    {"http: {routes: [{php: app}]}\nphp: {app: {command: [no-such-php, worker.php], user: " + currentUser(t) + "}}", "no-such-php"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := edgetest.TryStart(t, tt.config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("start: %v; want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSecondServerOfAStateDirIsRefused(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `http: {routes: [{respond: a}]}`)
	_, err := edgetest.TryStart(t, "state_dir: "+filepath.Join(s.Dir, ".edge")+"\nhttp: {routes: [{respond: b}]}")
	if err == nil || !strings.Contains(err.Error(), "in use by the edge with pid") {
		t.Errorf("second start: %v", err)
	}
}
