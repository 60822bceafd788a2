package core_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

func TestBrokerConfig(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"memory":                            "",
		"redis":                             "",
		"nats":                              "",
		"{driver: redis, redis: {db: 3}}":   "",
		"{lease: 20s}":                      "",
		"kafka":                             `ws.broker.driver: "kafka" is unknown; write memory, redis or nats`,
		"{driver: redis, nats: {token: x}}": "ws.broker.nats: only the driver nats has it",
		"{redis: {db: 1}}":                  "ws.broker.redis: only the driver redis has it",
		"{prefix: 'a.b'}":                   "ws.broker.prefix:",
		"{lease: 10ms}":                     "ws.broker.lease:",
		"{lease: 2s, timeout: 3s}":          "ws.broker.lease: must be longer than timeout",
		"{queue: 0}":                        "ws.broker.queue:",
		"{driver: redis, redis: {mode: x}}": "ws.broker.redis.mode:",
		"{driver: redis, redis: {addresses: [a]}}":                 "ws.broker.redis.addresses[0]:",
		`{driver: nats, nats: {servers: ["nats://u:hidden@h:1"]}}`: "ws.broker.nats.servers[0]: must not have a name or password",
		"{driver: nats, nats: {storage: disk}}":                    "ws.broker.nats.storage:",
	} {
		path := filepath.Join(testenv.Dir(t), "edge.yaml")
		if err := os.WriteFile(path, []byte("version: 1\nws: {broker: "+config+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := core.Load(path, nil)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", config, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden")):
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// TestBrokerLost: the metrics say what is lost, until it is back.
func TestBrokerLost(t *testing.T) {
	t.Parallel()
	broker := testenv.Redis(t)
	metrics := fmt.Sprint("127.0.0.1:", testenv.FreePort(t))
	s := edgetest.Start(t, `
http: {routes: [{respond: hello}]}
telemetry: {metrics: {listen: "`+metrics+`"}}
ws: {broker: {driver: redis, timeout: 5s, lease: 8s, redis: {addresses: ["`+broker.Addr+`"]}}}
`)
	await := func(line string) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		testenv.Eventually(t, line, func() bool {
			res, err := client.Get("http://" + metrics + "/metrics")
			if err != nil {
				return false
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			return err == nil && strings.Contains(string(body), line)
		})
	}
	await(`edge_ws_broker_lost_parts{driver="redis"} 0`)
	broker.Kill()
	await(`edge_ws_broker_lost_parts{driver="redis"} 1`)
	broker.Start()
	await(`edge_ws_broker_heals_total{driver="redis"} 1`)
	await(`edge_ws_broker_lost_parts{driver="redis"} 0`)
	for _, line := range []string{"the broker is lost", "the broker is back"} {
		if n := strings.Count(s.Log.String(), line); n != 1 {
			t.Errorf("the log has %q %d times", line, n)
		}
	}
}
