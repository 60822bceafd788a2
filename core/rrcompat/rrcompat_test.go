package rrcompat

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// variables are the environment of the tests.
func variables(name string) (string, bool) {
	v, ok := map[string]string{"HOST": "10.0.0.1", "EMPTY": "", "N": "3", "SECRET": "s3cret", "BRACE": "a${b}"}[name]
	return v, ok
}

// translate is what `rr serve` (keep false) or `edge migrate` (keep true) makes of a file.
func translate(text string, keep bool, overrides ...string) (*Result, error) {
	c, err := Parse(Source{Name: ".rr.yaml", Text: []byte(text), Overrides: overrides, Lookup: variables})
	if err != nil {
		return nil, err
	}
	return c.Translate(Options{KeepVariables: keep, CPUs: 4})
}

// yamlOf is the result without the comment at its top.
func yamlOf(r *Result) string {
	_, text, _ := strings.Cut(string(r.EdgeYAML), "\n\n")
	return text
}

// octane are the options of `octane:start --server=roadrunner`.
var octane = []string{
	"version=3", "http.address=127.0.0.1:8000", "server.command=/usr/bin/php,/var/www/my app/vendor/bin/roadrunner-worker",
	"http.pool.num_workers=0", "http.pool.max_jobs=500", "rpc.listen=tcp://127.0.0.1:6001", "http.pool.supervisor.exec_ttl=30s",
	"http.static.dir=/var/www/my app/public", "http.middleware=static", "logs.mode=production", "logs.level=warn", "logs.output=stdout",
	"logs.encoding=json",
}

func TestAnEmptyFileAndOverrides(t *testing.T) {
	t.Parallel()
	r, err := translate("", false, octane...)
	if err != nil {
		t.Fatal(err)
	}
	want := `version: 1
log:
  level: warn
  format: roadrunner
http:
  listen:
    - address: 127.0.0.1:8000
      h2c: false
  limits:
    body: 1000MiB
  middleware: [access-log]
  routes:
    - php: http
php:
  http:
    command: [/usr/bin/php, /var/www/my app/vendor/bin/roadrunner-worker]
    workers:
      min: 4
      max: 4
    max_jobs: 500
    exec_timeout: 30s
    boot_timeout: 1m
    queue:
      max: 10000
      timeout: 1m
    root: /var/www/my app/public
    static:
      links: [/] # as RoadRunner: wherever a link leads that workers may read; name your folders instead
rpc:
  listen: tcp://127.0.0.1:6001
`
	if diff := cmp.Diff(want, yamlOf(r)); diff != "" {
		t.Errorf("edge.yaml (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Logs{Mode: "production", Level: "warn", Encoding: "json", Output: []string{"stdout"}}, r.Logs); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
	for _, f := range r.Findings {
		if f.Warning {
			t.Errorf("a warning about what Octane always says: %s", f)
		}
	}
}

// everything has each key that has a counterpart, in letters of either case.
const everything = `
version: "3"
Server:
  Command: "php  worker.php"
  relay: unix://rr.sock
  user: app
  group: app
  env: [{app_key: "${SECRET}"}, {Path_X: "a$${HOST}"}, {brace: "${BRACE}"}]
  on_init: {command: "php artisan  migrate", exec_timeout: 5s, exit_on_error: true, env: {a: b}}
http:
  address: ${HOST}:${PORT:-80}
  max_request_size: 10
  raw_body: true
  access_logs: true
  internal_error_code: 502
  middleware: [sendfile, static, headers, http_metrics]
  uploads: {dir: /tmp/up, forbid: [.php, exe], allow: [.png]}
  static: {dir: public, forbid: [.php, .htaccess, EXE], allow: ".css,.js", calculate_etag: true}
  headers:
    request: {X-From: edge}
    response: {X-Powered-By: Edge}
    cors: {allowed_origin: "https://a.example, https://b.example", allowed_methods: "GET,PUT", allowed_headers: "*", allow_credentials: true, max_age: 600}
  ssl: {address: ":443", cert: c.pem, key: k.pem, redirect: true}
  http2: {h2c: true, max_concurrent_streams: 64}
  http3: {address: ":443", cert: c.pem, key: k.pem}
  pool:
    num_workers: ${N}
    max_jobs: 100
    max_queue_size: 20
    allocate_timeout: 10s
    stream_timeout: 20s
    destroy_timeout: 90s
    reset_timeout: 1s
    command: php,http.php
    debug: false
    supervisor: {watch_tick: 1s, ttl: 1h, idle_ttl: 1m30s, max_worker_memory: 128, exec_ttl: 60s}
    dynamic_allocator: {max_workers: 25, spawn_rate: 10, idle_timeout: 10s}
rpc: {listen: unix:///run/rr.sock}
kv: {cache: {driver: memory, config: {interval: 60}}}
metrics: {address: 127.0.0.1:2112}
status: {address: 127.0.0.1:2114, unavailable_status_code: 500, check_timeout: 5}
logs: {mode: production, level: info, channels: {http: {level: error}, server: {mode: raw}}}
endure: {grace_period: 10s, log_level: error, watchdog_sec: 30}
`

func TestEveryKeyHasItsCounterpart(t *testing.T) {
	t.Parallel()
	r, err := translate(everything, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `version: 1
shutdown_timeout: 1m30s
log:
  level: info
  format: roadrunner
http:
  listen:
    - address: 10.0.0.1:80
      h2c: true
      redirect: true
    - address: :443
      tls: true
      http3: true
  tls:
    cert: c.pem
    key: k.pem
  limits:
    body: 10MiB
    streams: 64
  headers:
    request:
      X-From: edge
    response:
      X-Powered-By: Edge
    cors:
      origins: ['https://a.example', 'https://b.example']
      methods: [GET, PUT]
      headers: ['*']
      credentials: true
      max_age: 10m
  middleware: [access-log, headers]
  routes:
    - php: http
php:
  http:
    command: [php, http.php]
    workers:
      min: 3
      max: 28
    max_jobs: 100
    relay: unix
    ttl: 1h
    idle_ttl: 1m30s
    max_memory: 128MiB
    exec_timeout: 1m
    boot_timeout: 10s
    stop_timeout: 20s
    queue:
      max: 17
      timeout: 10s
    user: app
    env:
      APP_KEY: s3cret
      PATH_X: "a{HOST}"
      BRACE: "a$${b}"
    body:
      raw: true
    uploads:
      dir: /tmp/up
      forbid: [.php, .exe]
      allow: [.png]
    root: public
    static:
      forbid: [.exe]
      allow: [.css, .js]
      links: [/] # as RoadRunner: wherever a link leads that workers may read; name your folders instead
    sendfile:
      folders: [/] # as RoadRunner: any file that workers may read; name your folders instead
    error_status: 502
rpc:
  listen: unix:///run/rr.sock
kv:
  cache:
    driver: memory
telemetry:
  metrics:
    listen: 127.0.0.1:2112
    names: both
  health:
    listen: 127.0.0.1:2114
    unavailable_status: 500
`
	if diff := cmp.Diff(want, yamlOf(r)); diff != "" {
		t.Errorf("edge.yaml (-want +got):\n%s", diff)
	}
	for _, f := range r.Findings {
		if f.Warning {
			t.Errorf("a warning: %s", f)
		}
	}
	if want := (&OnInit{Command: []string{"php", "artisan", "migrate"}, Env: []string{"A=b"}, Timeout: 5 * time.Second, ExitOnError: true}); !cmp.Equal(want, r.OnInit) {
		t.Errorf("on_init: got %+v, want %+v", r.OnInit, want)
	}
	if !r.AccessLogs || r.Watchdog != 30*time.Second {
		t.Errorf("access logs %v, watchdog %s", r.AccessLogs, r.Watchdog)
	}
	if got := r.Logs.Channels["server"].Mode; got != "raw" {
		t.Errorf("the channel server has mode %q", got)
	}
}

// TestMigrationKeepsVariables: a secret that was in the environment stays there.
func TestMigrationKeepsVariables(t *testing.T) {
	t.Parallel()
	r, err := translate(everything, true)
	if err != nil {
		t.Fatal(err)
	}
	text := string(r.EdgeYAML)
	if strings.Contains(text, "s3cret") {
		t.Errorf("the value of a variable is in the file:\n%s", text)
	}
	for _, want := range []string{
		`APP_KEY: "${SECRET:-}"`, `address: "${HOST:-}:${PORT:-80}"`, "min: 3",
		"#   http.pool.num_workers: was ${N} and is now what that was", "# Is different:", "#   server.on_init: `php artisan migrate` does not run",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

// TestNothingIsDroppedInSilence: what Edge has not is named once, and so is what nobody knows.
func TestNothingIsDroppedInSilence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ yaml, want string }{
		{"jobs: {consume: [a], pipelines: {a: {driver: memory}}}", "jobs: Edge has no job queues yet"},
		{"amqp: {addr: x}", "amqp: is a driver of jobs"},
		{"grpc: {listen: x}", "grpc: Edge has no gRPC"},
		{"temporal: {address: x}", "temporal: Edge does not run Temporal"},
		{"centrifuge: {proxy_address: x}", "centrifuge: "},
		{"websockets: {path: /ws}", "websockets: "},
		{"tcp: {servers: {}}", "tcp: "},
		{"service: {a: {command: b, restart: 1}}", "service.a.restart: RoadRunner has no such key"},
		{"fileserver: {address: x}", "fileserver: "},
		{"otel: {exporter: zipkin, endpoint: x}", "otel.exporter: Edge sends traces by OTLP over HTTP only"},
		{"otel: {exporter: otlp, client: grpc, headers: {a: b}}", "otel.client: Edge sends traces by OTLP over HTTP only"},
		{"otel: {exporer: otlp}", "otel.exporer: RoadRunner has no such key"},
		{"kv: {r: {driver: mine, config: {a: b}}}", "kv.r: Edge has no driver mine"},
		{"kv: {r: {driver: redis, config: {adrs: [a]}}}", "kv.r.config.adrs: RoadRunner has no such key"},
		{"kv: {r: {driver: boltdb, config: {permissions: 777}}}", "kv.r.config.permissions: 777 is 1411"},
		{"kv: {r: {driver: redis, config: {read_timeout: 5}}}", "kv.r.config.read_timeout: 5 has no unit"},
		{"metrics: {collect: {a: {type: counter, bucket: [1]}}}", "metrics.collect.a.bucket: RoadRunner has no such key"},
		{"whatever: {a: 1}", "whatever: RoadRunner has no such key"},
		{"logs: {mod: raw}", "logs.mod: RoadRunner has no such key"},
		{"http: {address: 'a:1', pol: {}}", "http.pol: RoadRunner has no such key"},
		{"http: {address: 'a:1', pool: {num_worker: 1}}", "http.pool.num_worker: RoadRunner has no such key"},
		{"http: {address: 'a:1', middleware: [mine]}", "http.middleware mine: Edge has no middleware"},
		{"http: {address: 'a:1', middleware: [static], static: {dir: p, response: {a: b}}}", "http.static.response: "},
		{"http: {address: 'a:1', middleware: [static], static: {dir: p, alow: [.css]}}", "http.static.alow: RoadRunner has no such key"},
		{"http: {address: 'a:1', fcgi: {address: 'b:2'}}", "http.fcgi: Edge does not answer FastCGI"},
		{"rpc: {listen: 'tcp://0.0.0.0:6001'}", "rpc.listen: tcp://0.0.0.0:6001 can be reached from elsewhere"},
		{"http: {address: 'a:1', pool: {allocate_timeout: 60}}", "http.pool.allocate_timeout: 60 has no unit and is 60ns"},
		{"logs: {file_logger_options: {log_output: a.log, maxsize: 1}}", "logs.file_logger_options.maxsize: RoadRunner has no such key"},
	} {
		r, err := translate("server: {command: php w.php}\n"+tt.yaml, false)
		if err != nil {
			t.Errorf("%s: %v", tt.yaml, err)
			continue
		}
		found := 0
		for _, f := range r.Findings {
			if f.Warning && strings.HasPrefix(f.String(), tt.want) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s: %d warnings begin with %q among %q", tt.yaml, found, tt.want, r.Findings)
		}
	}
}

// TestWhatHasNoEffectIsNoted, each key once, and no other key with it.
func TestWhatHasNoEffectIsNoted(t *testing.T) {
	t.Parallel()
	for key, yaml := range map[string]string{
		"http.pool.reset_timeout": "http: {address: 'a:1', pool: {num_workers: 1, reset_timeout: 1s}}",
		"status.check_timeout":    "http: {address: 'a:1', pool: {num_workers: 1}}\nstatus: {address: 'a:2', check_timeout: 5}",
		"endure.print_graph":      "http: {address: 'a:1', pool: {num_workers: 1}}\nendure: {print_graph: true}",
		"endure.log_level":        "http: {address: 'a:1', pool: {num_workers: 1}}\nendure: {log_level: debug}",
		// No second word about a store that is not there.
		"kv.r": "http: {address: 'a:1', pool: {num_workers: 1}}\nkv: {r: {driver: mine}}",
	} {
		r, err := translate("server: {command: php w.php}\n"+yaml, false)
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		if len(r.Findings) != 1 || r.Findings[0].Key != key {
			t.Errorf("%s: got %q, want one of %s", yaml, r.Findings, key)
		}
	}
}

// TestNothingIsSaidToBeInTheMaking that is there.
func TestNothingIsSaidToBeInTheMaking(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"centrifuge: {}": "the section ws of edge.yaml",
		"websockets: {}": "the section ws of edge.yaml",
		"http: {address: 'a:1', middleware: [cache]}":        "http.cache of edge.yaml",
		"http: {address: 'a:1', middleware: [http_metrics]}": "under rr_http_*",
	} {
		r, err := translate("server: {command: php w.php}\n"+yaml, false)
		if err != nil {
			t.Fatal(err)
		}
		var said string
		for _, f := range r.Findings {
			said += f.String() + "\n"
		}
		if !strings.Contains(said, want) || strings.Contains(said, "in the making") {
			t.Errorf("%s: %q is not in\n%s", yaml, want, said)
		}
	}
}

// TestWhatIsRefused: what would be wrong to leave away stops the start, and every mistake names its place.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ yaml, want string }{
		{"http: {address: 'a:1', ssl: {acme: {email: a@b}}}", "http.ssl.acme.domains: is missing"},
		{"http: {address: 'a:1', ssl: {cert: c, key: k, client_auth_type: require_and_verify_client_cert}}", "http.ssl.client_auth_type: needs root_ca"},
		{"http: {address: 'a:1', ssl: {cert: c}}", "http.ssl: needs both cert and key"},
		{"http: {fcgi: {address: 'b:2'}}", "http.fcgi: Edge does not answer FastCGI, and there is no other"},
		{"http: {pool: {}}", "http.address: is missing"},
		{"http: {address: 'a:1', pool: {num_workers: many}}", `.rr.yaml:2: http.pool.num_workers: "many" is not a whole number`},
		{"http: {address: 'a:1', pool: {num_workers: 501}}", "http.pool.num_workers: RoadRunner takes up to 500"},
		{"http: {address: 'a:1', pool: {allocate_timeout: '60'}}", `http.pool.allocate_timeout: "60" has no unit: write 60s`},
		{"http: {address: 'a:1', pool: {debug: maybe}}", `http.pool.debug: "maybe" is neither true nor false`},
		{"http: {address: 'a:1', pool: 4}", "http.pool: is a section and has a value here"},
		{"logs: {mode: loud}", `logs.mode: "loud" is not`},
		{"status: {check_timeout: 3}", "status.address: is missing"},
		{"http: {address: a, Address: b}", ".rr.yaml:2: Address: stands here twice"},
		{"include: [x.yaml]", "include: other files cannot be read here"},
		{"a: [", ".rr.yaml: "},
		{"x: &a [*a]", "deeper than"},
	} {
		_, err := translate("server: {command: php w.php}\n"+tt.yaml, false)
		if err == nil || strings.Count(err.Error(), tt.want) != 1 {
			t.Errorf("%s: got %v, want %q once", tt.yaml, err, tt.want)
		}
	}
	if _, err := translate("http: {address: 'a:1'}", false); err == nil || !strings.Contains(err.Error(), "server.command: is missing") {
		t.Errorf("without a command: %v", err)
	}
	for override, want := range map[string]string{"http": "write -o key=value", "=a": "the key is empty", "a=": "the value is empty", "a..b=c": "a part of the key is empty"} {
		if _, err := translate("", false, override); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-o %s: got %v, want %q", override, err, want)
		}
	}
}

func TestOverridesWinAndIncludesToo(t *testing.T) {
	t.Parallel()
	files := map[string]string{"b.yaml": "version: '3'\nhttp: {address: 'b:2', raw_body: true}", "c.yaml": "version: '2'"}
	parse := func(text string, overrides ...string) (*Config, error) {
		return Parse(Source{
			Name: ".rr.yaml", Text: []byte(text), Overrides: overrides, Lookup: variables,
			Include: func(name string) ([]byte, error) {
				if text, ok := files[name]; ok {
					return []byte(text), nil
				}
				return nil, fs.ErrNotExist
			},
		})
	}
	c, err := parse("version: '3'\ninclude: [b.yaml]\nserver: {command: php w.php}\nhttp: {address: 'a:1', pool: {num_workers: 2}}", "http.Pool.Num_Workers=7")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Translate(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"address: b:2", "raw: true", "min: 7"} {
		if !strings.Contains(string(r.EdgeYAML), want) {
			t.Errorf("there is no %q in\n%s", want, r.EdgeYAML)
		}
	}
	if _, err := parse("version: '3'\ninclude: c.yaml"); err == nil || !strings.Contains(err.Error(), `version: is "2", and "3" in .rr.yaml`) {
		t.Errorf("another version in an included file: %v", err)
	}
	if _, err := parse("include: [b.yaml none.yaml]"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an included file that is not there: %v", err)
	}
}

func TestVersionGate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ yaml, warning, problem string }{
		{`version: "3"`, "", ""}, {"version: 3", "", ""}, {`version: "2.7"`, "older schema", ""}, {"", "", "version: is missing"},
	} {
		c, err := Parse(Source{Name: ".rr.yaml", Text: []byte(tt.yaml)})
		if err != nil {
			t.Fatal(err)
		}
		warning, err := c.CheckVersion()
		if !strings.Contains(warning, tt.warning) || (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s: %q, %v", tt.yaml, warning, err)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, expanded, reference string }{
		{"plain", "plain", "plain"},
		{"$HOST:1", "10.0.0.1:1", "${HOST:-}:1"},
		{"${NONE:-d}${HOST}", "d10.0.0.1", "${NONE:-d}${HOST:-}"},
		{"${EMPTY:-d}", "d", "${EMPTY:-d}"},
		{"${NONE}", "", "${NONE:-}"},
		{"a ${un.set:-x} b", "a x b", "a x b"},
		{"cost: 5$", "cost: 5$", "cost: 5$"},
	} {
		if got := expand(tt.text, variables); got != tt.expanded {
			t.Errorf("expand %q: got %q, want %q", tt.text, got, tt.expanded)
		}
		if got := reference(tt.text); got != tt.reference {
			t.Errorf("reference %q: got %q, want %q", tt.text, got, tt.reference)
		}
	}
}

// TestResolvedHasNoSecrets is about rpc.Config, which every worker may ask for.
func TestResolvedHasNoSecrets(t *testing.T) {
	t.Parallel()
	c, err := Parse(Source{Name: ".rr.yaml", Lookup: variables, Text: []byte(`
server: {env: {APP: "${SECRET}"}, command: [php, w.php]}
amqp: {addr: "amqp://user:s3cret@mq:5672"}
redis: {password: s3cret, addrs: ["redis://:s3cret@r"]}
HTTP: {address: "${HOST}:80"}
`)})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"server": map[string]any{"env": map[string]any{"app": redacted}, "command": []any{"php", "w.php"}},
		"amqp":   map[string]any{"addr": "amqp://" + redacted + "@mq:5672"},
		"redis":  map[string]any{"password": redacted, "addrs": []any{"redis://" + redacted + "@r"}},
		"http":   map[string]any{"address": "10.0.0.1:80"},
	}
	if diff := cmp.Diff(want, c.Resolved()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDotenv(t *testing.T) {
	t.Parallel()
	pairs, err := ParseDotenv(".env", []byte("\ufeff# a comment\r\nA=1\nexport B = \"two \\\"words\\\" $A\"\nC='$A' # kept\nD=${A}x # gone\nE=\nHOST=mine\nF=$HOST\n"), variables)
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"A", "1"}, {"B", `two "words" 1`}, {"C", "$A"}, {"D", "1x"}, {"E", ""}, {"HOST", "mine"}, {"F", "10.0.0.1"}}
	if diff := cmp.Diff(want, pairs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for text, want := range map[string]string{"A": ".env:1: write NAME=value", "\n1A=b": ".env:2: write", `A="b`: `the quote " does not end`} {
		if _, err := ParseDotenv(".env", []byte(text), variables); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzTranslate: whatever the file says, the outcome is an error or a text that is YAML again, with no value of a variable in it
// that should have stayed one.
func FuzzTranslate(f *testing.F) {
	f.Add([]byte(everything), "http.pool.num_workers=4")
	f.Add([]byte("version: '3'\nserver: {command: php w.php}\nhttp: {address: ':80'}"), "a.b=c")
	f.Add([]byte(`{"version": "3", "http": {"address": "$HOST:80"}}`), "server.command=php,w.php")
	f.Add([]byte("a: &x {b: *x}\n<<: [*x]"), "x=${y:-${z}}")
	f.Fuzz(func(t *testing.T, text []byte, override string) {
		for _, keep := range []bool{false, true} {
			r, err := translate(string(text), keep, override)
			if err != nil {
				continue
			}
			if !strings.HasSuffix(string(r.EdgeYAML), "\n") {
				t.Errorf("the result does not end a line: %q", r.EdgeYAML)
			}
			if _, err := parseFile("edge.yaml", r.EdgeYAML); err != nil && len(r.EdgeYAML) < maxFileBytes {
				t.Errorf("the result is no YAML: %v\n%s", err, r.EdgeYAML)
			}
		}
	})
}

func FuzzDotenv(f *testing.F) {
	f.Add([]byte("A=1\nexport B=\"x\\\"y\"\nC='z'\n#\nD=$A"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pairs, err := ParseDotenv(".env", text, variables)
		for _, pair := range pairs {
			if err != nil || !variableName.MatchString(pair[0]) {
				t.Errorf("a pair with the name %q, and %v", pair[0], err)
			}
		}
	})
}
