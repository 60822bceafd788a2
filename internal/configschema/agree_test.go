package configschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/internal/testenv"
)

// judge asks the validator of JSON schemas that Debian has; the answer has the problems of each document.
func judge(t *testing.T, documents []any) [][]string {
	t.Helper()
	const python = "/usr/bin/python3"
	var in bytes.Buffer
	e := json.NewEncoder(&in)
	for _, d := range documents {
		if err := e.Encode(d); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, "testdata/validate.py", filepath.Join(testenv.Root(t), "docs", "edge.schema.json"))
	var problem bytes.Buffer
	cmd.Stdin, cmd.Stderr = &in, &problem
	out, err := cmd.Output()
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(problem.String(), "No module named") {
		testenv.Missing(t, "jsonschema", "apt-get install python3-jsonschema")
	}
	if err != nil {
		t.Fatalf("the validator: %v\n%s", err, problem.String())
	}
	var all [][]string
	for line := range strings.Lines(string(out)) {
		var problems []string
		if err := json.Unmarshal([]byte(line), &problems); err != nil {
			t.Fatal(err)
		}
		all = append(all, problems)
	}
	if len(all) != len(documents) {
		t.Fatalf("%d verdicts for %d documents", len(all), len(documents))
	}
	return all
}

func document(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFilesAreValid: edge.yaml, also with every key that it documents, and the files of the examples.
func TestFilesAreValid(t *testing.T) {
	t.Parallel()
	root := testenv.Root(t)
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "edge.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	files = append(files, filepath.Join(root, "edge.yaml"))
	var documents []any
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, document(t, text))
	}
	text, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("# yaml-language-server: $schema=docs/edge.schema.json\n")) {
		t.Error("edge.yaml does not tell editors where its schema is")
	}
	everything := document(t, configfile.Documented(text))
	removeTargets(everything)
	files, documents = append(files, "edge.yaml with all that it documents"), append(documents, everything)
	for i, problems := range judge(t, documents) {
		if len(problems) > 0 {
			t.Errorf("%s: %s", files[i], strings.Join(problems, "\n"))
		}
	}
}

// removeTargets leaves each route one target: the reference shows all of them in one.
func removeTargets(everything any) {
	for _, route := range everything.(map[string]any)["http"].(map[string]any)["routes"].([]any) {
		first := true
		for _, target := range []string{"proxy", "files", "php", "wasm", "respond", "redirect", "ws"} {
			if _, has := route.(map[string]any)[target]; has && !first {
				delete(route.(map[string]any), target)
			} else if has {
				first = false
			}
		}
	}
}

// TestBadFilesAreRefusedByBoth: by the server and by the schema.
func TestBadFilesAreRefusedByBoth(t *testing.T) {
	t.Parallel()
	bad := []string{
		"httq: {}", "http: {listn: []}", "http: {listen: {}}", "http: {listen: [{address: [a]}]}", "http: {listen: [{tls: yes please}]}", "version: 2",
		"log: {level: loud}", "log: debug", "log: {channels: {http: {level: high}}}", "shutdown_timeout: 30", "shutdown_timeout: 30 seconds", "shutdown_timeout:",
		"http: {limits: {body: 12 parsecs}}", "http: {limits: {body: -1}}", "http: {routes: {}}", "http: {routes: [{}]}", "http: {routes: [null]}", "http: {routes: [{respond: a, php: app}]}",
		"http: {routes: [{respond: {status: ok}}]}", "http: {routes: [{redirect: {to: /, status: 200}}]}", "http: {routes: [{files: {root: a, etag: no}}]}",
		"http: {routes: [{proxy: {upstreams: [http://a], policy: fastest}}]}", "php: {app: {command: a, workers: {max: \"8\"}}}", "php: {app: {command: a, workers: {max: many}}}",
		"php: {app: {command: a, mode: fpm}}", "php: [app]", "kv: {a: {driver: sqlite}}", "kv: {a: {driver: boltdb, boltdb: {sync: sometimes}}}", "kv: {a: redis}",
		"kv: {a: {limits: {max_items: 1.5}}}", "services: {a: {command: b, restart: sometimes}}", "services: {a: {command: b, stop_signal: KILL}}", "plugins: {modules: {a: {on_error: panic}}}",
		"ws: {limits: {slow: wait}}", "ws: {broker: {driver: kafka}}", "rpc: {listen: {}}", "admin: {listen: unix, tokn: a}", "telemetry: {metrics: {names: both of them}}", "state_dir:",
	}
	var documents []any
	for _, text := range bad {
		documents = append(documents, document(t, []byte(text)))
		if _, err := core.LoadText("edge.yaml", []byte(text), t.TempDir(), nil); err == nil {
			t.Errorf("the server takes %s", text)
		}
	}
	for i, problems := range judge(t, documents) {
		if len(problems) == 0 {
			t.Errorf("the schema takes %s", bad[i])
		}
	}
}

// below puts a value where a key is, in a document that has nothing else.
func below(key string, value any) any {
	head, rest, more := strings.Cut(key, ".")
	name, lists := strings.TrimRight(head, "[]"), strings.Count(head, "[]")
	if more {
		value = below(rest, value)
	}
	for range lists {
		value = []any{value}
	}
	if name == "*" {
		name = "x"
	}
	section := map[string]any{name: value}
	if strings.HasPrefix(key, "routes[].") && !isTarget(rest) {
		value.([]any)[0].(map[string]any)["respond"] = "text" // the schema wants a target
	}
	return section
}

func isTarget(key string) bool {
	head, _, _ := strings.Cut(key, ".")
	return slices.Contains([]string{"php", "wasm", "files", "proxy", "respond", "redirect", "ws"}, head)
}

// TestSchemaAgreesWithTheReader tries values of every sort in the place of every key.
func TestSchemaAgreesWithTheReader(t *testing.T) {
	t.Parallel()
	samples := []any{
		nil, true, "text", "", "10s", "1h2m3.5s", "10 s", "64KiB", "1.5 gb", "0", 0, 5, -1, 300, 0.5, []any{}, []any{"a"}, []any{nil}, map[string]any{}, map[string]any{"no such key": 1}, "${HOME}",
	}
	var documents []any
	var keys []string
	every := testenv.Count(13, 1) // of a type there are many keys
	for _, key := range configfile.Keys(core.Config{}) {
		at := crc32.ChecksumIEEE([]byte(key)) // other keys do not change what is tried here
		for i, value := range samples {
			if (int(at%1000)+i)%every != 0 || key == "http.routes" || isTarget(strings.TrimPrefix(key, "http.routes[].")) && value == "" {
				continue // of targets the schema knows more than the reader
			}
			documents, keys = append(documents, below(key, value)), append(keys, key)
		}
	}
	disagree := 0
	for i, problems := range judge(t, documents) {
		text, err := yaml.Marshal(documents[i])
		if err != nil {
			t.Fatal(err)
		}
		cfg := core.DefaultConfig()
		_, err = configfile.Parse("edge.yaml", text, []string{"HOME=true"}, &cfg)
		hidden := bytes.Contains(text, []byte("${HOME}")) // whether it fits is not seen in the file
		restricted := len(notes[keys[i]].Enum) > 0 || len(notes[keys[i]+"[]"].Enum) > 0
		switch {
		case len(problems) == 0 && err != nil && !hidden:
			t.Errorf("the schema takes what the server refuses:\n%s%v", text, err)
		case len(problems) > 0 && err == nil && !restricted:
			t.Errorf("the schema refuses what the server takes:\n%s%s", text, problems)
		default:
			continue
		}
		if disagree++; disagree > 20 {
			t.Fatal("and so on")
		}
	}
}

// active makes the server look at keys that it does not look at otherwise.
var active = map[string]string{
	"kv.*.boltdb.":         "kv: {x: {driver: boltdb}}",
	"kv.*.redis.":          "kv: {x: {driver: redis, prefix: a}}",
	"kv.*.redis.read_from": "kv: {x: {driver: redis, prefix: a, redis: {mode: cluster}}}",
	"kv.*.memcached.":      "kv: {x: {driver: memcached}}",
	"ws.broker.nats.":      "ws: {broker: {driver: nats}}", "ws.broker.redis.": "ws: {broker: {driver: redis}}",
	"ws.mercure.":           "ws: {mercure: {url: \"https://a.example/.well-known/mercure\", publisher: {secret: 0123456789012345678901234567890123456789}}}",
	"ws.pusher.":            "ws: {pusher: {apps: {x: {key: key, secret: 0123456789}}}}",
	"http.tls.client_auth.": "http: {tls: {client_auth: {ca: a.pem}}}",
	"http.tls.acme.":        "http: {listen: [{address: \":443\", tls: true}, {address: \":80\"}], tls: {acme: {domains: [a.example]}}}",
	"http.headers.cors.":    "http: {headers: {cors: {origins: [\"https://a.example\"]}}}",
	"plugins.modules.":      "plugins: {modules: {x: {file: x.wasm}}}",
	"services.":             "services: {x: {command: a}}",
	"php.":                  "php: {x: {command: a}}", "php.*.mode": "php: {x: {command: php-cgi, root: public}}",
}

// TestEnumsAreThoseOfTheCode: what the notes list is taken by the server, and nothing else is.
func TestEnumsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	// takes reports whether the server has nothing against a value of a key.
	takes := func(key string, value any) bool {
		tree := below(key, value).(map[string]any)
		base, longest := "", 0
		for prefix, text := range active {
			if strings.HasPrefix(key, prefix) && len(prefix) > longest {
				base, longest = text, len(prefix)
			}
		}
		merged, _ := document(t, []byte(base)).(map[string]any)
		if merged == nil {
			merged = map[string]any{}
		}
		merge(merged, tree)
		text, err := yaml.Marshal(merged)
		if err != nil {
			t.Fatal(err)
		}
		_, err = core.LoadText("edge.yaml", text, t.TempDir(), nil)
		concrete := strings.NewReplacer("*", "x", "[]", "[0]").Replace(key)
		return err == nil || !strings.Contains(err.Error(), ": "+concrete+": ")
	}
	known := 0
	for _, key := range configfile.Keys(core.Config{}) {
		for _, key := range []string{key, key + "[]"} {
			values := notes[key].Enum
			if len(values) == 0 {
				continue
			}
			known++
			for _, value := range values {
				if !takes(key, value) {
					t.Errorf("the server refuses %v for %s", value, key)
				}
				if text, ok := value.(string); ok && takes(key, strings.ToUpper(text)) && text != strings.ToUpper(text) {
					t.Errorf("the server takes %s for %s, the schema does not", strings.ToUpper(text), key)
				}
			}
			if takes(key, 77) || takes(key, "no-such-value") {
				t.Errorf("the server takes any value for %s", key)
			}
		}
	}
	listed := 0
	for _, note := range notes {
		if len(note.Enum) > 0 {
			listed++
		}
	}
	if known != listed {
		t.Errorf("%d of %d lists belong to keys that are there", known, listed)
	}
}

// merge lays a tree over another. The first elements of lists are merged, too.
func merge(into, from map[string]any) {
	for key, value := range from {
		switch v := value.(type) {
		case map[string]any:
			if old, ok := into[key].(map[string]any); ok {
				merge(old, v)
				continue
			}
		case []any:
			if old, ok := into[key].([]any); ok && len(old) > 0 {
				a, isMap := old[0].(map[string]any)
				if b, both := v[0].(map[string]any); isMap && both {
					merge(a, b)
					continue
				}
			}
		}
		into[key] = value
	}
}
