package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// author is somebody with the program alone, in a folder outside of this repository and without a network.
type author struct {
	dir string
	env []string
}

func newAuthor(t *testing.T, env ...string) author {
	t.Helper()
	dir := testenv.Dir(t)
	offline := []string{"GOPROXY=off", "GOFLAGS=", "GOWORK=off", "CARGO_NET_OFFLINE=true", "NPM_CONFIG_OFFLINE=true",
		"HTTP_PROXY=http://127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9"}
	return author{dir, append(append(os.Environ(), offline...), env...)}
}

// does runs a command and returns its output and whether it ended with 0.
func (a author) does(t *testing.T, dir, program string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = filepath.Join(a.dir, dir), a.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return string(out), err == nil
}

// edge runs the program, which must succeed.
func (a author) edge(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, ok := a.does(t, "", path, args...)
	if !ok {
		t.Fatalf("edge %q failed:\n%s", args, out)
	}
	return out
}

// refused runs the program, which must fail with 1.
func (a author) refused(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, ok := a.does(t, "", path, args...)
	if ok {
		t.Fatalf("edge %q succeeded:\n%s", args, out)
	}
	return out
}

// kindTrials are how a new plugin of each kind is run, and what must be seen then.
var kindTrials = []struct {
	kind string
	args []string
	want []string
}{
	{"middleware", []string{"--request", "GET /a?b", "-H", "X-Name: panda"}, []string{`get_header_values(request, "x-name")`, "X-Hello: hello panda", "gets GET /a?b"}},
	{"router", []string{"--request", "/old/page"}, []string{"redirects with 308 to /new/page", "edge_route_v1.redirect(308, \"/new/page\")"}},
	{"origin", []string{"--request", "/hello"}, []string{"200 OK", "hello from p-origin: /hello"}},
	{"kv", []string{"--kv", "set a 1", "--kv", "get a", "--kv", "delete a", "--kv", "get a"}, []string{`get a = "1"`, "get a = not found"}},
	{"ws", []string{"--message", "hi"}, []string{"to connection 1: you said hi"}},
	{"cron", []string{"--tick"}, []string{"p-cron ticks"}},
}

// toolchains are the languages, what they need on this machine, and how the author runs a plugin's own test.
var toolchains = []struct {
	language string
	slow     bool // in go test the middleware alone, in a soak run every kind
	prepare  func(t *testing.T) (env []string, test []string)
}{
	{"go", true, func(*testing.T) (env, test []string) { return nil, []string{"go", "test", "."} }},
	{"go", true, func(t *testing.T) (env, test []string) { // once more, with the other compiler
		return []string{"EDGE_TINYGO=" + testenv.TinyGo(t)}, []string{"go", "test", "."}
	}},
	{"rust", true, func(t *testing.T) (env, test []string) {
		rustc := testenv.Rustc(t)
		testenv.Tool(t, "cargo", "apt-get install cargo")
		path, err := exec.LookPath(rustc)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"RUSTC=" + path}, []string{filepath.Join(filepath.Dir(path), "cargo"), "test", "--quiet"}
	}},
	{"c", false, func(t *testing.T) (env, test []string) {
		testenv.Tool(t, "clang", "apt-get install clang lld")
		testenv.Tool(t, "wasm-ld", "apt-get install lld")
		testenv.Tool(t, "cc", "apt-get install gcc libc6-dev")
		testenv.Tool(t, "make", "apt-get install make")
		return nil, []string{"make", "-s", "test"}
	}},
	{"js", false, func(t *testing.T) (env, test []string) { return nil, []string{testenv.Node(t), "--test"} }},
	{"zig", false, func(t *testing.T) (env, test []string) {
		zig := testenv.Zig(t)
		return []string{"EDGE_ZIG=" + zig, "PATH=" + filepath.Dir(zig) + ":" + os.Getenv("PATH")}, []string{"make", "-s", "test"}
	}},
	{"assemblyscript", true, func(t *testing.T) (env, test []string) {
		node := testenv.Node(t)
		return []string{"EDGE_ASC=" + testenv.ASC(t), "PATH=" + filepath.Dir(node) + ":" + os.Getenv("PATH")}, []string{node, "--test"}
	}},
}

// TestNewPlugins takes every language and kind the whole way: written, built, checked, run and tested, by the program and the
// toolchain alone.
func TestNewPlugins(t *testing.T) {
	t.Parallel()
	for _, tool := range toolchains {
		t.Run(tool.language, func(t *testing.T) {
			t.Parallel()
			env, test := tool.prepare(t)
			a := newAuthor(t, env...)
			for i, trial := range kindTrials {
				if tool.slow && i >= testenv.Count(1, len(kindTrials)) {
					break
				}
				name := "p-" + trial.kind
				a.edge(t, "plugin", "new", name, "--lang", tool.language, "--kind", trial.kind)
				a.edge(t, "plugin", "build", name)
				file := filepath.Join(name, name+".wasm")
				if tool.language == "js" {
					file = filepath.Join(name, name+".js")
				}
				if out := a.edge(t, "plugin", "check", file); !strings.Contains(out, "ok           Edge runs it") {
					t.Errorf("check %s:\n%s", file, out)
				}
				out := a.edge(t, append([]string{"plugin", "run", file}, trial.args...)...)
				for _, want := range trial.want {
					if !strings.Contains(out, want) {
						t.Errorf("run %s shows no %q:\n%s", file, want, out)
					}
				}
				if out, ok := a.does(t, name, test[0], test[1:]...); !ok {
					t.Errorf("%s: its test fails:\n%s", name, out)
				}
			}
		})
	}
}

func TestCheckTellsWhatToGrant(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "clang", "apt-get install clang lld")
	a := newAuthor(t)
	a.edge(t, "plugin", "new", "visits", "--lang", "c")
	writeFile(t, filepath.Join(a.dir, "visits", "visits.c"), `#include "edge.h"
static edge_flow handle(void) {
    int64_t n = 0;
    int store = edge_kv_open(EDGE("hits"));
    if (store >= 0 && edge_kv_incr(store, EDGE("all"), 1, 0, &n) >= 0) edge_header_set(EDGE_RESPONSE, EDGE("x-visits"), edge_decimal(n));
    return EDGE_NEXT;
}
EDGE_MIDDLEWARE(handle)
`)
	a.edge(t, "plugin", "build", "visits")
	file := filepath.Join("visits", "visits.wasm")
	if out := a.edge(t, "plugin", "check", file); !strings.Contains(out, "kv: [STORE]") || !strings.Contains(out, "edge_kv_v1: incr, open") {
		t.Errorf("check without edge.yaml does not say what to grant:\n%s", out)
	}

	writeFile(t, filepath.Join(a.dir, "edge.yaml"), "version: 1\nplugins: {}\n")
	if out := a.refused(t, "plugin", "check", file, "-c", "edge.yaml"); !strings.Contains(out, "which is not granted") || !strings.Contains(out, "kv: [STORE]") {
		t.Errorf("check with an edge.yaml that grants nothing:\n%s", out)
	}
	writeFile(t, filepath.Join(a.dir, "edge.yaml"), "version: 1\nkv: {hits: {}}\nplugins: {modules: {visits: {allow: {kv: [hits]}}}}\n")
	a.edge(t, "plugin", "check", file, "-c", "edge.yaml")

	if out := a.edge(t, "plugin", "run", file, "--allow", "kv=hits"); !strings.Contains(out, "X-Visits: 1") || !strings.Contains(out, `edge_kv_v1.open("hits")`) {
		t.Errorf("run with the grant:\n%s", out)
	}
	if out := a.edge(t, "plugin", "run", file, "--allow", "kv=other"); strings.Contains(out, "X-Visits") || !strings.Contains(out, "error: denied") {
		t.Errorf("run with another grant:\n%s", out)
	}
}

func TestRefusedPlugins(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	writeFile(t, filepath.Join(a.dir, "junk.wasm"), "this is no module")
	writeFile(t, filepath.Join(a.dir, "broken.js"), "export default { request( };\n")
	writeFile(t, filepath.Join(a.dir, "traps.js"), "export default { request() { throw new Error('on purpose'); } };\n")
	for file, want := range map[string]string{"junk.wasm": "not a wasm module", "broken.js": "broken.js:1:", "nothing.wasm": "no such file"} {
		if out := a.refused(t, "plugin", "check", file); !strings.Contains(out, want) {
			t.Errorf("check %s: no %q in:\n%s", file, want, out)
		}
	}
	if out := a.refused(t, "plugin", "run", "traps.js"); !strings.Contains(out, "500 Internal Server Error") || !strings.Contains(out, "on purpose") {
		t.Errorf("run of a plugin that fails:\n%s", out)
	}
	if out := a.refused(t, "plugin", "bench", "traps.js"); !strings.Contains(out, "on purpose") {
		t.Errorf("bench of a plugin that fails:\n%s", out)
	}
	for _, args := range [][]string{
		{"new", "Bad_Name", "--lang", "c"}, {"new", "good", "--lang", "cobol"}, {"new", "good", "--lang", "c", "--kind", "toaster"},
		{"build", "nowhere"}, {"run", "traps.js", "--request", "GET nowhere"}, {"run", "traps.js", "--allow", "everything"},
		{"run", "traps.js", "--config-json", "{"}, {"run", "traps.js", "--tick"},
	} {
		a.refused(t, append([]string{"plugin"}, args...)...)
	}
	if _, err := os.Stat(filepath.Join(a.dir, "good")); err == nil {
		t.Error("a plugin that could not be written left a folder")
	}
}

// TestMissingToolchain: the error names the tool and the package, for each language.
func TestMissingToolchain(t *testing.T) {
	t.Parallel()
	a := newAuthor(t, "PATH=/nowhere", "RUSTC=", "EDGE_ZIG=", "EDGE_ASC=", "EDGE_TINYGO=")
	for language, want := range map[string]string{"go": "golang-go", "c": "apt-get install clang lld", "zig": "pip install ziglang==0.17.1", "assemblyscript": "nodejs"} {
		a.edge(t, "plugin", "new", "m-"+language, "--lang", language)
		if out := a.refused(t, "plugin", "build", "m-"+language); !strings.Contains(out, want) {
			t.Errorf("%s: no %q in:\n%s", language, want, out)
		}
	}
}

func TestSigning(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	writeFile(t, filepath.Join(a.dir, "hello.js"), "export default { request(req, res) { res.headers.set('x-hello', 'hi'); } };\n")
	lines := strings.Fields(a.edge(t, "plugin", "keygen", "my.key"))
	public := lines[len(lines)-1]
	if info, err := os.Stat(filepath.Join(a.dir, "my.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key has the mode %v (%v), want 0600", info.Mode(), err)
	}
	a.refused(t, "plugin", "keygen", "my.key") // it would be lost

	writeFile(t, filepath.Join(a.dir, "edge.yaml"), "version: 1\nplugins: {trust: [\""+public+"\"]}\n")
	if out := a.refused(t, "plugin", "check", "hello.js", "-c", "edge.yaml"); !strings.Contains(out, "asks for a signature") {
		t.Errorf("check of what is not signed:\n%s", out)
	}
	a.edge(t, "plugin", "sign", "hello.js", "--key", "my.key")
	a.edge(t, "plugin", "verify", "hello.js", "-c", "edge.yaml")
	a.edge(t, "plugin", "verify", "hello.js", "--key", public)
	a.edge(t, "plugin", "check", "hello.js", "-c", "edge.yaml")
	if out := a.refused(t, "plugin", "verify", "hello.js", "--key", public, "--name", "other"); !strings.Contains(out, `called "hello"`) {
		t.Errorf("verify under another name:\n%s", out)
	}
	writeFile(t, filepath.Join(a.dir, "hello.js"), "export default {};\n")
	if out := a.refused(t, "plugin", "verify", "hello.js", "--key", public); !strings.Contains(out, "another content") {
		t.Errorf("verify of what was changed:\n%s", out)
	}
}

func TestBenchAndExport(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	writeFile(t, filepath.Join(a.dir, "hello.js"), "export default { request(req, res) { res.headers.set('x-hello', 'hi'); } };\n")
	out := a.edge(t, "plugin", "bench", "hello.js", "--time", "20ms")
	for _, isolation := range []string{"\ninstance ", "\nrequest "} {
		if !strings.Contains(out, isolation) {
			t.Errorf("bench has no line %q:\n%s", isolation, out)
		}
	}
	a.edge(t, "sdk", "export", "sdks")
	for _, file := range []string{"go/sdk/go/edge/edge.go", "go/go.mod", "rust/Cargo.toml", "c/edge.h", "zig/edge.zig", "assemblyscript/package.json", "js/edge.d.ts", "c/examples/hello.c"} {
		if _, err := os.Stat(filepath.Join(a.dir, "sdks", file)); err != nil {
			t.Error(err)
		}
	}
}

// TestServeDev: a plugin's source below the plugin folder is built at the start and when it is saved, what does not compile
// leaves the old one in service, and the list of the live server says what it does.
func TestServeDev(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "clang", "apt-get install clang lld")
	a := newAuthor(t)
	if err := os.Mkdir(filepath.Join(a.dir, "plugins-wasm"), 0o755); err != nil {
		t.Fatal(err)
	}
	a.edge(t, "plugin", "new", "plugins-wasm/hello", "--lang", "c", "--kind", "origin")
	a.edge(t, "plugin", "new", "plugins-wasm/idle", "--lang", "c")
	server := launchServerIn(t, a.dir, "plugins: {}\nhttp: {routes: [{match: {path: /*}, wasm: hello}]}\n", []string{"--dev"}).started(t)

	answers := func(want string) func() bool {
		return func() bool {
			res, err := http.Get(server.url + "/a")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			return err == nil && string(body) == want
		}
	}
	testenv.Eventually(t, "the plugin answers", answers("hello from hello: /a\n"))
	if _, err := os.Stat(filepath.Join(a.dir, "plugins-wasm", "idle.wasm")); err == nil {
		t.Error("a plugin that edge.yaml does not name was put into service because its source lies there")
	}

	source := filepath.Join(a.dir, "plugins-wasm", "hello", "hello.c")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, source, strings.Replace(string(text), "hello from", "changed in", 1))
	testenv.Eventually(t, "the changed plugin answers", answers("changed in hello: /a\n"))

	writeFile(t, source, "this is not C")
	testenv.Eventually(t, "the server says that the source is broken", func() bool { return strings.Contains(server.log(), "hello is not built") })
	if !answers("changed in hello: /a\n")() {
		t.Error("a source that does not compile has taken the plugin out of service")
	}

	for range 100 {
		answers("")()
	}
	out := a.edge(t, "plugin", "ls", "-c", "edge.yaml")
	lines := strings.Split(out, "\n")
	if len(lines) < 2 {
		t.Fatalf("plugin ls:\n%s", out)
	}
	title, row := strings.Fields(lines[0]), strings.Fields(lines[1])
	for _, column := range []string{"GENERATION", "REQUESTS", "P50", "P99", "FUEL", "MEMORY"} {
		at := slices.Index(title, column)
		if at < 0 || at >= len(row) || row[at] == "0" || row[at] == "-" {
			t.Errorf("plugin ls shows nothing under %s:\n%s", column, out)
		}
	}
}

// TestCheckKnowsTheEntry: an entry of edge.yaml is found by its file, whatever its name; its manifest is put in by build.
func TestCheckKnowsTheEntry(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "clang", "apt-get install clang lld")
	a := newAuthor(t)
	a.edge(t, "plugin", "new", "hello", "--lang", "c")
	a.edge(t, "plugin", "build", "hello", "-o", "built.wasm")
	writeFile(t, filepath.Join(a.dir, "edge.yaml"), "version: 1\nplugins: {modules: {greeter: {file: built.wasm, limits: {memory: 64KiB}}}}\n")
	if out := a.refused(t, "plugin", "check", "built.wasm", "-c", "edge.yaml"); !strings.Contains(out, "limits.memory is 64KiB") {
		t.Errorf("the limits of the entry do not count:\n%s", out)
	}
	if out := a.edge(t, "plugin", "check", "built.wasm"); !strings.Contains(out, "manifest     hello 0.1.0, middleware") {
		t.Errorf("build has not put the manifest into the module:\n%s", out)
	}
	writeFile(t, filepath.Join(a.dir, "hello", "manifest.json"), "{")
	if out := a.refused(t, "plugin", "build", "hello"); !strings.Contains(out, "manifest.json is not JSON") {
		t.Errorf("build of a broken manifest:\n%s", out)
	}
}
