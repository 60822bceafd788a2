package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/rpc"
	"github.com/edge-server/edge/wasmhost"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func everything() Snapshot {
	return Snapshot{
		Version: "1.2.3", Ready: true,
		HTTP: &httpserver.Stats{
			HTTP1: 7, Refused: map[string]uint64{"ambiguous length": 2},
			Listeners: []httpserver.ListenerStats{{Network: "tcp", Address: ":8080", Open: 3}, {Network: "udp", Address: ":8443"}},
		},
		PHP: map[string]php.Stats{"app": {
			Idle: 2, Busy: 1, WaitTotal: 1500 * time.Millisecond, QueueFull: 3, QueueTimeouts: 1, Ended: php.Ended{Memory: 4}, Memory: 4096,
		}, "api": {}},
		Plugins: []wasmhost.PluginStats{{Name: "a", Requests: 5, InGuest: time.Second}, {Name: "b", Degraded: "its file is gone"}},
		KV:      map[string]kv.Stats{"cache": {Driver: "memory", Counts: true, Keys: 4}},
		RPC:     &rpc.Stats{Calls: 9},
	}
}

func TestMetricsOfEveryPart(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	NewCollector(everything, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`edge_info{version="1.2.3"} 1`,
		`edge_ready 1`,
		`edge_http_requests_total{protocol="h1"} 7`,
		`edge_http_refused_total{reason="ambiguous length"} 2`,
		`edge_http_connections{address=":8080",network="tcp"} 3`,
		`edge_php_workers{pool="app",state="idle"} 2`,
		`edge_php_queue_wait_seconds_total{pool="app"} 1.5`,
		`edge_php_rejected_total{pool="app",reason="queue_full"} 3`,
		`edge_php_rejected_total{pool="app",reason="queue_timeout"} 1`,
		`edge_php_ended_total{pool="app",reason="memory"} 4`,
		`edge_php_ended_total{pool="app",reason="crash"} 0`,
		`edge_php_memory_bytes{pool="app"} 4096`,
		`edge_plugin_requests_total{plugin="a"} 5`,
		`edge_plugin_guest_seconds_total{plugin="a"} 1`,
		`edge_plugin_degraded{plugin="b"} 1`,
		`edge_kv_keys{driver="memory",store="cache"} 4`,
		`edge_rpc_calls_total 9`,
		`go_goroutines`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

func TestMetricsFollowTheNamingRules(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector(everything))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestListener(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	log := slog.New(slog.DiscardHandler)

	if err := NewListener(addr, http.NotFoundHandler(), log).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "telemetry.metrics.listen") {
		t.Errorf("start on a port in use: %v", err)
	}
	free.Close()

	l := NewListener(addr, NewCollector(everything, nil), log)
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), "edge_ready 1") {
		t.Errorf("answer %s %q", res.Status, body)
	}
	for range 2 {
		if err := l.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, level := NewLogger(LogConfig{Level: "warn", Format: "auto"}, &out)
	log.Info("not this")
	log.Warn("slow", "took", 1500*time.Millisecond)
	var record struct {
		Level, Msg string
		Took       float64
	}
	if err := json.Unmarshal(out.Bytes(), &record); err != nil || record.Msg != "slow" || record.Took != 1.5 {
		t.Errorf("record %q: %+v, %v; want one JSON line with took in seconds", out.String(), record, err)
	}
	level.Set(slog.LevelInfo)
	if log.Info("now this"); !strings.Contains(out.String(), "now this") {
		t.Error("the level did not change")
	}

	out.Reset()
	log, _ = NewLogger(LogConfig{Level: "info", Format: "console"}, &out)
	if log.Info("hello", "pid", 1); !strings.Contains(out.String(), "INF hello pid=1") {
		t.Errorf("console format: %q", out.String())
	}
}

func TestLogConfigNamesTheKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		config LogConfig
		want   string
	}{{LogConfig{Level: "loud", Format: "json"}, "level: "}, {LogConfig{Level: "info", Format: "xml"}, "format: "}} {
		if err := tt.config.Validate(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want an error for %s", tt.config, err, tt.want)
		}
	}
}
