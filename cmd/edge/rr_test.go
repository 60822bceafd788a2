package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/internal/testenv"
)

// roadRunner is the program under the name rr, in the folder of an application.
type roadRunner struct {
	dir  string
	rr   string // the link
	addr string // of http
	rpc  string // host:port
	cmd  *exec.Cmd
	exit chan int

	mu     sync.Mutex // protects the outputs
	lines  []string   // of stdout
	stderr bytes.Buffer
}

// freeAddress is an address that nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newApplication is a folder with a worker, an empty .rr.yaml and a link called rr.
func newApplication(t *testing.T) *roadRunner {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.Dir(t)
	r := &roadRunner{dir: dir, rr: filepath.Join(dir, "rr"), addr: freeAddress(t), rpc: freeAddress(t), exit: make(chan int, 1)}
	if err := os.Symlink(path, r.rr); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, ".rr.yaml"), "")
	writeFile(t, filepath.Join(dir, "worker.php"), `<?php
require '`+testenv.Root(t)+`/sdk/php/autoload.php';
(new Edge\Http\Worker())->serve(function (Edge\Http\Request $request): Edge\Http\Response {
	if (isset($request->query['say'])) { fwrite(STDERR, $request->query['say'] . "\n"); }
	file_put_contents(__DIR__ . '/started', getmypid());
	usleep(1000 * (int) ($request->query['ms'] ?? 0));
	$env = array_filter(getenv(), fn ($name) => str_starts_with($name, 'RR_') || $name === 'APP_ENV', ARRAY_FILTER_USE_KEY);
	return new Edge\Http\Response(200, ['Content-Type' => 'application/json'], json_encode($env + ['pid' => getmypid(), 'cwd' => getcwd()]));
});
`)
	if err := os.MkdirAll(filepath.Join(dir, "public"), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

// octane is the command line of Laravel Octane's octane:start.
func (r *roadRunner) octane(t *testing.T, more ...string) []string {
	args := []string{"-c", filepath.Join(r.dir, ".rr.yaml")}
	for _, o := range append([]string{
		"version=3", "http.address=" + r.addr, "server.command=" + testenv.PHP(t) + "," + filepath.Join(r.dir, "worker.php"),
		"http.pool.num_workers=2", "http.pool.max_jobs=500", "rpc.listen=tcp://" + r.rpc, "http.pool.supervisor.exec_ttl=30s",
		"http.static.dir=" + filepath.Join(r.dir, "public"), "http.middleware=static",
		"logs.mode=production", "logs.level=debug", "logs.output=stdout", "logs.encoding=json",
	}, more...) {
		args = append(args, "-o", o)
	}
	return append(args, "serve")
}

// serve starts `rr …` and waits for the line that says so. Workers run as the user of the test.
func (r *roadRunner) serve(t *testing.T, args ...string) {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(r.rr, args...)
	r.cmd.Dir = testenv.Dir(t) // not the application's: that is found by the configuration
	r.cmd.Env = append(os.Environ(), "EDGE_PHP__HTTP__USER="+u.Username, "APP_ENV=local",
		"TMPDIR="+testenv.Dir(t)) // what a server that is killed leaves behind goes with the test
	r.cmd.Stderr = r
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		r.waitExit(t)
	})
	started := make(chan struct{})
	var begun sync.Once
	go func() { // ends with the process, whose stdout this is
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			r.mu.Lock()
			r.lines = append(r.lines, lines.Text())
			r.mu.Unlock()
			if strings.HasPrefix(lines.Text(), "[INFO] RoadRunner server started; version: 2025.1.15, buildtime: ") {
				begun.Do(func() { close(started) }) // a restart says it again
			}
		}
		r.cmd.Wait()
		r.exit <- r.cmd.ProcessState.ExitCode()
	}()
	select {
	case <-started:
	case code := <-r.exit:
		r.exit <- code
		t.Fatalf("rr serve ended with %d:\n%s\n%s", code, r.output(), r.log())
	}
}

func (r *roadRunner) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stderr.Write(b)
}

func (r *roadRunner) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stderr.String()
}

func (r *roadRunner) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// records are the lines of stdout that are JSON, as Octane finds them.
func (r *roadRunner) records() []map[string]any {
	var all []map[string]any
	for _, line := range strings.Split(r.output(), "\n") {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil {
			all = append(all, record)
		}
	}
	return all
}

func (r *roadRunner) waitExit(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.exit:
		r.exit <- code
		return code
	case <-time.After(time.Minute):
		t.Fatalf("rr did not exit:\n%s", r.output())
		return 0
	}
}

// run is another call of rr, in the folder of the application.
func (r *roadRunner) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(r.rr, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// ask makes a request and returns what the worker says of itself.
func (r *roadRunner) ask(t *testing.T, query string) map[string]any {
	t.Helper()
	status, body := get(t, "http://"+r.addr+"/"+query)
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("%d %q", status, body)
	}
	return answer
}

// TestOctane replays what Laravel Octane does with the binary: the gate of the version, the start with an empty file, the lines of
// the log it reads, the reload, which fails on any word on standard error, and the stop.
func TestOctane(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	if code, out, _ := r.run(t, "--version"); code != 0 || !regexp.MustCompile(`^rr version 2025\.1\.15 \(build time: .+, go1\..+\), OS: \w+, arch: \w+\n$`).MatchString(out) {
		t.Errorf("rr --version: %d, %q", code, out)
	}
	r.serve(t, r.octane(t)...)
	before := r.ask(t, "?say=hello+from+dd&x=1")
	want := map[string]any{"RR_MODE": "http", "RR_RELAY": "pipes", "RR_RPC": "tcp://" + r.rpc, "RR_VERSION": "2025.1.15", "APP_ENV": "local", "cwd": r.dir}
	for name, value := range want {
		if before[name] != value {
			t.Errorf("%s: got %v, want %v", name, before[name], value)
		}
	}

	testenv.Eventually(t, "the log has the request and what PHP said", func() bool { return r.find("http", "http log") != nil && r.find("server", "hello from dd") != nil })
	record := r.find("http", "http log")
	for name, value := range map[string]any{"level": "info", "status": 200.0, "method": "GET", "URI": "/?say=hello+from+dd&x=1", "URL": "/?say=hello+from+dd&x=1", "read_bytes": 0.0} {
		if record[name] != value {
			t.Errorf("http log: %s is %v, want %v", name, record[name], value)
		}
	}
	for _, name := range []string{"ts", "start", "elapsed", "write_bytes"} {
		if n, ok := record[name].(float64); !ok || n != float64(int64(n)) {
			t.Errorf("http log: %s is %v, want a whole number", name, record[name])
		}
	}
	if _, _, err := net.SplitHostPort(fmt.Sprint(record["remote_address"])); err != nil {
		t.Errorf("http log: remote_address: %v", err)
	}
	if level := r.find("server", "hello from dd")["level"]; level != "info" {
		t.Errorf("what PHP said has level %v", level)
	}

	if record := r.find("server", "worker is allocated"); record["internal_event_name"] != "EventWorkerConstruct" {
		t.Errorf("the record of a new worker is %v", record)
	}

	if code, out, errs := r.run(t, "reset", "-o", "rpc.listen=tcp://"+r.rpc, "-s"); code != 0 || out != "" || errs != "" {
		t.Errorf("rr reset: %d, %q, %q", code, out, errs)
	}
	if after := r.ask(t, ""); after["pid"] == before["pid"] {
		t.Errorf("the worker is the same after a reset: %v", after["pid"])
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	if code := r.waitExit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r.log() != "" {
		t.Errorf("standard error: %q", r.log())
	}
}

func (r *roadRunner) find(logger, msg string) map[string]any {
	for _, record := range r.records() {
		if record["logger"] == logger && record["msg"] == msg {
			return record
		}
	}
	return nil
}

// TestWorkersAndReset are the commands a person types.
func TestWorkersAndReset(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	writeFile(t, filepath.Join(r.dir, ".rr.yaml"), `
version: "3"
rpc: {listen: tcp://`+r.rpc+`}
server: {command: "`+testenv.PHP(t)+` worker.php"}
http: {address: "`+r.addr+`", pool: {num_workers: 2}}
logs: {level: error}
`)
	r.serve(t, "serve", "-c", filepath.Join(r.dir, ".rr.yaml"), "-p")
	r.ask(t, "")

	code, out, errs := r.run(t, "workers")
	if code != 0 || !strings.Contains(out, "Workers of [http]:") || strings.Count(out, "ready") != 2 || errs != "" {
		t.Errorf("rr workers: %d, %q, %q", code, out, errs)
	}
	code, out, errs = r.run(t, "reset", "http")
	if code != 0 || out != "resetting plugin: [http]\nplugin reset: [http]\n" || errs != "" {
		t.Errorf("rr reset http: %d, %q, %q", code, out, errs)
	}
	if code, _, errs := r.run(t, "reset", "grpc"); code != 1 || !strings.Contains(errs, "no such plugin: grpc") {
		t.Errorf("rr reset grpc: %d, %q", code, errs)
	}

	// A worker that does not come up any more: the old ones stay, and the reason is told.
	writeFile(t, filepath.Join(r.dir, "worker.php"), "<?php throw new Exception('typing error');")
	if code, _, errs := r.run(t, "reset"); code != 1 || !strings.Contains(errs, "typing error") {
		t.Errorf("rr reset of broken code: %d, %q", code, errs)
	}
	r.ask(t, "")

	if pid, err := os.ReadFile(filepath.Join(r.dir, ".pid")); err != nil || string(pid) != strconv.Itoa(r.cmd.Process.Pid) {
		t.Errorf(".pid: %q, %v", pid, err)
	}
	if code, _, errs := r.run(t, "stop"); code != 0 || errs != "" {
		t.Errorf("rr stop: %d, %q", code, errs)
	}
	if code := r.waitExit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(r.dir, ".pid")); err == nil {
		t.Error("the .pid file is there still")
	}
	if code, _, errs := r.run(t, "workers"); code != 1 || !strings.Contains(errs, "no server answers at tcp://"+r.rpc) {
		t.Errorf("rr workers without a server: %d, %q", code, errs)
	}
}

func TestSecondSignalForcesTheExit(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	r.serve(t, r.octane(t)...)
	go func() {
		if res, err := http.Get("http://" + r.addr + "/?ms=25000"); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}()
	awaitFile(t, filepath.Join(r.dir, "started"))
	r.cmd.Process.Signal(syscall.SIGQUIT)
	testenv.Eventually(t, "the first signal is taken", func() bool { return strings.Contains(r.output(), "stop signal received") })
	r.cmd.Process.Signal(syscall.SIGTERM)
	if code := r.waitExit(t); code != 1 || !strings.Contains(r.output(), "exit forced") {
		t.Errorf("exit code %d, output:\n%s", code, r.output())
	}
}

// TestRestartBySignal: SIGUSR2 reads the configuration again, as the same process.
func TestRestartBySignal(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	r.serve(t, r.octane(t, "server.env.APP_ENV=${WHICH:-one}")...)
	if got := r.ask(t, "")["APP_ENV"]; got != "one" {
		t.Errorf("APP_ENV is %v", got)
	}
	writeFile(t, filepath.Join(r.dir, ".rr.yaml"), "http: {pool: {command: ["+testenv.PHP(t)+", other.php]}}")
	text, err := os.ReadFile(filepath.Join(r.dir, "worker.php"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.dir, "other.php"), strings.Replace(string(text), "'cwd' =>", "'other' => 1, 'cwd' =>", 1))
	r.cmd.Process.Signal(syscall.SIGUSR2)
	testenv.Eventually(t, "the new configuration serves", func() bool {
		res, err := http.Get("http://" + r.addr)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return strings.Contains(string(body), `"other":1`)
	})
}

func TestOnInit(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	r.serve(t, r.octane(t, "server.on_init.command=touch initialised", "server.on_init.env.a=b")...)
	if _, err := os.Stat(filepath.Join(r.dir, "initialised")); err != nil {
		t.Error(err)
	}
	other := newApplication(t)
	code, _, errs := other.run(t, other.octane(t, "server.on_init.command=ls nothing-here", "server.on_init.exit_on_error=true")...)
	if code != 1 || !strings.Contains(errs, "server.on_init: ls nothing-here: exit status") {
		t.Errorf("exit code %d, %q", code, errs)
	}
	code, _, errs = other.run(t, other.octane(t, "server.on_init.command=sleep 60", "server.on_init.exec_timeout=100ms", "server.on_init.exit_on_error=1")...)
	if code != 1 || !strings.Contains(errs, "it did not end within 100ms") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestMistakesUnderTheNameRR(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"serve"}, `version: is missing: write version: "3", or start with -o version=3`},
		{[]string{"serve", "-c", "none.yaml"}, "there is no none.yaml"},
		{[]string{"serve", "-o", "version=3", "-o", "http.address=127.0.0.1:0"}, "server.command: is missing"},
		{[]string{"serve", "-o", "nonsense"}, "write -o key=value"},
		{[]string{"serve", "--dotenv", "none.env"}, "read dotenv"},
		{[]string{"reset"}, "rpc.listen is not set"},
		{[]string{"workers", "-o", "rpc.listen=tcp://127.0.0.1:1"}, "no server answers at tcp://127.0.0.1:1"},
		{[]string{"stop"}, "start with rr serve -p"},
		{[]string{"jobs", "--list"}, "Edge has no job queues yet"},
		{[]string{"--port"}, "unknown flag: --port"},
		{[]string{"surve"}, `unknown command "surve"`},
	} {
		if code, _, errs := r.run(t, tt.args...); code != 1 || !strings.Contains(errs, tt.want) {
			t.Errorf("rr %s: exit %d, %q; want 1 and %q", tt.args, code, errs, tt.want)
		}
	}
	// The same face, as a command of edge.
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"rr", "-v"}, &out, &errs); code != 0 || !strings.HasPrefix(out.String(), "rr version 2025.1.15 (build time: ") {
		t.Errorf("edge rr -v: %d, %q, %q", code, out.String(), errs.String())
	}
}

// TestMigrate: what `edge migrate` prints is an edge.yaml that Edge accepts.
func TestMigrate(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	writeFile(t, filepath.Join(dir, ".rr.yaml"), `
version: "3"
rpc: {listen: tcp://127.0.0.1:6001}
server: {command: "php worker.php", env: {APP_KEY: "${EDGE_RR_TEST_KEY}"}, user: www-data}
http:
  address: 0.0.0.0:8080
  middleware: [gzip, headers, static, sendfile]
  static: {dir: public, forbid: [.php]}
  headers: {response: {X-Powered-By: Edge}, cors: {allowed_origin: "*", max_age: 600}}
  uploads: {forbid: [.php]}
  pool: {num_workers: 4, max_jobs: 64, allocate_timeout: 60s, supervisor: {ttl: 1h, max_worker_memory: 100, exec_ttl: 60s}}
kv: {local: {driver: memory, config: {interval: 60}}, remote: {driver: redis}}
logs: {mode: production, output: stdout}
status: {address: 127.0.0.1:2114}
metrics: {address: 127.0.0.1:2112}
jobs: {consume: []}
`)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"migrate", filepath.Join(dir, ".rr.yaml")}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if want := "edge: 1 settings have no counterpart; the comments at the top name them\n"; errs.String() != want {
		t.Errorf("standard error: got %q, want %q", errs.String(), want)
	}
	path := filepath.Join(dir, "edge.yaml")
	writeFile(t, path, out.String())
	cfg, err := core.Load(path, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	pool := cfg.PHP["http"]
	if pool.Workers.Min != 4 || pool.Root != filepath.Join(dir, "public") || pool.MaxMemory != 100<<20 || cfg.HTTP.Headers.CORS.MaxAge != 10*time.Minute {
		t.Errorf("the pool is %+v", pool)
	}
	errs.Reset()
	if code := run(t.Context(), []string{"migrate", filepath.Join(dir, "none.yaml")}, &out, &errs); code != 1 || strings.Contains(errs.String(), "edge.yaml") || !strings.Contains(errs.String(), "none.yaml") {
		t.Errorf("a file that is not there: %d, %q", code, errs.String())
	}
	writeFile(t, filepath.Join(dir, "including.yaml"), "version: '3'\ninclude: [lost.yaml]\n")
	errs.Reset()
	if code := run(t.Context(), []string{"migrate", filepath.Join(dir, "including.yaml")}, &out, &errs); code != 1 || strings.Contains(errs.String(), "edge.yaml") || !strings.Contains(errs.String(), "lost.yaml") {
		t.Errorf("an included file that is not there: %d, %q", code, errs.String())
	}
	for _, want := range []string{"# Has no counterpart yet:", "#   jobs: Edge has no job queues yet", "  output: stdout", "    names: both", `APP_KEY: "${EDGE_RR_TEST_KEY:-}"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
}
