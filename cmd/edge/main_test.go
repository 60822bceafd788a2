package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// binary builds the program once; signals and exit codes need a process of its own.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "edge")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a running `edge serve`.
type process struct {
	cmd *exec.Cmd
	dir string
	url string

	named chan string // the first address, when the server has said it

	mu     sync.Mutex // protects stderr
	stderr bytes.Buffer
	exit   chan int
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// startServer starts `edge serve` on a free port and waits until it says where it listens.
func startServer(t *testing.T, config string, env ...string) *process {
	t.Helper()
	return launchServer(t, config, env...).started(t)
}

// started waits until the server says where it listens.
func (p *process) started(t *testing.T) *process {
	t.Helper()
	select {
	case p.url = <-p.named:
	case code := <-p.exit:
		p.exit <- code // for the cleanup
		t.Fatalf("edge serve named no address; its log:\n%s", p.log())
	case <-time.After(2 * time.Minute): // else the tests of the package would wait until they are killed
		t.Fatalf("edge serve runs and names no address; its log:\n%s", p.log())
	}
	return p
}

// launchServer starts `edge serve` and does not wait.
func launchServer(t *testing.T, config string, env ...string) *process {
	t.Helper()
	return launchServerIn(t, testenv.Dir(t), config, nil, env...)
}

// launchServerIn starts `edge serve` with further flags in a folder.
func launchServerIn(t *testing.T, dir, config string, flags []string, env ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{dir: dir, named: make(chan string, 1), exit: make(chan int, 1)}
	writeFile(t, filepath.Join(p.dir, "edge.yaml"), "version: 1\n"+config)
	p.cmd = exec.Command(path, append([]string{"serve", "-c", filepath.Join(p.dir, "edge.yaml")}, flags...)...)
	p.cmd.Env = append(os.Environ(), `EDGE_HTTP__LISTEN=[{address: "127.0.0.1:0"}]`)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = p
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.waitExit(t)
	})
	go func() { // ends with the process, whose stdout this is
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if fields := strings.Fields(lines.Text()); len(fields) > 0 && strings.HasPrefix(fields[0], "http://") {
				select {
				case p.named <- fields[0]:
				default:
				}
			}
		}
		p.cmd.Wait()
		p.exit <- p.cmd.ProcessState.ExitCode()
	}()
	return p
}

func (p *process) waitExit(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.exit:
		p.exit <- code // for the cleanup
		return code
	case <-time.After(time.Minute):
		t.Fatalf("edge did not exit; its log:\n%s", p.log())
		return 0
	}
}

// edge runs another command of the program against the same edge.yaml.
func (p *process) edge(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append(args, "-c", filepath.Join(p.dir, "edge.yaml")), &out, &errs)
	return code, out.String(), errs.String()
}

func get(t *testing.T, url string) (int, string) {
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
	return res.StatusCode, string(body)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// slowWorker is a pool whose worker answers after the time of ?ms=.
func slowWorker(t *testing.T, dir string) string {
	t.Helper()
	script := filepath.Join(dir, "worker.php")
	writeFile(t, script, `<?php
require '`+testenv.Root(t)+`/sdk/php/autoload.php';
(new Edge\Http\Worker())->serve(function (Edge\Http\Request $request): Edge\Http\Response {
	file_put_contents(__DIR__ . '/started', getmypid());
	usleep(1000 * (int) ($request->query['ms'] ?? 0));
	return new Edge\Http\Response(200, ['Content-Type' => 'text/plain'], 'done');
});
`)
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return `
http: {routes: [{php: app}]}
php: {app: {command: [` + testenv.PHP(t) + `, ` + script + `], user: ` + u.Username + `, workers: {min: 1, max: 1}}}
`
}

func awaitFile(t *testing.T, path string) string {
	t.Helper()
	var content []byte
	testenv.Eventually(t, path+" is written", func() bool {
		content, _ = os.ReadFile(path)
		return len(content) > 0
	})
	return string(content)
}

func TestSIGTERMDrainsAndExits0(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	p := startServer(t, slowWorker(t, dir))
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get(p.url + "/?ms=700")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		answer <- string(body)
	}()
	pid := awaitFile(t, filepath.Join(dir, "started"))
	p.cmd.Process.Signal(syscall.SIGTERM)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	if code := p.waitExit(t); code != 0 {
		t.Errorf("exit code %d, want 0; log:\n%s", code, p.log())
	}
	if _, err := os.Stat("/proc/" + pid); err == nil {
		t.Errorf("worker %s has outlived the server", pid)
	}
}

func TestSecondSignalExits1AtOnce(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	p := startServer(t, slowWorker(t, dir))
	go func() {
		if res, err := http.Get(p.url + "/?ms=60000"); err == nil {
			res.Body.Close()
		}
	}()
	pid := awaitFile(t, filepath.Join(dir, "started"))
	p.cmd.Process.Signal(syscall.SIGTERM)
	testenv.Eventually(t, "the first signal is taken", func() bool { return strings.Contains(p.log(), "edge stops") })
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.waitExit(t); code != 1 {
		t.Errorf("exit code %d, want 1; log:\n%s", code, p.log())
	}
	testenv.Eventually(t, "worker "+pid+" is gone with the server", func() bool {
		_, err := os.Stat("/proc/" + pid)
		return err != nil
	})
}

// slowBoot is a pool whose workers need a minute until they ask for work. They say in dir/started that they boot.
func slowBoot(t *testing.T, dir string) string {
	t.Helper()
	writeFile(t, filepath.Join(dir, "slow.php"), "<?php file_put_contents(__DIR__ . '/started', getmypid()); sleep(60);")
	return strings.Replace(slowWorker(t, dir), "worker.php]", "slow.php], boot_timeout: 60s", 1)
}

// TestSignalsAtAwkwardMoments: SIGTERM ends a start, and a reload, that waits for a worker; a second signal does not wait for that.
func TestSignalsAtAwkwardMoments(t *testing.T) {
	t.Parallel()
	t.Run("during the start", func(t *testing.T) {
		t.Parallel()
		dir := testenv.Dir(t)
		p := launchServer(t, slowBoot(t, dir))
		awaitFile(t, filepath.Join(dir, "started"))
		p.cmd.Process.Signal(syscall.SIGHUP) // waits for the start, which does not come
		p.cmd.Process.Signal(syscall.SIGTERM)
		if code := p.waitExit(t); code != 0 {
			t.Errorf("exit code %d, want 0; log:\n%s", code, p.log())
		}
	})
	t.Run("during a reload", func(t *testing.T) {
		t.Parallel()
		dir := testenv.Dir(t)
		p := startServer(t, "http: {routes: [{respond: hello}]}")
		writeFile(t, filepath.Join(p.dir, "edge.yaml"), "version: 1\n"+slowBoot(t, dir))
		p.cmd.Process.Signal(syscall.SIGHUP)
		pid := awaitFile(t, filepath.Join(dir, "started"))
		if status, body := get(t, p.url); status != http.StatusOK || body != "hello" {
			t.Errorf("during the reload: %d %q", status, body)
		}
		p.cmd.Process.Signal(syscall.SIGTERM)
		if code := p.waitExit(t); code != 0 || !strings.Contains(p.log(), "edge has stopped") {
			t.Errorf("exit code %d, want 0; log:\n%s", code, p.log())
		}
		if _, err := os.Stat("/proc/" + pid); err == nil {
			t.Errorf("worker %s has outlived the server", pid)
		}
	})
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(testenv.Dir(t), "edge.yaml")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"serv"}, "serve"},
		{[]string{"plugin", "sl"}, `unknown command "sl" for "edge plugin"`},
		{[]string{"plugin", "new"}, "NAME is missing"},
		{[]string{"plugin", "new", "my", "plugin", "--lang", "go"}, "quote what belongs together"},
		{[]string{"plugin", "new", filepath.Join(missing, "x")}, "in what language? --lang is one of go, rust"},
		{[]string{"plugin", "check"}, "FILE is missing, the built plugin: edge plugin check FILE"},
		{[]string{"plugin", "build", filepath.Join(filepath.Dir(missing), "nowhere")}, "edge plugin new writes a plugin"},
		{[]string{"plugin", "verify", "x.wasm", "-c", missing}, "--key ed25519:…"},
		{[]string{"check", "extra"}, `unknown command "extra"`},
		{[]string{"serve", "--port=80"}, "unknown flag: --port; see edge serve --help"},
		{[]string{"check", "-c", missing}, "there is no " + missing + ": run edge in the folder of your edge.yaml"},
		{[]string{"status", "-c", missing}, "there is no " + missing},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), tt.args, &out, &errs); code != 1 || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("edge %s: exit %d, %q; want 1 and %q", tt.args, code, errs.String(), tt.want)
		}
	}
}

func TestCheckWarnsOfWhatIsOnlyLogged(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	if err := os.Mkdir(filepath.Join(dir, "plugins-wasm"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "plugins-wasm", "junk.wasm"), "junk")
	writeFile(t, filepath.Join(dir, "edge.yaml"), "version: 1\nplugins: {}\n")
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"check", "-c", filepath.Join(dir, "edge.yaml")}, &out, &errs)
	if code != 0 || !strings.Contains(out.String(), "is sound") || !strings.Contains(errs.String(), "junk.wasm") {
		t.Errorf("exit %d, %q, %q", code, out.String(), errs.String())
	}
}

func TestServesWithoutPHP(t *testing.T) {
	t.Parallel()
	p := startServer(t, "http: {routes: [{respond: hello}]}\nplugins: {}", "PATH=/nonexistent")
	if status, body := get(t, p.url); status != http.StatusOK || body != "hello" {
		t.Errorf("answer %d %q", status, body)
	}
}

func TestCommandsTalkToTheServer(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	config := slowWorker(t, dir)
	p := startServer(t, config)
	get(t, p.url)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"status"}, "ready"},
		{[]string{"workers"}, "app"},
		{[]string{"plugin", "ls"}, "GENERATION"},
		{[]string{"reload"}, "reloaded"},
		{[]string{"check"}, "is sound: 1 routes, 1 PHP pools"},
		{[]string{"version"}, "edge 0."},
	} {
		if code, out, errs := p.edge(t, tt.args...); code != 0 || !strings.Contains(out, tt.want) {
			t.Errorf("edge %s: exit %d, %q %q; want %q", tt.args, code, out, errs, tt.want)
		}
	}

	writeFile(t, filepath.Join(p.dir, "edge.yaml"), "version: 1\nhttp: {routes: [{respond: changed}]}\n")
	p.cmd.Process.Signal(syscall.SIGHUP)
	testenv.Eventually(t, "SIGHUP puts the new file in force", func() bool {
		_, body := get(t, p.url)
		return body == "changed"
	})

	writeFile(t, filepath.Join(p.dir, "edge.yaml"), "version: 1\nhttp: {routs: []}\n")
	code, _, errs := p.edge(t, "check")
	if code != 1 || !strings.Contains(errs, `edge.yaml:2: http.routs: unknown key; did you mean "routes"?`) {
		t.Errorf("edge check of a broken file: exit %d, %q", code, errs)
	}
}

func TestCommandsWithoutAServer(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	writeFile(t, filepath.Join(dir, "edge.yaml"), "version: 1\nhttp: {routes: [{respond: hello}]}\n")
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"status", "-c", filepath.Join(dir, "edge.yaml")}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "no Edge answers at") {
		t.Errorf("edge status: exit %d, %q", code, errs.String())
	}

	out.Reset()
	errs.Reset()
	code = run(context.Background(), []string{"trust", "--uninstall", "-c", filepath.Join(dir, "edge.yaml")}, &out, &errs)
	if code != 0 || !strings.Contains(out.String(), "nothing to take out") {
		t.Errorf("edge trust --uninstall: exit %d, %q %q", code, out.String(), errs.String())
	}
	if _, err := os.Stat(filepath.Join(dir, ".edge")); err == nil {
		t.Error("edge trust --uninstall made a state folder")
	}
}
