package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestKVStory is what an operator does with a store, in order, on each driver that keeps data here.
func TestKVStory(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"memory", "boltdb"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			p := startServer(t, "http: {routes: [{respond: {status: 204}}]}\nkv: {a: {driver: "+driver+"}, b: {driver: memory}}\n")
			step := func(wantCode int, wantOut, wantErr string, args ...string) {
				t.Helper()
				code, out, errs := p.edge(t, append([]string{"kv"}, args...)...)
				if code != wantCode || !strings.Contains(out, wantOut) || wantOut == "" && out != "" || !strings.Contains(errs, wantErr) {
					t.Errorf("edge kv %q: code %d, stdout %q, stderr %q; want %d, %q, %q", args, code, out, errs, wantCode, wantOut, wantErr)
				}
			}
			step(2, "", `store a has no key "k"`, "get", "a", "k")
			step(0, "", "", "set", "a", "k", "v")
			step(0, "v", "", "get", "a", "k")
			step(0, `{"key":"k","value":"dg==","expires":null}`, "", "get", "a", "k", "--json")
			step(0, "for ever", "", "ttl", "a", "k")
			step(0, "until 2", "", "ttl", "a", "k", "--set", "1h")
			step(0, `"expires":"2`, "", "ttl", "a", "k", "--json")
			step(0, "for ever", "", "ttl", "a", "k", "--persist")
			step(2, "", `store a has key "k" already`, "set", "a", "k", "other", "--add")
			step(0, "", "", "set", "a", "new", "1", "--add", "--ttl", "24h")
			if _, got, _ := p.edge(t, "kv", "ls", "a"); got != "k\nnew\n" && got != "new\nk\n" { // a memory store has no order
				t.Errorf("ls prints %q", got)
			}
			step(0, "new\n", "", "ls", "a", "n")
			step(0, "{\"key\":\"k\"}\n", "", "ls", "a", "k", "--json", "--limit", "1")
			step(0, driver, "", "stats", "a")
			step(0, `"name":"b"`, "", "stats", "--json")
			step(2, "removed 0 of 1", "none of these", "del", "a", "never")
			step(0, "removed 1 of 2", "", "del", "a", "new", "never")
			step(1, "", `no store is called "c"; there are: a, b`, "get", "c", "k")
			step(1, "", `no store is called "c"; there are: a, b`, "stats", "c")
			step(1, "", "--all", "del", "a")
			step(1, "", "not both", "set", "a", "k", "v", "--file", "x")
			step(1, "", "more than 0", "set", "a", "k", "v", "--ttl", "-1s")
			step(2, "", "has no key", "ttl", "a", "never")

			binaryValue(t, p)
			exportAndImport(t, p, step)

			if driver == "boltdb" {
				step(0, "kv.db: ", "", "compact", "a")
				step(1, "", "locked by another process", "compact", "a", "--offline")
			} else {
				step(1, "", "only a boltdb store", "compact", "a")
			}
			step(0, "is empty", "", "del", "a", "--all")
			step(2, "", "has no key", "get", "a", "k")
		})
	}
}

// binaryValue sends every byte through stdin and stdout of the program, and through files.
func binaryValue(t *testing.T, p *process) {
	t.Helper()
	value := make([]byte, 1<<20)
	for i := range value {
		value[i] = byte(i * 7)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	set := exec.Command(path, "kv", "set", "a", "bin\xff", "-c", filepath.Join(p.dir, "edge.yaml"))
	set.Stdin = bytes.NewReader(value)
	if out, err := set.CombinedOutput(); err != nil {
		t.Fatalf("set from stdin: %v\n%s", err, out)
	}
	got, err := exec.Command(path, "kv", "get", "a", "bin\xff", "-c", filepath.Join(p.dir, "edge.yaml")).Output()
	if err != nil || !bytes.Equal(got, value) {
		t.Errorf("a value through stdin and stdout has %d bytes, %v; want the %d that were set", len(got), err, len(value))
	}
	file := filepath.Join(p.dir, "value")
	if code, _, errs := p.edge(t, "kv", "get", "a", "bin\xff", "--file", file); code != 0 {
		t.Error(errs)
	}
	if code, _, errs := p.edge(t, "kv", "set", "a", "copy", "--file", file); code != 0 {
		t.Error(errs)
	}
	if _, got, _ := p.edge(t, "kv", "get", "a", "copy"); got != string(value) {
		t.Errorf("a value through files has %d bytes, want %d", len(got), len(value))
	}
	if _, got, _ := p.edge(t, "kv", "ls", "a"); !strings.Contains(got, `"bin\xff"`+"\n") {
		t.Errorf("ls prints %q, want the odd key quoted", got)
	}
}

func exportAndImport(t *testing.T, p *process, step func(int, string, string, ...string)) {
	t.Helper()
	file := filepath.Join(p.dir, "a.jsonl")
	step(0, "", "", "set", "a", "ends", "1", "--ttl", "1h")
	step(0, "exported 4 keys", "", "export", "a", "--file", file)
	step(0, "stored 4 keys", "", "import", "b", "--file", file)
	if _, got, _ := p.edge(t, "kv", "export", "b"); strings.Count(got, "\n") != 6 || !strings.HasSuffix(got, "{\"end\":4}\n") {
		t.Errorf("export to stdout: %.300q", got)
	}
	for _, key := range []string{"k", "bin\xff", "copy", "ends"} {
		_, a, _ := p.edge(t, "kv", "get", "a", key, "--json")
		if _, b, _ := p.edge(t, "kv", "get", "b", key, "--json"); a != b || a == "" {
			t.Errorf("%q has come as %.100q, want %.100q", key, b, a)
		}
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, strings.TrimSuffix(string(whole), "{\"end\":4}\n"))
	step(1, "", "the export is not whole", "import", "b", "--file", file)
	writeFile(t, file, "hello\n")
	step(1, "", "line 1 is no line of an export", "import", "b", "--file", file)
	writeFile(t, file, `{"key":"k","value":""}`+"\n")
	step(1, "", "no export of `edge kv export`", "import", "b", "--file", file)
	writeFile(t, file, `{"edge_kv_export":1}
{"key":"old","value":"MQ==","expires":"2001-01-01T00:00:00.000Z"}
{"key":"bad","error":"is damaged"}
{"end":2}
`)
	step(0, "stored 0 keys; left out 1 whose deadline has come and 1 that", "", "import", "b", "--file", file)
}

func TestKVWithoutAServer(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	config := filepath.Join(dir, "edge.yaml")
	writeFile(t, config, "version: 1\nkv: {a: {driver: boltdb, boltdb: {file: a.db}}, m: {driver: memory}}\n")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"get", "a", "k"}, "no Edge answers at"},
		{[]string{"compact", "m", "--offline"}, `has no boltdb store called "m"`},
		{[]string{"compact", "a", "--offline"}, "a.db"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(append([]string{"kv"}, tt.args...), "-c", config), &out, &errs); code != 1 || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("edge kv %q: code %d, %s; want 1 and %q", tt.args, code, errs.String(), tt.want)
		}
	}
}
