package core

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/acme"
	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/core/ratelimit"
	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/internal/tlsclient"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/ws/mercure"
	"github.com/edge-server/edge/ws/pusher"
	"github.com/edge-server/edge/ws/raw"
)

// TestReferenceFileIsTrue: edge.yaml documents every key, and what stands behind `#: ` is the default of the code.
func TestReferenceFileIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "edge.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	live, withDefaults := DefaultConfig(), DefaultConfig()
	if _, err := configfile.Parse("edge.yaml", text, nil, &live); err != nil {
		t.Fatalf("the demo: %v", err)
	}
	file, err := configfile.Parse("edge.yaml", configfile.Documented(text), nil, &withDefaults)
	if err != nil {
		t.Fatalf("without the comment marks: %v", err)
	}

	// Sections that only the comments switch on are compared with their defaults, the others with what the demo gets.
	live.Telemetry.Metrics = new(MetricsConfig{}.Defaults().(MetricsConfig))
	live.Telemetry.Metrics.Collect = map[string]telemetry.Collector{"orders_total": {Type: "counter"}}
	live.Telemetry.Traces = new(telemetry.TracesConfig{}.Defaults().(telemetry.TracesConfig))
	live.Telemetry.Health = new(HealthConfig{}.Defaults().(HealthConfig))
	documentRoutes(&live)
	documentTLS(&live.HTTP.TLS)
	limit := ratelimit.Config{}.Defaults().(ratelimit.Config)
	limit.Rate = 100
	live.HTTP.RateLimits = map[string]ratelimit.Config{"api": limit}
	pages := httpcache.Config{}.Defaults().(httpcache.Config)
	pages.Store, pages.IgnoreQuery, pages.Vary, pages.PurgeFrom = "demo", []string{}, []string{}, []string{}
	live.HTTP.Cache = map[string]httpcache.Config{"pages": pages}
	documentGuards(live.HTTP)
	live.HTTP.Headers.CORS = new(middleware.CORSConfig{}.Defaults().(middleware.CORSConfig))
	demo := live.KV["demo"]
	demo.LocalCache = new(kv.LocalCache{}.Defaults().(kv.LocalCache))
	demo.Redis.TLS, demo.Memcached.TLS = &kv.TLSConfig{}, &kv.TLSConfig{}
	live.KV["demo"] = demo
	live.Log.Channels = map[string]telemetry.Channel{"http": {Level: "warn"}}
	live.HTTP.AccessLog.Headers = []string{}
	live.WS = documentedWS()
	queue := services.Config{}.Defaults().(services.Config)
	queue.Command, queue.Env = []string{"php", "artisan", "queue:work"}, map[string]string{}
	live.Services = map[string]services.Config{"queue": queue}
	for _, difference := range configfile.Diff(withDefaults, live) {
		t.Errorf("edge.yaml documents another default than the code has: %s", difference)
	}

	documented := file.Keys()
	for _, key := range configfile.Keys(Config{}) {
		if !slices.ContainsFunc(documented, func(d string) bool { return d == key || strings.HasPrefix(d, key+".") || strings.HasPrefix(d, key+"[") }) {
			t.Errorf("edge.yaml does not document %s", key)
		}
	}
}

// documentTLS adds what only the comments of http.tls say.
func documentTLS(c *httpserver.TLS) {
	c.Certificates = []httpserver.Pair{{Cert: "other.pem", Key: "other.key"}}
	c.ACME = &acme.Config{Domains: []string{}, Challenges: []string{}, OnDemand: &acme.OnDemand{Ask: "http://127.0.0.1:9000/may"}}
	auth, hsts := httpserver.ClientAuth{}.Defaults().(httpserver.ClientAuth), httpserver.HSTS{}.Defaults().(httpserver.HSTS)
	auth.CA = "clients.pem"
	c.ClientAuth, c.HSTS, c.ECH = &auth, &hsts, &httpserver.ECH{Keys: []string{"ech.pem"}}
}

// documentGuards adds what only the comments about guards say.
func documentGuards(c *HTTPConfig) {
	gate, auth := guard.Concurrency{}.Defaults().(guard.Concurrency), guard.BasicAuth{}.Defaults().(guard.BasicAuth)
	list, pages := guard.Access{}.Defaults().(guard.Access), guard.ErrorPages{}.Defaults().(guard.ErrorPages)
	gate.Max, auth.Users = 100, map[string]string{"alice": "plain:only with this mark"}
	list.Allow, list.Deny, pages.Host = []string{"private"}, []string{}, []string{}
	c.Concurrency, c.BasicAuth = map[string]guard.Concurrency{"app": gate}, map[string]guard.BasicAuth{"admin": auth}
	c.Routes[0].Errors = []guard.ErrorPages{pages}
	c.Access, c.Errors = map[string]guard.Access{"office": list}, []guard.ErrorPages{pages}
}

// documentRoutes adds what only the comments of the routes say.
func documentRoutes(c *Config) {
	p := proxy.Config{}.Defaults().(proxy.Config)
	p.Upstreams = []proxy.Upstream{{URL: "http://127.0.0.1:3000", Weight: 1}}
	mirror := proxy.Mirror{}.Defaults().(proxy.Mirror)
	mirror.URL = "http://127.0.0.1:3001"
	p.Mirror = &mirror
	c.HTTP.Routes[0].Proxy = &p
	for _, route := range c.HTTP.Routes {
		if route.Files != nil {
			route.Files.Cache = []middleware.CacheRule{{Match: "*.css", Control: "public, max-age=3600"}}
		}
	}
}

// documentedWS is the ws section with what has no default.
func documentedWS() *WSConfig {
	app, hook := pusher.App{}.Defaults().(pusher.App), pusher.Webhook{}.Defaults().(pusher.Webhook)
	app.Key, app.Secret = "app-key", "at least 8 characters"
	hook.URL = "https://example.com/webhook"
	app.Webhooks = []pusher.Webhook{hook}
	c := WSConfig{}.Defaults().(WSConfig)
	chat := raw.Config{}.Defaults().(raw.Config)
	token := raw.JWT{}.Defaults().(raw.JWT)
	token.Algorithms, token.Attributes = []string{}, []string{}
	chat.JWT = &token
	chat.PHP, chat.Origins, chat.Subprotocols = "app", []string{}, []string{}
	c.Raw = map[string]raw.Config{"chat": chat}
	hub := mercure.DefaultConfig()
	hub.Publisher.Secret = "at least 32 characters, which both sides know"
	hub.CORSOrigins, hub.PublishOrigins, hub.Publisher.Algorithms, hub.Subscriber.Algorithms = []string{}, []string{}, []string{}, []string{}
	c.Mercure = &hub
	c.Pusher = &pusher.Config{Apps: map[string]pusher.App{"main": app}}
	broker := WSBroker{}.Defaults().(WSBroker)
	broker.Redis.TLS, broker.NATS.TLS = &tlsclient.Config{}, &tlsclient.Config{}
	c.Broker = &broker
	return &c
}

func TestProblemsHaveTheirPlace(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	path := filepath.Join(dir, "edge.yaml")
	for name, tt := range map[string]struct {
		config string
		want   []string // after the path of the file
	}{
		"a bare http section is on":  {"http:", nil},
		"a bare plugins section too": {"plugins:\nhttp: {middleware: [access-log]}", nil},
		"an empty route":             {"http:\n  routes:\n    - null", []string{":4: http.routes[0]: needs exactly one target"}},
		"an empty pool":              {"php:\n  app:\n", []string{":3: php.app.command: is required"}},
		"a pool with a space":        {"php:\n  my app: {}\n", []string{":3: php.my app.command: is required"}},
		"metrics without a port":     {"telemetry:\n  metrics:\n    listen: here", []string{`:4: telemetry.metrics.listen: "here" is not host:port`}},
		"rpc on any port":            {"rpc:\n  listen: tcp://127.0.0.1:0", []string{":3: rpc.listen: tcp://127.0.0.1:0: workers are told"}},
		"paths that never match": {"http:\n  routes:\n    - match:\n        path: [/a//b, /a/../b, /a/./*, //*, /a/*]\n      respond: a", []string{
			`:5: http.routes[0].match.path[0]: "/a//b" never matches`, `http.routes[0].match.path[1]`, `http.routes[0].match.path[2]`, `http.routes[0].match.path[3]`,
		}},
		"an application without a backend": {"ws:\n  raw:\n    a:\n      jwt: {}", []string{":4: ws.raw.a: needs exactly one of php and wasm", ":5: ws.raw.a.jwt: needs secret"}},
		"a bad header":                     {"http:\n  routes:\n    - respond:\n        headers: {a b: c}", []string{`:5: http.routes[0].respond.headers: "a b"`}},
	} {
		if err := os.WriteFile(path, []byte("version: 1\n"+tt.config), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, nil)
		if err == nil && len(tt.want) == 0 {
			continue
		}
		if err == nil || strings.Count(err.Error(), "\n")+1 != len(tt.want) {
			t.Errorf("%s: %v; want %d problems", name, err, len(tt.want))
			continue
		}
		for i, line := range strings.Split(err.Error(), "\n") {
			if !strings.HasPrefix(line, path+":") || !strings.Contains(line, tt.want[i]) {
				t.Errorf("%s: %q; want %q", name, line, tt.want[i])
			}
		}
	}
}

// TestCheckFindsEverythingAtOnce: what only a look at the machine shows has its line as well.
func TestCheckFindsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	path := filepath.Join(dir, "edge.yaml")
	text := `version: 1
php:
  one: {command: [no-such-program, a.php], user: root}
  two: {command: [no-such-program, b.php], user: root}
plugins:
http:
  listen: [{address: ":0", tls: true}]
  tls:
    cert: nowhere.pem
    key: nowhere.key
  middleware: [absent]
`
	if os.Geteuid() != 0 {
		text = strings.ReplaceAll(text, ", user: root", "")
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = Check(t.Context(), cfg, Options{LogOutput: io.Discard})
	if err == nil {
		t.Fatal("everything is sound")
	}
	for _, want := range []string{":3: php.one.command: ", ":4: php.two.command: ", ":5: plugins: load plugin \"absent\"", ":9: http.tls.cert: "} {
		if !strings.Contains(err.Error(), path+want) {
			t.Errorf("%v\nlacks %q", err, path+want)
		}
	}
	if _, err := os.Stat(cfg.StateDir); err == nil {
		t.Error("the check has made the state folder")
	}
}

func TestNeedsRestart(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	path := filepath.Join(dir, "edge.yaml")
	load := func(text string) *Config {
		if err := os.WriteFile(path, []byte("version: 1\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	var workers []string // only root can have workers that are somebody else
	if os.Geteuid() == 0 {
		workers = []string{"php.app.user"}
	}
	for name, tt := range map[string]struct {
		old, next string
		want      []string
	}{
		"nothing":        {"rpc: {}\nkv: {a: {}}", "rpc: {}\nkv: {a: {}}", nil},
		"what may":       {"http: {}\nlog: {level: info}", "http: {middleware: [request-id]}\nlog: {level: debug}\nplugins: {}\nshutdown_timeout: 1s", nil},
		"the folder":     {"", "state_dir: elsewhere", []string{"state_dir"}},
		"sockets":        {"http: {}", "http: {listen: [{address: \":1\"}], limits: {body: 1}}\nadmin: {listen: off}", []string{"admin", "http.listen", "http.limits"}},
		"switched on":    {"", "http: {}\nrpc: {}\nkv: {a: {}}\ntelemetry: {metrics: {}}", []string{"telemetry", "rpc", "kv.a", "http"}},
		"switched off":   {"kv: {a: {}, b: {}}", "kv: {b: {}}", []string{"kv.a"}},
		"log format":     {"", "log: {format: json}", []string{"log"}},
		"an RPC user":    {"rpc: {}", "rpc: {}\nphp: {app: {command: x, user: nobody}}", workers},
		"a user":         {"", "php: {app: {command: x, user: nobody}}", nil},
		"a pool of root": {"rpc: {}", "rpc: {}\nphp: {app: {command: x, user: root}}", nil},
	} {
		if got := needsRestart(load(tt.old), load(tt.next)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
