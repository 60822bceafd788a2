package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// configured writes a .rr.yaml around what the test is about.
func (r *roadRunner) configured(t *testing.T, server, pool, rest string) {
	t.Helper()
	writeFile(t, filepath.Join(r.dir, ".rr.yaml"), `
version: "3"
rpc: {listen: "tcp://`+r.rpc+`"}
server: `+server+`
http:
  address: "`+r.addr+`"
  pool: `+pool+`
`+rest)
}

// command is a server section whose workers run worker.php, and find value in APP_ENV.
func command(t *testing.T, value string) string {
	return `{command: "` + testenv.PHP(t) + ` worker.php", env: {APP_ENV: ` + value + `}}`
}

// TestResetReadsTheConfigurationAgain: what makes the workers is as the file says now, the rest as it was at the start.
func TestResetReadsTheConfigurationAgain(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	r.configured(t, command(t, "one"), "{num_workers: 1}", "")
	r.serve(t, "serve", "-c", filepath.Join(r.dir, ".rr.yaml"))
	if got := r.ask(t, "")["APP_ENV"]; got != "one" {
		t.Errorf("APP_ENV is %v", got)
	}

	r.configured(t, command(t, "two"), "{num_workers: 2}", "status: {address: '"+freeAddress(t)+"'}")
	if code, _, errs := r.run(t, "reset"); code != 0 || errs != "" {
		t.Fatalf("rr reset: %d, %q", code, errs)
	}
	if got := r.ask(t, "")["APP_ENV"]; got != "two" {
		t.Errorf("after a reset APP_ENV is %v", got)
	}
	testenv.Eventually(t, "there are two workers", func() bool {
		_, out, _ := r.run(t, "workers")
		return strings.Count(out, "ready") == 2
	})

	for _, broken := range []struct{ server, pool, want string }{
		{command(t, "three"), "{num_workers: many}", `.rr.yaml:7: http.pool.num_workers: "many" is not a whole number`},
		{`{command: "` + testenv.PHP(t) + ` gone.php"}`, "{num_workers: 1}", ".rr.yaml:4: server.command: open " + filepath.Join(r.dir, "gone.php")},
	} {
		r.configured(t, broken.server, broken.pool, "")
		if code, _, errs := r.run(t, "reset"); code != 1 || !strings.Contains(errs, "reset refused, the workers serve on as they were: ") || !strings.Contains(errs, broken.want) {
			t.Errorf("rr reset: %d, %q, want %q", code, errs, broken.want)
		}
		if got := r.ask(t, "")["APP_ENV"]; got != "two" {
			t.Errorf("after a refused reset APP_ENV is %v", got)
		}
	}
}

// TestHangupReloads: the whole file is read again, requests in flight finish, and what needs a new start refuses all of it.
func TestHangupReloads(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	r.configured(t, command(t, "one"), "{num_workers: 1}", "")
	r.serve(t, "serve", "-c", filepath.Join(r.dir, ".rr.yaml"))

	answered := make(chan int, 1)
	go func() { // ends with the answer
		res, err := http.Get("http://" + r.addr + "/?ms=2000")
		if err != nil {
			answered <- 0
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	awaitFile(t, filepath.Join(r.dir, "started"))
	r.configured(t, command(t, "two"), "{num_workers: 1}", "  middleware: [headers]\n  headers: {response: {X-Reloaded: yes it is}}\n")
	r.cmd.Process.Signal(syscall.SIGHUP)
	testenv.Eventually(t, "the new configuration serves", func() bool {
		res, err := http.Get("http://" + r.addr)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.Header.Get("X-Reloaded") == "yes it is"
	})
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the request in flight was answered with %d", status)
	}
	if got := r.ask(t, "")["APP_ENV"]; got != "two" {
		t.Errorf("APP_ENV is %v", got)
	}

	r.configured(t, command(t, "three"), "{num_workers: 1}", "status: {address: '"+freeAddress(t)+"'}\nlogs: {mode: raw}\n")
	r.cmd.Process.Signal(syscall.SIGHUP)
	testenv.Eventually(t, "the log says why not", func() bool { return strings.Contains(r.output()+r.log(), "needs a restart: logs; nothing was changed") })
	r.configured(t, command(t, "three"), "{num_workers: 1}", "status: {address: '"+freeAddress(t)+"'}\n")
	r.cmd.Process.Signal(syscall.SIGHUP)
	testenv.Eventually(t, "the log says why not", func() bool {
		return strings.Contains(r.output()+r.log(), "needs a restart: metrics, status or otel; nothing was changed")
	})
	if got := r.ask(t, "")["APP_ENV"]; got != "two" {
		t.Errorf("after a refused reload APP_ENV is %v", got)
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	if code := r.waitExit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestTheReferenceFileStarts: what RoadRunner's own example has, and Edge would refuse in an edge.yaml.
func TestTheReferenceFileStarts(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	r.configured(t, command(t, "one"), "{num_workers: 1, reset_timeout: 60s}", `
  middleware: [headers]
  headers: {cors: {allowed_origin: "*", allowed_headers: "*", allow_credentials: true, max_age: 600}}
metrics: {address: "`+freeAddress(t)+`", collect: {app_metric: {type: histogram, buckets: [0.1, 0.2], objectives: {0.1: 2.3}}}}
`)
	r.serve(t, "serve", "-c", filepath.Join(r.dir, ".rr.yaml"))
	req, err := http.NewRequest(http.MethodGet, "http://"+r.addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://a.example")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header; got.Get("Access-Control-Allow-Origin") != "*" || got.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("the answer has %v", got)
	}
	for _, want := range []string{"http.headers.cors.allow_credentials: is left away", "metrics.collect.app_metric.objectives: has no effect"} {
		if strings.Count(r.output()+r.log(), want) != 1 {
			t.Errorf("%q is not once in the log:\n%s\n%s", want, r.output(), r.log())
		}
	}
}

// TestErrorsNameWhatTheUserWrote, and not the edge.yaml that nobody has.
func TestErrorsNameWhatTheUserWrote(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	taken := takenAddress(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	base := "version: '3'\nserver:\n  command: " + testenv.PHP(t) + " gone.php\nhttp:\n  address: "
	for _, tt := range []struct {
		yaml string
		args []string
		want string
	}{
		{base + "nonsense\n", nil, `.rr.yaml:5: http.address: "nonsense" is not host:port`},
		{base + "127.0.0.1:0\n", nil, ".rr.yaml:3: server.command: open " + filepath.Join(r.dir, "gone.php")},
		{base + "127.0.0.1:0\n", []string{"-o", "http.address=nonsense"}, `rr: -o http.address: "nonsense" is not host:port`},
		{base + taken + "\n", []string{"-o", "server.command=" + testenv.PHP(t) + ",worker.php"}, "http.address: listen tcp " + taken},
		{"version: '3'\nhttp: {address: '127.0.0.1:0'}\n", []string{"-o", "server.comand=php,worker.php"}, "-o server.comand: RoadRunner has no such key"},
	} {
		writeFile(t, filepath.Join(r.dir, ".rr.yaml"), tt.yaml)
		code, _, errs := r.run(t, append([]string{"serve", "-o", "server.user=" + me.Username}, tt.args...)...)
		last := errs[max(0, strings.LastIndex(errs, "rr: ")):] // behind the log
		if code != 1 || !strings.Contains(last, tt.want) || strings.Contains(last, "edge.yaml") || strings.Contains(last, "http.listen") {
			t.Errorf("%s%q: exit code %d, %q; want %q", tt.yaml, tt.args, code, last, tt.want)
		}
	}

	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"php-server", "--worker", "gone.php", r.dir}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "--worker gone.php: there is no file ") {
		t.Errorf("php-server: %d, %q", code, errs.String())
	}
}

// takenAddress is one that the test listens on.
func takenAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// TestADeployLinkThatMoves: a server that was started in the folder of a link reads the configuration of where it leads now.
func TestADeployLinkThatMoves(t *testing.T) {
	t.Parallel()
	r := newApplication(t)
	r.configured(t, command(t, "one"), "{num_workers: 1}", "")
	text, err := os.ReadFile(filepath.Join(r.dir, "worker.php"))
	if err != nil {
		t.Fatal(err)
	}
	next, current := testenv.Dir(t), filepath.Join(testenv.Dir(t), "current")
	writeFile(t, filepath.Join(next, "worker.php"), string(text))
	if err := os.Symlink(r.dir, current); err != nil {
		t.Fatal(err)
	}
	r.serve(t, "serve", "-c", filepath.Join(current, ".rr.yaml"))
	r.configured(t, command(t, "two"), "{num_workers: 1}", "")
	if err := os.Rename(filepath.Join(r.dir, ".rr.yaml"), filepath.Join(next, ".rr.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(next, current); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := r.run(t, "reset", "-c", filepath.Join(current, ".rr.yaml")); code != 0 || errs != "" {
		t.Fatalf("rr reset: %d, %q", code, errs)
	}
	if got := r.ask(t, ""); got["APP_ENV"] != "two" || got["cwd"] != next {
		t.Errorf("after a deploy: %v", got)
	}
}
