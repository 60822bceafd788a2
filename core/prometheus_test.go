package core_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestDashboard has a real Prometheus scrape a server that does a little of everything, and asks it every question of the Grafana
// dashboard: each has an answer.
func TestDashboard(t *testing.T) {
	t.Parallel()
	prometheus := testenv.Tool(t, "prometheus", "apt-get install prometheus")
	promtool := testenv.Tool(t, "promtool", "apt-get install prometheus")
	metrics, s := observed(t, "edge")

	text := get(t, "http://"+metrics+"/metrics")
	lint := exec.Command(promtool, "check", "metrics")
	lint.Stdin = strings.NewReader(text)
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}

	api := startPrometheus(t, prometheus, metrics)
	traffic := func() {
		get(t, s.HTTP+"/app/")
		get(t, s.HTTP+"/text")
		get(t, s.HTTP+"/nowhere")
	}
	for _, panel := range dashboard(t) {
		for _, target := range panel.Targets {
			query := strings.NewReplacer("$__rate_interval", "30s", "$instance", ".*").Replace(target.Expr)
			var got queried
			testenv.Eventually(t, fmt.Sprintf("%s has data: %s", panel.Title, query), func() bool {
				traffic()
				got = ask(t, api, query)
				if got.Status != "success" {
					t.Fatalf("%s: %s: %s", panel.Title, query, got.Error)
				}
				return len(got.Data.Result) > 0
			})
			for _, series := range got.Data.Result {
				for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.Legend, -1) {
					if _, there := series.Metric[label[1]]; !there {
						t.Errorf("%s: the legend names %s, and %s has no such label", panel.Title, label[1], query)
					}
				}
			}
		}
	}

	// The numbers themselves, where they are known.
	for query, want := range map[string]string{
		`edge_ready`: "1", `edge_service_processes{service="beside",state="running"}`: "1",
		`sum(edge_php_workers)`: "1", `count(edge_route_requests_total{route="(none)",class="4xx"} > 0)`: "1",
		`count(edge_route_duration_seconds_count{route="app"} > 0)`:      "1",
		`count(edge_route_requests_total{route="text",class="2xx"} > 0)`: "1",
	} {
		testenv.Eventually(t, query+" is "+want, func() bool {
			got := ask(t, api, query)
			return len(got.Data.Result) == 1 && got.Data.Result[0].Value[1] == want
		})
	}
}

// TestRoadRunnerNames: dashboards for RoadRunner find what they look for.
func TestRoadRunnerNames(t *testing.T) {
	t.Parallel()
	promtool := testenv.Tool(t, "promtool", "apt-get install prometheus")
	for _, names := range []string{"roadrunner", "both"} {
		metrics, s := observed(t, names)
		get(t, s.HTTP+"/text")
		var text string
		testenv.Eventually(t, "the request is counted", func() bool {
			text = get(t, "http://"+metrics+"/metrics")
			return strings.Contains(text, `rr_http_request_total{status="200"}`)
		})
		for _, want := range []string{
			"rr_http_total_workers 1", "rr_http_workers_ready 1", "rr_http_workers_working 0", "rr_http_workers_invalid 0", "rr_http_workers_memory_bytes ",
			`rr_http_worker_state{pid="`, `rr_http_worker_memory_bytes{pid="`, "rr_http_requests_queue 0", "rr_http_no_free_workers_total 0",
			`rr_http_request_total{status="200"} 1`, `rr_http_request_duration_seconds_bucket{status="200",le="0.005"}`,
			`rr_http_request_duration_seconds_count{status="200"} 1`, "rr_http_uptime_seconds ",
		} {
			if !strings.Contains(text, "\n"+want) {
				t.Errorf("%s: no %s", names, want)
			}
		}
		if has := strings.Contains(text, "\nedge_php_workers"); has != (names == "both") {
			t.Errorf("%s: names of Edge: %v", names, has)
		}
		lint := exec.Command(promtool, "check", "metrics")
		lint.Stdin = strings.NewReader(text)
		if out, err := lint.CombinedOutput(); err != nil && !bytes.Contains(out, []byte("rr_")) {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
}

// observed is a server with something of every kind, and the address of its metrics.
func observed(t *testing.T, names string) (string, *edgetest.Server) {
	t.Helper()
	metrics := freeAddress(t)
	s := edgetest.Start(t, fmt.Sprintf(`
http:
  routes:
    - {name: app, match: {path: /app/*}, php: app}
    - {name: text, match: {path: /text}, respond: hello}
    - {name: chat, match: {path: /chat}, ws: chat}
php: {app: {command: [%s, %s/core/testdata/app.php], user: %s, workers: {min: 1, max: 1}, env: {EDGE_TEST_SDK: %[2]s/sdk/php}}}
plugins: {modules: {headers: {file: %[4]s}}}
kv: {cache: {driver: memory}}
rpc: {listen: "unix://rpc.sock"}
ws:
  raw: {chat: {php: app}}
  pusher: {apps: {main: {id: "1", key: app-key, secret: secret-of-sixteen}}}
  mercure: {publisher: {secret: a-secret-of-at-least-32-characters}}
services: {beside: {command: [sleep, "1000"], user: %[3]s}}
telemetry: {metrics: {listen: %[5]q, names: %[6]s}}
`, testenv.PHP(t), testenv.Root(t), currentUser(t), testenv.CGuest(t, "plugins-wasm/hardening/hardening.c"), metrics, names))
	return metrics, s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// startPrometheus scrapes target every second; it returns the address of its API.
func startPrometheus(t *testing.T, program, target string) string {
	t.Helper()
	dir, address := testenv.Dir(t), freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: edge, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log testenv.Log
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		http.DefaultClient.CloseIdleConnections()
		if t.Failed() {
			t.Logf("log of Prometheus:\n%s", log.String())
		}
	})
	testenv.Eventually(t, "Prometheus is ready", func() bool {
		res, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return "http://" + address
}

type queried struct {
	Status, Error string
	Data          struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
}

func ask(t *testing.T, api, query string) (got queried) {
	t.Helper()
	if err := json.Unmarshal([]byte(get(t, api+"/api/v1/query?query="+url.QueryEscape(query))), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

type panel struct {
	Type, Title string
	Targets     []struct {
		Expr   string
		Legend string `json:"legendFormat"`
	}
}

// dashboard is what docs/grafana/edge.json asks.
func dashboard(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "grafana", "edge.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Panels []panel }
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	questions := 0
	for _, p := range d.Panels {
		questions += len(p.Targets)
	}
	if questions < 20 {
		t.Fatalf("the dashboard asks %d questions", questions)
	}
	return d.Panels
}
