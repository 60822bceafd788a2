package php_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

func workers(minimum, maximum int) func(*php.Config, *php.Options) {
	return func(c *php.Config, _ *php.Options) { c.Workers.Min, c.Workers.Max = minimum, maximum }
}

func TestUnixRelay(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.Relay = "unix" })
	w.expect("/status?n=200&body=hi", 200, "hi")
	w.expect("/stream?n=2", 200, "part 0\npart 1\nend\n")
	w.expectStatus("/exit", http.StatusBadGateway)
	w.expect("/status?n=200&body=hi", 200, "hi")
	_, body := w.get("/big?n=3000000")
	if len(body) != 3_000_000 {
		t.Errorf("%d bytes", len(body))
	}
}

func TestCrashCostsOneRequest(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	for _, path := range []string{"/exit", "/exit?code=3", "/exit-mid-frame"} {
		w.expectStatus(path, http.StatusBadGateway)
		w.expectStatus("/pid", 200)
	}
	w.logged("exit status 3")
	if s := w.pool.Stats(); s.Crashes != 3 || s.Requests != 6 {
		t.Errorf("stats %+v, want 3 crashes of 6 requests", s)
	}
}

func TestHangIsKilled(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.ExecTimeout = 300 * time.Millisecond })
	w.expectStatus("/hang", http.StatusGatewayTimeout)
	w.expectStatus("/pid", 200)
	if s := w.pool.Stats(); s.Timeouts != 1 || s.Crashes != 0 {
		t.Errorf("stats %+v, want 1 timeout and no crash", s)
	}
}

// TestStopAnswer retires the worker that asks for it and gives its request to another.
func TestStopAnswer(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	w.expectStatus("/pid", 200) // so that the next is the second of this worker
	w.expect("/stop", 200, "served 2")
	_, before := w.get("/pid")
	w.expectStatus("/always-stop", http.StatusBadGateway)
	_, after := w.get("/pid")
	if before == after {
		t.Errorf("worker %s is still there", before)
	}
}

func TestFreshWorkerAsksToStop(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", workers(2, 2))
	// Both fresh workers ask to stop, and so do their successors: the request is given up, not passed round for ever.
	w.expectStatus("/stop", http.StatusBadGateway)
	w.expectStatus("/pid", 200)
}

func TestQueueFull(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Queue = php.Queue{Max: 2, Timeout: patience}
		c.ExecTimeout = 2 * time.Second
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { w.get("/hang") })
	}
	w.eventually("two wait", func() bool { s := w.pool.Stats(); return s.Queued == 2 && s.Busy == 1 })
	response, _ := w.do(httptest.NewRequest("GET", "/pid", nil))
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Errorf("over a full queue: %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	wg.Wait()
}

func TestQueueTimeout(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Queue = php.Queue{Max: 10, Timeout: 100 * time.Millisecond}
		c.ExecTimeout = 2 * time.Second
	})
	var wg sync.WaitGroup
	wg.Go(func() { w.expectStatus("/hang", http.StatusGatewayTimeout) })
	w.eventually("the worker is busy", func() bool { return w.pool.Stats().Busy == 1 })
	w.expectStatus("/pid", http.StatusServiceUnavailable)
	wg.Wait()
	w.expectStatus("/pid", 200)
}

// TestClientLeavesQueue cancels waiting requests from the front, the middle and the end of the queue.
func TestClientLeavesQueue(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.ExecTimeout = 3 * time.Second })
	var wg sync.WaitGroup
	wg.Go(func() { w.get("/hang") })
	w.eventually("the worker is busy", func() bool { return w.pool.Stats().Busy == 1 })
	var cancels []context.CancelFunc
	for i := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		cancels = append(cancels, cancel)
		wg.Go(func() {
			rec := httptest.NewRecorder()
			w.pool.ServeHTTP(rec, httptest.NewRequest("GET", "/pid", nil).WithContext(ctx))
			if want := map[bool]int{true: 499, false: 200}[i != 1]; rec.Code != want {
				t.Errorf("waiting request %d: status %d, want %d", i, rec.Code, want)
			}
		})
		w.eventually("it waits", func() bool { return w.pool.Stats().Queued == i+1 })
	}
	for n, i := range []int{2, 0, 3} {
		cancels[i]()
		w.eventually("it left", func() bool { return w.pool.Stats().Queued == 3-n })
	}
	wg.Wait()
}

func TestGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "app.php", func(c *php.Config, _ *php.Options) { c.Workers = php.Workers{Min: 1, Max: 4, Spare: 2} })
	w.pool.Hurry(50*time.Millisecond, 10*time.Millisecond)
	w.start()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { w.expectStatus("/slow?ms=500", 200) })
	}
	w.eventually("four work", func() bool { return w.pool.Stats().Busy == 4 })
	wg.Wait()
	w.eventually("two are left", func() bool { s := w.pool.Stats(); return s.Idle == 2 && s.Busy+s.Stopping+s.Booting == 0 })
	w.expectStatus("/pid", 200)
}

func TestMaxJobs(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.MaxJobs = 5 })
	pids := map[string]int{}
	for range 200 {
		status, pid := w.get("/pid")
		if status != 200 {
			t.Fatalf("status %d", status)
		}
		pids[pid]++
		time.Sleep(time.Millisecond)
	}
	if len(pids) < 2 {
		t.Errorf("200 requests with max_jobs 5 went to the workers %v", pids)
	}
	if s := w.pool.Stats(); s.Crashes != 0 {
		t.Errorf("%d crashes", s.Crashes)
	}
}

// TestKillUnderLoad kills random workers under load: only requests that were inside one fail, with 502, and nothing hangs.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	const connections, size = 64, 4
	total := testenv.Count(1000, 10000)
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Workers = php.Workers{Min: size, Max: size}
		c.Queue.Timeout = 2 * patience
		c.ExecTimeout = 2 * patience
	})
	var left, failed, killed atomic.Int64
	left.Store(int64(total))
	done := make(chan struct{})
	var killer, clients sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(5+rand.IntN(20)) * time.Millisecond):
			}
			if all := w.pool.Workers(); len(all) > 0 {
				if syscall.Kill(all[rand.IntN(len(all))].PID, syscall.SIGKILL) == nil {
					killed.Add(1)
				}
			}
		}
	})
	for range connections {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				response, body, err := w.try(httptest.NewRequest("GET", "/slow?ms=1", nil))
				switch {
				case err != nil:
					t.Errorf("a request failed altogether: %v", err)
				case response.StatusCode == http.StatusBadGateway:
					failed.Add(1)
				case response.StatusCode != 200 || body != "slow":
					t.Errorf("got %d %q", response.StatusCode, body)
				}
			}
		})
	}
	clients.Wait()
	close(done)
	killer.Wait()
	if failed.Load() > killed.Load() {
		t.Errorf("%d requests failed, %d workers were killed", failed.Load(), killed.Load())
	}
	if killed.Load() == 0 {
		t.Error("nothing was killed, so nothing was tested")
	}
	w.eventually("the pool is whole", func() bool { return w.pool.Stats().Idle == size })
	t.Logf("%d workers killed, %d of %d requests failed, %d moved on", killed.Load(), failed.Load(), total, w.pool.Stats().Retries)
}

func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", workers(3, 6))
	var wg sync.WaitGroup
	done := make(chan struct{})
	var served atomic.Int64
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if status, _ := w.get("/slow?ms=1"); status != 200 {
					t.Errorf("status %d during a reload", status)
				}
				served.Add(1)
			}
		})
	}
	for i := range testenv.Count(4, 50) {
		before := served.Load()
		w.eventually("requests flow", func() bool { return served.Load() > before+20 })
		if err := w.pool.Reload(t.Context()); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
	}
	close(done)
	wg.Wait()
	if s := w.pool.Stats(); s.Rejected+s.Crashes != 0 || s.Reloads == 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestReloadReadsTheDeployLink moves the link that a deployment moves.
func TestReloadReadsTheDeployLink(t *testing.T) {
	t.Parallel()
	root := testenv.Dir(t)
	release := func(name string) {
		dir := filepath.Join(root, name)
		script := fmt.Sprintf("<?php require %q; $w = new Worker(); while ($r = $w->next()) $w->respond(200, %q);\n",
			filepath.Join(testenv.Root(t), "php", "testdata", "lib.php"), name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "worker.php"), []byte(script), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name string) {
		next := filepath.Join(root, "next")
		if err := errors.Join(os.Symlink(filepath.Join(root, name), next), os.Rename(next, filepath.Join(root, "current"))); err != nil {
			t.Fatal(err)
		}
	}
	release("one")
	release("two")
	link("one")
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) {
		c.Dir, c.Workers = filepath.Join(root, "current"), php.Workers{Min: 2, Max: 2}
	})
	link("two")
	w.expect("/", 200, "one")
	w.expectStatus("/", 200)
	if err := w.pool.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.expect("/", 200, "two")
	}

	broken := "<?php\necho 'Parse error: in two';\nexit(255);\n"
	if err := os.WriteFile(filepath.Join(root, "two", "worker.php"), []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.pool.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "Parse error: in two") {
		t.Errorf("reload of broken code: %v, want PHP's words", err)
	}
	for range 4 {
		w.expect("/", 200, "two")
	}
	if s := w.pool.Stats(); s.ReloadsFailed != 1 || s.Idle+s.Busy != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestBootFailures(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"silent":  "connecting to the database",
		"throws":  "no database at db:5432",
		"prints":  "PHP Parse error: syntax error",
		"exits":   "exit status 7",
		"wrong":   "unexpected response",
		"nothing": "exit status 0",
	} {
		for _, relay := range []string{"pipes", "unix"} {
			t.Run(arg+" "+relay, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "broken.php "+arg, func(c *php.Config, _ *php.Options) {
					c.Relay = relay
					c.Workers = php.Workers{Min: 2, Max: 2}
					if c.BootTimeout = patience; arg == "silent" {
						c.BootTimeout = time.Second
					}
				})
				err := w.pool.Start(t.Context())
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "allocate-timeout") {
					t.Errorf("start: %v\nwant %q and the allocate-timeout hint in it", err, want)
				}
				w.stop()
			})
		}
	}
}

// TestStartIsCancelled gives up before boot_timeout when the caller does.
func TestStartIsCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "broken.php silent", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.pool.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("start: %v, want a deadline", err)
	}
	w.stop()
}

// TestCrashLoop keeps answering 503 in time while no worker comes up, and recovers by itself.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	script := filepath.Join(dir, "worker.php")
	good, err := os.ReadFile(filepath.Join(testenv.Root(t), "php", "testdata", "app.php"))
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(testenv.Root(t), "php", "testdata", "lib.php")
	code := strings.ReplaceAll(string(good), "__DIR__ . '/lib.php'", "'"+lib+"'")
	write := func(text string) {
		if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(code)
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) {
		c.Dir = dir
		c.Queue.Timeout = 300 * time.Millisecond
	})
	write("<?php fwrite(STDERR, \"no database\\n\"); exit(1);")
	w.expectStatus("/exit", http.StatusBadGateway)
	w.expectStatus("/pid", http.StatusServiceUnavailable)
	w.eventually("failures are counted", func() bool { return w.pool.Stats().Failures > 3 })
	if s := w.pool.Stats(); !strings.Contains(s.LastError, "no database") {
		t.Errorf("LastError %q", s.LastError)
	}
	write(code)
	w.eventually("it recovered", func() bool { status, _ := w.get("/pid"); return status == 200 })
	if s := w.pool.Stats(); s.Failures != 0 || s.LastError != "" {
		t.Errorf("after recovery: %+v", s)
	}
}

func TestStderrIsLogged(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	w.expectStatus("/stderr?line=something+happened", 200)
	w.logged("something happened")
	_, pid := w.get("/pid")
	w.logged("pid=" + pid)
	w.expect("/flood", 200, "flooded")
	w.eventually("the flood is over", func() bool { status, _ := w.get("/stderr?line=the+end"); return status == 200 })
	w.stop()
	w.logged("lines dropped")
	if n := strings.Count(w.log.String(), "\n"); n > 10_000 {
		t.Errorf("%d lines were logged", n)
	}
	if !strings.Contains(w.log.String(), "lines dropped") || strings.Contains(w.log.String(), strings.Repeat("long", 3000)) {
		t.Error("the flood was not cut")
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, o *php.Options) {
		o.Env = []string{"RR_RPC=unix:///tmp/rpc.sock", "RR_VERSION=2025.1.15", "SHARED=server"}
		c.Env = map[string]string{"APP_ENV": "test", "SHARED": "pool", "RR_MODE": "jobs"}
	})
	_, body := w.get("/env")
	got := fromJSON[map[string]string](t, body)
	for name, want := range map[string]string{
		"RR_RELAY": "pipes", "RR_MODE": "http", "RR_RPC": "unix:///tmp/rpc.sock", "RR_VERSION": "2025.1.15",
		"APP_ENV": "test", "SHARED": "pool", "PATH": os.Getenv("PATH"),
	} {
		if got[name] != want {
			t.Errorf("%s=%q, want %q", name, got[name], want)
		}
	}
}

func TestWorkersAndStats(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", workers(2, 2))
	w.expectStatus("/pid", 200)
	w.eventually("both are idle", func() bool { return w.pool.Stats().Idle == 2 })
	var jobs uint64
	for _, info := range w.pool.Workers() {
		jobs += info.Jobs
		if info.PID <= 0 || info.State != "idle" || info.Age <= 0 || runtime.GOOS == "linux" && info.RSS < 1<<20 {
			t.Errorf("worker %+v", info)
		}
	}
	if jobs != 1 {
		t.Errorf("%d jobs served, want 1", jobs)
	}
}

// TestStopDrains finishes what runs and what waits.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { w.expect("/slow?ms=200", 200, "slow") })
	}
	w.eventually("two wait", func() bool { s := w.pool.Stats(); return s.Queued == 2 && s.Busy == 1 })
	w.stop()
	wg.Wait()
	w.expectStatus("/pid", http.StatusServiceUnavailable)
	if err := w.pool.Reload(t.Context()); !errors.Is(err, php.ErrStopped) {
		t.Errorf("reload after stop: %v", err)
	}
	if _, err := os.Stat(w.pool.TempPath()); !os.IsNotExist(err) {
		t.Errorf("the temporary folder is left: %v", err)
	}
}

// TestStopForced does not wait for a worker that hangs, a stream that nobody reads, nor what waits behind them.
func TestStopForced(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/hang", "/deaf"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "app.php", nil)
			var wg sync.WaitGroup
			if path == "/deaf" {
				response, err := w.client.Get(w.server.URL + path) // and its body is never read
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
			} else {
				wg.Go(func() { w.expectStatus(path, http.StatusServiceUnavailable) })
			}
			w.eventually("the worker is busy", func() bool { return w.pool.Stats().Busy == 1 })
			wg.Go(func() { w.expectStatus("/pid", http.StatusServiceUnavailable) })
			w.eventually("one waits", func() bool { return w.pool.Stats().Queued == 1 })
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := w.pool.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("stop: %v, want a deadline", err)
			}
			wg.Wait()
			w.client.CloseIdleConnections()
		})
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "app.php", nil)
	rec := httptest.NewRecorder()
	w.pool.ServeHTTP(rec, httptest.NewRequest("POST", "/", strings.NewReader("x")))
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d before Start", rec.Code)
	}
	w.stop()
	w.stop()
}

// TestNothingIsLeft starts and stops pools and looks for descriptors and processes they left.
func TestNothingIsLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "/proc", "run on Linux")
	}
	if os.Getenv("EDGE_TEST_LEFT") == "" { // alone in its process, since the other tests open files too
		cmd := exec.Command(os.Args[0], "-test.run=^TestNothingIsLeft$", "-test.v")
		cmd.Env = append(os.Environ(), "EDGE_TEST_LEFT=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	once := func() {
		w := newWorld(t, "app.php", workers(3, 3))
		if err := w.pool.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/pid", "/exit", "/stream", "/stop", "/error"} {
			w.pool.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
		}
		if err := w.pool.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		w.stop()
	}
	once()
	before := descriptors(t)
	for range 3 {
		once()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err == nil && strings.TrimSpace(string(children)) != "" {
		t.Errorf("processes left: %s", children)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestWorkersDieWithTheServer kills a process that runs a pool, with no chance to clean up.
func TestWorkersDieWithTheServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "the parent-death signal", "run on Linux")
	}
	if os.Getenv("EDGE_TEST_ORPHANS") != "" {
		pool, err := php.New("app", config(t, "app.php"), php.Options{Logger: slog.New(slog.DiscardHandler), TempDir: os.Getenv("EDGE_TEST_ORPHANS")})
		if err == nil {
			err = pool.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("worker %d\n", pool.Workers()[0].PID)
		pool.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/hang", nil))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestWorkersDieWithTheServer$")
	cmd.Env = append(os.Environ(), "EDGE_TEST_ORPHANS="+testenv.Dir(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "worker %d\n", &pid); err != nil {
		t.Error(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if pid == 0 {
		return
	}
	for deadline := time.Now().Add(patience); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("worker %d outlived its server", pid)
		}
	}
}

// alive reports whether a process runs; one that is dead and unreaped does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestWatch(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	lib := filepath.Join(testenv.Root(t), "php", "testdata", "lib.php")
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("worker.php", fmt.Sprintf("<?php require %q; $v = require 'src/deep/v.php'; $w = new Worker(); while ($w->next()) $w->respond(200, $v);", lib))
	write("src/deep/v.php", "<?php return 'one';")
	write("config/app.yaml", "")
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) {
		c.Dir, c.Watch = dir, []string{"src", "config/**/*.yaml"}
	})
	serves := func(want string) {
		t.Helper()
		w.eventually("it serves "+want, func() bool { _, body := w.get("/"); return body == want })
	}
	serves("one")
	write("src/deep/v.php", "<?php return 'two';")
	serves("two")
	write("src/deep/v.php", "<?php throw new Exception('half written');")
	w.logged("the old code keeps serving")
	w.expect("/", 200, "two")
	write("src/deep/v.php", "<?php return 'three';")
	serves("three")
	write("src/new/x.php", "<?php") // in a folder that was not there
	reloads := func(n uint64) {
		t.Helper()
		w.eventually(fmt.Sprint(n, " reloads"), func() bool { return w.pool.Stats().Reloads >= n })
	}
	n := w.pool.Stats().Reloads
	write("config/app.yaml", "a: 1")
	reloads(n + 1)
}
