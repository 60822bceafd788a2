package php_test

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
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
		c.Queue.Max, c.Queue.Timeout = 2, patience
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
		c.Queue.Max, c.Queue.Timeout = 10, 100*time.Millisecond
		c.ExecTimeout = 2 * time.Second
	})
	var wg sync.WaitGroup
	wg.Go(func() { w.expectStatus("/hang", http.StatusGatewayTimeout) })
	w.eventually("the worker is busy", func() bool { return w.pool.Stats().Busy == 1 })
	w.expectStatus("/pid", http.StatusServiceUnavailable)
	wg.Wait()
	w.eventually("a new worker is ready", func() bool { return w.pool.Stats().Idle == 1 })
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
	path, open := w.gate()
	defer open()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { w.expectStatus(path, 200) })
	}
	w.eventually("four work", func() bool { return w.pool.Stats().Busy == 4 })
	open()
	wg.Wait()
	w.eventually("two are left", func() bool { s := w.pool.Stats(); return s.Idle == 2 && s.Busy+s.Stopping+s.Booting == 0 })
	w.expectStatus("/pid", 200)
}

// TestNeverTooManyWorkers makes the pool smaller while the worker boots that was to make it larger.
func TestNeverTooManyWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "app.php", nil)
	w.pool.Hurry(time.Hour, time.Hour)
	w.start()
	if err := w.pool.AddWorker(); err != nil {
		t.Fatal(err)
	}
	w.eventually("another boots", func() bool { return w.pool.Stats().Started == 1 })
	if err := w.pool.RemoveWorker(); err != nil {
		t.Fatal(err)
	}
	w.eventually("one is left", func() bool {
		s := w.pool.Stats()
		return s.Idle == 1 && s.Booting+s.Busy+s.Stopping == 0 && s.Ended.Idle == 1
	})
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

// TestMaxJobsIsKept: nobody serves more than max_jobs where a successor comes up, whoever is idle meanwhile.
func TestMaxJobsIsKept(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"app.php", "sdk.php"} {
		w := setup(t, script, func(c *php.Config, _ *php.Options) { c.Workers, c.MaxJobs = php.Workers{Min: 2, Max: 2}, 1 })
		w.pool.Succession(patience)
		pids := map[string]int{}
		for range 20 {
			status, pid := w.get("/pid")
			if pids[pid]++; status != 200 || pids[pid] > 1 {
				t.Fatalf("%s: status %d, jobs by process %v, max_jobs 1", script, status, pids)
			}
		}
	}
}

// TestWhyWorkersGo: a replacement says why, and so does who waits in vain.
func TestWhyWorkersGo(t *testing.T) {
	t.Parallel()
	debug := func(log *testenv.Log) *slog.Logger {
		return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for want, change := range map[string]func(*php.Config){
		"served max_jobs":   func(c *php.Config) { c.MaxJobs = 1 },
		"reached its ttl":   func(c *php.Config) { c.TTL = 10 * time.Millisecond },
		"beyond max_memory": func(c *php.Config) { c.MaxMemory = 1 },
		"was idle for long": func(c *php.Config) { c.IdleTTL = 10 * time.Millisecond },
	} {
		log := &testenv.Log{}
		w := newWorld(t, "app.php", func(c *php.Config, o *php.Options) { o.Logger = debug(log); change(c) })
		w.pool.Hurry(time.Hour, time.Hour)
		w.start()
		w.expectStatus("/pid", 200)
		w.eventually(want, func() bool {
			return strings.Contains(log.String(), want) && strings.Contains(log.String(), "php worker is gone")
		})
	}
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.Queue.Timeout = 50 * time.Millisecond })
	gate, open := w.gate()
	var held sync.WaitGroup
	held.Go(func() { w.get(gate) })
	w.eventually("the worker is busy", func() bool { return w.pool.Stats().Busy == 1 })
	w.expectStatus("/pid", 503)
	w.logged("no php worker was free for requests")
	open()
	held.Wait()
}

// TestSpentWorkerWorksOn when no successor comes up: an old worker is better than none.
func TestSpentWorkerWorksOn(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"once.php app.php", "once.php sdk.php"} {
		dir := testenv.Dir(t)
		w := newWorld(t, script+" "+filepath.Join(dir, "begun"), func(c *php.Config, _ *php.Options) { c.MaxJobs = 1 })
		w.start()
		_, first := w.get("/pid")
		for range 5 {
			w.expect("/pid", 200, first)
		}
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
		before := left.Load()
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(5+rand.IntN(20)) * time.Millisecond):
			}
			now := left.Load()
			if all := w.pool.Workers(); len(all) > 0 && now < before-3 { // who kills faster than workers start ends all service
				if syscall.Kill(all[rand.IntN(len(all))].PID, syscall.SIGKILL) == nil {
					killed.Add(1)
					before = now
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

// TestHammer does everything at once: clients that leave in the queue, in an answer and in a stream, workers that grow, wear out,
// crash and are replaced. Every request must end, and the pool must be whole afterwards.
func TestHammer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Workers, c.MaxJobs = php.Workers{Min: 2, Max: 4, Spare: 1}, 20
		c.StopTimeout = 2 * time.Second
	})
	w.pool.Hurry(20*time.Millisecond, 10*time.Millisecond)
	w.start()
	paths := []string{"/pid", "/big?n=2000000", "/stream?n=20", "/endless", "/endless?quiet=1", "/slow?ms=3", "/error", "/exit", "/stop", "/ping"}
	end := time.Now().Add(testenv.Duration(2*time.Second, time.Minute))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for time.Now().Before(end) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(20_000))*time.Microsecond)
				r, _ := http.NewRequestWithContext(ctx, "GET", w.server.URL+paths[rand.IntN(len(paths))], nil)
				if response, err := w.client.Do(r); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			if err := w.pool.Reload(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	w.eventually("the pool is whole and idle", func() bool {
		s := w.pool.Stats()
		return s.Idle == 2 && s.Busy+s.Booting+s.Stopping+s.Queued == 0
	})
	w.expectStatus("/pid", 200)
	w.emptyTemp()
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
	if !strings.Contains(w.log.String(), "lines dropped") || !strings.Contains(w.log.String(), "bytes=") || strings.Contains(w.log.String(), strings.Repeat("long", 3000)) {
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
