package php_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

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
		for _, relay := range []string{"pipes", "unix", "tcp"} {
			t.Run(arg+" "+relay, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "broken.php "+arg, func(c *php.Config, _ *php.Options) {
					c.Relay = relay
					c.Workers = php.Workers{Min: 2, Max: 2}
					if c.BootTimeout = patience; arg == "silent" {
						c.BootTimeout = 8 * time.Second // in which it says its sentence
					}
				})
				err := w.pool.Start(t.Context())
				// Who fails says why; only others need to be told what a worker has to do.
				hint := arg == "silent" || arg == "wrong" || arg == "nothing"
				if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "allocate-timeout") != hint {
					t.Errorf("start: %v\nwant %q, and the allocate-timeout hint: %t", err, want, hint)
				}
				w.stop()
			})
		}
	}
}

// TestStartIsCancelled gives up before boot_timeout when the caller does.
func TestStartIsCancelled(t *testing.T) {
	t.Parallel()
	for _, relay := range []string{"pipes", "unix", "tcp"} {
		w := newWorld(t, "broken.php silent", func(c *php.Config, _ *php.Options) { c.Relay = relay })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := w.pool.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start on %s: %v, want a deadline", relay, err)
		}
		w.stop()
	}
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
	w.eventually("nothing is wrong any more", func() bool { s := w.pool.Stats(); return s.Failures == 0 && s.LastError == "" })
}

// TestStopDrains finishes what runs and what waits.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	path, open := w.gate()
	defer open()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { w.expect(path, 200, "slow") })
	}
	w.eventually("two wait", func() bool { s := w.pool.Stats(); return s.Queued == 2 && s.Busy == 1 })
	w.stopDuring(open)
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

// TestSoakGenerations replaces the workers a thousand times: no descriptor of their pipes may be left.
func TestSoakGenerations(t *testing.T) {
	goroutines, before := goleak.IgnoreCurrent(), openDescriptors(t)
	w := setup(t, "sdk.php", workers(2, 2))
	for i := range testenv.Count(10, 1000) {
		for range 3 {
			w.expectStatus("/pid", 200)
		}
		if i%3 == 0 {
			w.expectStatus("/die", http.StatusBadGateway)
		}
		if err := w.pool.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("the pool is at rest", func() bool { return w.pool.Stats().Idle == 2 && w.pool.Consistent() == nil })
	w.client.CloseIdleConnections()
	w.server.Close()
	w.stop()
	testenv.Eventually(t, "the descriptors are closed", func() bool { return openDescriptors(t) <= before })
	if err := testenv.Leaks(goroutines); err != nil {
		t.Error(err)
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
	dir := testenv.Dir(t)
	cmd.Env = append(os.Environ(), "EDGE_TEST_ORPHANS="+dir)
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
	// A later Edge removes what the killed one left behind, and nothing else.
	left, err := filepath.Glob(filepath.Join(dir, "edge-app-*"))
	if err != nil || len(left) != 1 {
		t.Fatalf("the killed server left %q, %v", left, err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left[0], old, old); err != nil {
		t.Fatal(err)
	}
	temp := func(_ *php.Config, o *php.Options) { o.TempDir = dir }
	first := setup(t, "app.php", temp)
	if err := os.Chtimes(first.pool.TempPath(), old, old); err != nil {
		t.Fatal(err)
	}
	second := setup(t, "app.php", temp)
	if _, err := os.Stat(left[0]); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left[0], err)
	}
	for _, w := range []*world{first, second} {
		if _, err := os.Stat(w.pool.TempPath()); err != nil {
			t.Errorf("the folder of a pool that runs: %v", err)
		}
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
