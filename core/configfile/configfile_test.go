package configfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/internal/bytesize"
)

// load reads text over *into and fails the test when there are problems.
func load(t *testing.T, text string, environ []string, into any) *configfile.File {
	t.Helper()
	file, err := configfile.Parse("edge.yaml", []byte(text), environ, into)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadReadsAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(path, []byte("log: {level: debug}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := defaults()
	file, err := configfile.Load(path, []string{"EDGE_LOG__COLOR=false"}, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Log != (logConfig{Level: "debug", Color: false}) || file.Line("log.level") != 1 {
		t.Errorf("got %+v, line %d", cfg.Log, file.Line("log.level"))
	}
}

func TestLoadWithoutAFileReadsTheEnvironment(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	file, err := configfile.Load("", []string{"EDGE_LOG__LEVEL=warn"}, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Log.Level != "warn" || !file.Has("log") || file.Line("log.level") != 0 {
		t.Errorf("got %+v", cfg.Log)
	}
}

func TestLoadSaysWhyAFileCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := configfile.Load(filepath.Join(dir, "none.yaml"), nil, new(config)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := configfile.Load(dir, nil, new(config)); err == nil {
		t.Error("a folder was read")
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, slices.Repeat([]byte("# comment\n"), 200_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := configfile.Load(large, nil, new(config)); err == nil || !strings.Contains(err.Error(), "larger than 1024 KiB") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := configfile.Load("", nil, config{}); err == nil {
		t.Error("a target that is no pointer was accepted")
	}
}

func TestDecodingKeepsWhatTheFileLeavesOut(t *testing.T) {
	t.Parallel()
	max := 7
	given := func() config {
		cfg := defaults()
		cfg.HTTP = &httpConfig{
			Listen: []listenConfig{{Address: ":1", TLS: true, Backlog: 9}, {Address: ":2"}}, Limits: limits{Header: 5, Idle: 6},
		}
		cfg.PHP = map[string]poolConfig{"app": {Timeout: time.Hour, Max: &max, shared: shared{"root"}}, "other": {Timeout: 1}}
		cfg.Plugins = &pluginsConfig{Dir: "kept", Modules: map[string]moduleConfig{
			"m": {Config: map[string]any{"old": 1}, Extra: map[string]any{"old": 1}},
		}}
		return cfg
	}
	text := `
http:
  listen: [{address: ":3"}]
  limits: {idle: 0}
php:
  app: {workers: {max: 3}}
plugins:
  modules: {m: {config: {new: 2}, extra: {new: 2}}}
`
	before, cfg := given(), given()
	defaultPools := cfg.PHP
	load(t, text, nil, &cfg)

	want := given()
	want.HTTP.Listen = []listenConfig{{Address: ":3", Backlog: 128}}
	want.HTTP.Limits.Idle = 0
	want.PHP["app"] = poolConfig{Workers: workers{Max: 3}, Timeout: time.Hour, Max: &max, shared: shared{"root"}}
	want.Plugins.Modules["m"] = moduleConfig{Config: map[string]any{"new": 2}, Extra: map[string]any{"old": 1, "new": 2}}
	if diff := cmp.Diff(want, cfg, cmp.AllowUnexported(config{}, poolConfig{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !reflect.DeepEqual(defaultPools, before.PHP) {
		t.Errorf("decoding wrote into the map that the defaults share: %+v", defaultPools)
	}
}

func TestABareSectionDoesNotWipeAPrefilledOne(t *testing.T) {
	t.Parallel()
	cfg := config{HTTP: &httpConfig{Middleware: []string{"kept"}}, PHP: map[string]poolConfig{"app": {Timeout: 1}}}
	file := load(t, "http:\nphp:\n  app:\nplugins:\n", nil, &cfg)
	if cfg.HTTP == nil || !slices.Equal(cfg.HTTP.Middleware, []string{"kept"}) || cfg.PHP["app"].Timeout != 1 {
		t.Errorf("got %+v %+v", cfg.HTTP, cfg.PHP)
	}
	if cfg.Plugins == nil || cfg.Hosts != nil {
		t.Errorf("plugins %v must be on, hosts %v must be off", cfg.Plugins, cfg.Hosts)
	}
	for key, want := range map[string]bool{"http": true, "php.app": true, "plugins": true, "hosts": false, "php.ap": false, "": false} {
		if file.Has(key) != want {
			t.Errorf("Has(%q) = %v", key, !want)
		}
	}
}

func TestProblemsLeaveTheTargetUntouched(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	if _, err := configfile.Parse("edge.yaml", []byte("state_dir: new\nversion: x\n"), nil, &cfg); err == nil {
		t.Fatal("no problem")
	}
	if !reflect.DeepEqual(cfg, defaults()) {
		t.Errorf("got %+v", cfg)
	}
}

func TestProblemsOfValidateGetTheirLines(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	file := load(t, `
state_dir: ${DIR}
hosts:
  example.com:
    name: x
  example.com.de:
    respond:
      status: 99
http:
  routes:
    - name: a
      host: [b, c]
    - respond: text
php:
  app:
    user: ${USER}-${TOKEN}
`, []string{"DIR=/secret/dir", "USER=me", "TOKEN=t0p\"secret", "EDGE_LOG__LEVEL=loudest", "EDGE_PHP__NEW__WORKERS__MAX=3"}, &cfg)

	inner := errors.Join(errors.New("respond.status: must be 200 or more, got 99"), errors.New("host: is missing"))
	err := file.Problems(errors.Join(
		errors.New("http.routes[1].respond.body: is too short"),
		errors.New(`http.routes[0].host[1]: "c" is not a host`),
		fmt.Errorf("hosts.example.com.de.%w", inner),
		errors.New(`log.level: "loudest" is not a level`),
		errors.New(`state_dir: open /secret/dir/x: not found`),
		errors.New(`php: user "me-t0p\"secret" of app is unknown; the token is t0p"secret`),
		errors.New("php.new.workers.max: must be more than 5, got 3"),
		errors.New("plugins.dir: must not be empty"),
		fmt.Errorf("%w (as always)", errors.New("something is wrong everywhere")),
		nil,
	))
	want := strings.TrimPrefix(`
edge.yaml: plugins.dir: must not be empty
edge.yaml: something is wrong everywhere (as always)
edge.yaml:2: state_dir: open ${DIR}/x: not found
edge.yaml:6: hosts.example.com.de.host: is missing
edge.yaml:8: hosts.example.com.de.respond.status: must be 200 or more, got 99
edge.yaml:12: http.routes[0].host[1]: "c" is not a host
edge.yaml:13: http.routes[1].respond.body: is too short
edge.yaml:14: php: user "me-${TOKEN}" of app is unknown; the token is ${TOKEN}
EDGE_LOG__LEVEL: log.level: ${EDGE_LOG__LEVEL} is not a level
EDGE_PHP__NEW__WORKERS__MAX: php.new.workers.max: must be more than 5, got 3`, "\n")
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	var problems *configfile.Problems
	if !errors.As(err, &problems) || problems.List[2].Line != 2 || problems.List[2].Key != "state_dir" {
		t.Errorf("got %#v", err)
	}
	if err := file.Problems(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestAnEnvironmentValueMovesThePlaceOfAProblem(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	file := load(t, "http:\n  middleware: [a, b]\n  limits: {idle: 1s}\n", []string{"EDGE_HTTP__MIDDLEWARE=[c]"}, &cfg)
	err := file.Problems(errors.Join(errors.New("http.middleware[0]: unknown"), errors.New("http.middleware[1]: unknown"), errors.New("http.limits.idle: short")))
	want := "edge.yaml:3: http.limits.idle: short\nEDGE_HTTP__MIDDLEWARE: http.middleware[0]: unknown\nEDGE_HTTP__MIDDLEWARE: http.middleware[1]: unknown"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTwoLoadsShareNothing(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			cfg := defaults()
			load(t, fmt.Sprintf("php: {app: {workers: {max: %d}}}", i), nil, &cfg)
			if cfg.PHP["app"].Workers.Max != i {
				t.Errorf("got %d, want %d", cfg.PHP["app"].Workers.Max, i)
			}
		})
	}
}

func TestDocumented(t *testing.T) {
	t.Parallel()
	const text = `# A comment.
log:
  #: level: info   # what is said
  color: true
#: http:
#:   listen: []
#:
    #:	not a mark
#:neither
value: "#: not here"
`
	const want = `# A comment.
log:
  level: info   # what is said
  color: true
http:
  listen: []

    #:	not a mark
#:neither
value: "#: not here"
`
	if diff := cmp.Diff(want, string(configfile.Documented([]byte(text)))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	type node struct {
		Name  string  `koanf:"name"`
		Below []*node `koanf:"below"`
	}
	if diff := cmp.Diff([]string{"name", "below"}, configfile.Keys(node{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	keys := configfile.Keys(config{})
	for _, key := range []string{
		"state_dir", "http", "http.limits.header", "http.listen[].address", "php.*.workers.max", "php.*.user", "hosts.*.respond.headers", "plugins.modules.*.config",
	} {
		if !slices.Contains(keys, key) {
			t.Errorf("%q is missing in %q", key, keys)
		}
	}

	cfg := defaults()
	file := load(t, "http: {listen: [{address: x}]}\nphp: {app: {user: x}}", []string{"EDGE_LOG__LEVEL=info"}, &cfg)
	want := []string{"http", "http.listen", "http.listen[]", "http.listen[].address", "log", "log.level", "php", "php.*", "php.*.user"}
	if diff := cmp.Diff(want, file.Keys()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	got, want := defaults(), defaults()
	if diff := configfile.Diff(got, want); diff != nil {
		t.Errorf("equal values differ: %q", diff)
	}
	one, two := httpConfig{}.Defaults().(httpConfig), httpConfig{}.Defaults().(httpConfig)
	got.HTTP, want.HTTP = &one, &two
	got.HTTP.Limits = limits{Header: 32 * bytesize.KiB, Idle: time.Second}
	got.HTTP.Listen[1].TLS = false
	got.HTTP.Middleware = []string{"a"}
	got.Hosts = map[string]*routeConfig{"a": nil, "b": {Host: stringList{"x"}}}
	want.Hosts = map[string]*routeConfig{"b": {Host: stringList{"y"}}}
	want.Plugins = &pluginsConfig{Dir: "p"}
	lines := []string{
		"http.listen[1].tls: got false, want true",
		`http.middleware: got ["a"], want null`,
		"http.limits.header: got 32KiB, want 64KiB",
		"http.limits.idle: got 1s, want 1m0s",
		`plugins: got nothing, want {"Dir":"p","Modules":null}`,
		"hosts.a: got nothing, want nothing",
		`hosts.b.host[0]: got "x", want "y"`,
	}
	if diff := cmp.Diff(lines, configfile.Diff(got, want)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// FuzzParse looks for panics and endless loops, and for secrets in problems.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), "\n----------\n")
		f.Add([]byte(input), "HTTP__LISTEN", "[a]")
	}
	f.Add([]byte("state_dir: ${SECRET}"), "PHP__APP__WORKERS__MAX", "x")
	f.Add([]byte("php: {a: &a [*a, *a]}"), "LOG", "{level: [*a]}")
	const secret = "correct-horse-battery-staple"
	f.Fuzz(func(t *testing.T, text []byte, name, value string) {
		cfg := defaults()
		environ := []string{"SECRET=" + secret, "EDGE_" + name + "=" + value}
		file, err := configfile.Parse("edge.yaml", text, environ, &cfg)
		var problems *configfile.Problems
		switch {
		case err == nil:
			configfile.Diff(cfg, defaults())
			for _, key := range file.Keys() {
				if key == "" {
					t.Error("an empty key was read")
				}
			}
		case !errors.As(err, &problems):
			t.Errorf("reading passed what decoding refused: %v", err)
		case strings.Contains(err.Error(), secret) && !strings.Contains(string(text)+value, secret):
			t.Errorf("the problem shows the value of a variable: %v", err)
		}
	})
}
