package core_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// twoPools is a server with RPC and the pools api and app.
func twoPools(t *testing.T, more string) (*edgetest.Server, *rpc.Client) {
	t.Helper()
	pool := "{command: [" + testenv.PHP(t) + ", " + testenv.Root(t) + "/core/testdata/app.php], user: " + currentUser(t) +
		", workers: {min: 2, max: 2}, env: {APP_KEY: sesame, EDGE_TEST_SDK: " + testenv.Root(t) + "/sdk/php}}"
	s := edgetest.Start(t, `
http: {routes: [{match: {path: /api/*}, php: api}, {php: app}]}
php: {app: `+pool+`, api: `+pool+`}
rpc: {listen: unix://rpc.sock}
`+more)
	c, err := rpc.Dial(t.Context(), "unix://"+s.Dir+"/rpc.sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return s, c
}

func call[T any](t *testing.T, c *rpc.Client, method string, argument any) T {
	t.Helper()
	var answer T
	if err := c.Call(t.Context(), method, argument, &answer); err != nil {
		t.Fatalf("%s %v: %v", method, argument, err)
	}
	return answer
}

type worker struct {
	PID         int     `json:"pid"`
	Status      int     `json:"status"`
	NumExecs    *uint64 `json:"numExecs"`
	Created     int64   `json:"created"`
	MemoryUsage uint64  `json:"memoryUsage"`
	CPUPercent  float64 `json:"CPUPercent"`
	Command     string  `json:"command"`
	StatusStr   string  `json:"statusStr"`
}

func workersSeen(t *testing.T, c *rpc.Client, pool string) []worker {
	t.Helper()
	return call[struct{ Workers []worker }](t, c, "informer.Workers", pool).Workers
}

// TestInformerAndResetter: RoadRunner's PHP packages ask for plugins, and a pool is one. http is all of them.
func TestInformerAndResetter(t *testing.T) {
	t.Parallel()
	s, c := twoPools(t, "")
	for _, method := range []string{"informer.List", "resetter.List"} {
		if got := call[[]string](t, c, method, true); !slices.Equal(got, []string{"api", "app"}) {
			t.Errorf("%s: %q", method, got)
		}
	}
	if got := call[json.RawMessage](t, c, "informer.Workers", "none"); string(got) != `{"workers":null}` {
		t.Errorf("the workers of nobody: %s", got)
	}
	if got := call[json.RawMessage](t, c, "informer.Jobs", "app"); string(got) != "null" {
		t.Errorf("jobs: %s", got)
	}

	before := workersSeen(t, c, "app")
	for _, w := range before {
		if w.PID < 2 || w.Status != 1 || w.StatusStr != "ready" || w.NumExecs == nil || time.Since(time.Unix(0, w.Created)) > time.Hour ||
			w.MemoryUsage < 1<<20 || w.CPUPercent < 0 || !strings.HasSuffix(w.Command, "/core/testdata/app.php") {
			t.Errorf("a worker is %+v", w)
		}
	}
	if all := workersSeen(t, c, "http"); len(before) != 2 || len(all) != 4 {
		t.Errorf("%d workers of app, %d of http", len(before), len(all))
	}

	if !call[bool](t, c, "resetter.Reset", "app") {
		t.Error("the reset is not done")
	}
	for _, w := range workersSeen(t, c, "app") {
		if slices.ContainsFunc(before, func(old worker) bool { return old.PID == w.PID && w.StatusStr == "ready" }) {
			t.Errorf("worker %d has outlived the reset", w.PID)
		}
	}
	var done bool
	if err := c.Call(t.Context(), "resetter.Reset", "jobs", &done); err == nil || err.Error() != "no such plugin: jobs; there are pools 2: api, app" {
		t.Errorf("reset of nobody: %v", err)
	}
	if !call[bool](t, c, "resetter.Reset", "http") || s.Workers()[0].Name != "api" {
		t.Error("the reset of all is not done")
	}
}

func TestAddAndRemoveWorkers(t *testing.T) {
	t.Parallel()
	_, c := twoPools(t, "")
	ready := func(n int) func() bool {
		return func() bool {
			list := workersSeen(t, c, "app")
			return len(list) == n && !slices.ContainsFunc(list, func(w worker) bool { return w.StatusStr != "ready" })
		}
	}
	call[bool](t, c, "informer.AddWorker", "app")
	testenv.Eventually(t, "there are three workers", ready(3))
	call[bool](t, c, "informer.RemoveWorker", "app")
	call[bool](t, c, "informer.RemoveWorker", "app")
	testenv.Eventually(t, "there is one worker", ready(1))
	var done bool
	if err := c.Call(t.Context(), "informer.RemoveWorker", "app", &done); err == nil || !strings.Contains(err.Error(), "without workers nothing is served") {
		t.Errorf("the last worker: %v", err)
	}
	if err := c.Call(t.Context(), "informer.AddWorker", "none", &done); err == nil || !strings.Contains(err.Error(), "no such plugin: none") {
		t.Errorf("a worker for nobody: %v", err)
	}
	if n := len(workersSeen(t, c, "api")); n != 2 {
		t.Errorf("the other pool has %d workers", n)
	}
}

// TestConfigOverRPCHasNoSecrets: every worker may ask for the configuration.
func TestConfigOverRPCHasNoSecrets(t *testing.T) {
	t.Parallel()
	_, c := twoPools(t, "admin: {listen: '127.0.0.1:0', token: 0123456789abcdef-secret}")
	if got := call[string](t, c, "rpc.Version", true); got != "2025.1.15" {
		t.Errorf("rpc.Version: %q", got)
	}
	text := string(call[[]byte](t, c, "rpc.Config", true))
	if strings.Contains(text, "sesame") || strings.Contains(text, "0123456789abcdef-secret") {
		t.Errorf("a secret is in %s", text)
	}
	var cfg struct {
		PHP map[string]struct {
			Workers struct{ Min int }
			Env     map[string]string
		}
		ShutdownTimeout string `json:"shutdown_timeout"`
	}
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		t.Fatal(err)
	}
	if app := cfg.PHP["app"]; app.Workers.Min != 2 || app.Env["APP_KEY"] != "[redacted]" || cfg.ShutdownTimeout != "30s" {
		t.Errorf("the configuration is %s", text)
	}
}

// TestHealth: a server whose workers are all busy takes requests; one that drains is alive and takes none.
func TestHealth(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s, _ := twoPools(t, "telemetry: {health: {listen: '"+address+"'}}")
	check := func(path string) (int, string) {
		t.Helper()
		res, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(body))
	}
	want := func(path string, status int, body string) {
		t.Helper()
		if gotStatus, gotBody := check(path); gotStatus != status || gotBody != body {
			t.Errorf("%s: got %d %s, want %d %s", path, gotStatus, gotBody, status, body)
		}
	}
	both := `[{"plugin_name":"api","error_message":"","status_code":200},{"plugin_name":"app","error_message":"","status_code":200}]`
	want("/health", 200, both)
	want("/ready", 200, both)
	want("/ready?plugin=http&plugin=rpc", 200, strings.NewReplacer("api", "http", "app", "rpc").Replace(both))
	want("/ready?plugin=nobody", 200, "[]")
	want("/jobs", 200, "[]")

	answers := make(chan string, 2)
	for range 2 {
		go func() { // ends when the file is there
			res, err := http.Get(s.HTTP + "/held")
			if err != nil {
				answers <- err.Error()
				return
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			answers <- string(body)
		}()
	}
	testenv.Eventually(t, "all workers of app are busy", func() bool { return busy(s) == 2 })
	want("/ready?plugin=app", 200, `[{"plugin_name":"app","error_message":"","status_code":200}]`)

	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context()) }() // ends with the requests
	testenv.Eventually(t, "the server drains", func() bool { status, _ := check("/ready"); return status == 503 })
	want("/ready", 503, "service is shutting down")
	want("/health", 200, "service is shutting down")
	if err := os.WriteFile(s.Dir+"/release", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if body := <-answers; body != "begun\nended\n" {
			t.Errorf("a request in flight got %q", body)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestHeadersAndRoadRunnersRecord: the middleware headers is outside of the log here, and the log has RoadRunner's fields.
func TestHeadersAndRoadRunnersRecord(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
log: {format: roadrunner}
http:
  middleware: [headers, access-log]
  headers: {response: {X-Powered-By: Edge}, cors: {origins: ["https://app.example"]}}
  routes: [{respond: hello}]
`)
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, m.URL+"/"+m.Name, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		res, err := m.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || res.Header.Get("X-Powered-By") != "Edge" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		if res, err = m.Client.Get(m.URL + "/" + m.Name); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		testenv.Eventually(t, "the request is logged", func() bool {
			return strings.Contains(s.Log.String(), `"logger":"http","msg":"http log","status":200,"method":"GET","URI":"/`+m.Name+`"`)
		})
	})
	if strings.Contains(s.Log.String(), `"method":"OPTIONS"`) {
		t.Error("the middleware that is inside of headers saw what headers answered")
	}
}
