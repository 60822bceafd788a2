package php_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// load sends requests until the returned function is called; each has to succeed.
func (w *world) load(path string, clients int) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if status, body := w.get(path); status != 200 {
					w.Errorf("GET %s = %d %q", path, status, short(body))
				}
			}
		})
	}
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

func TestTTL(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"app.php", "sdk.php"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			w := setup(t, script, func(c *php.Config, _ *php.Options) {
				c.Workers, c.TTL = php.Workers{Min: 2, Max: 2}, 300*time.Millisecond
			})
			defer w.load("/slow?ms=1", 4)()
			w.eventually("six were replaced", func() bool { return w.pool.Stats().Ended.TTL >= 6 })
			if s := w.pool.Stats(); s.Crashes+s.Rejected() != 0 || s.Ended.Total() != s.Ended.TTL {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestIdleTTL ends idle workers beyond min, replaces those of min, and leaves alone what never worked.
func TestIdleTTL(t *testing.T) {
	t.Parallel()
	const ttl = 200 * time.Millisecond
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Workers, c.IdleTTL = php.Workers{Min: 1, Max: 3, Spare: 3}, ttl
	})
	path, open := w.gate()
	defer open()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { w.expectStatus(path, 200) })
	}
	w.eventually("three work", func() bool { return w.pool.Stats().Busy == 3 })
	open()
	wg.Wait()
	w.eventually("a fresh one is left", func() bool {
		all := w.pool.Workers()
		return len(all) == 1 && all[0].State == "idle" && all[0].Jobs == 0 && w.pool.Stats().Ended.Idle >= 3
	})
	before := w.pool.Stats()
	time.Sleep(4 * ttl) // for what must not happen
	if after := w.pool.Stats(); after.Ended != before.Ended || after.Started != before.Started {
		t.Errorf("an unused worker was replaced: %+v, then %+v", before, after)
	}
}

// TestMaxMemory replaces a worker that grew, after its requests, which all succeed.
func TestMaxMemory(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "/proc", "run on Linux")
	}
	w := newWorld(t, "-d memory_limit=-1 app.php", func(c *php.Config, _ *php.Options) { c.MaxMemory = 96 << 20 })
	w.pool.Hurry(time.Minute, time.Minute)
	w.start()
	defer w.load("/slow?ms=1", 2)()
	_, eater := w.get("/eat?mb=128")
	w.eventually("it was replaced", func() bool { return w.pool.Stats().Ended.Memory == 1 })
	w.eventually("another answers", func() bool { _, pid := w.get("/pid"); return pid != eater })
	if s := w.pool.Stats(); s.Crashes+s.Rejected() != 0 || s.Memory < 1<<20 {
		t.Errorf("stats %+v", s)
	}
}

// TestSuccessorDoesNotBoot keeps the old worker for as long as there is no better one.
func TestSuccessorDoesNotBoot(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "worker.php"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	good := fmt.Sprintf("<?php require %q; $w = new Worker(); while ($w->next()) $w->respond(200, (string) getmypid());",
		filepath.Join(testenv.Root(t), "php", "testdata", "lib.php"))
	write(good)
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) { c.Dir, c.TTL = dir, 500*time.Millisecond })
	write("<?php fwrite(STDERR, 'no database'); exit(1);")
	_, old := w.get("/")
	stop := w.load("/", 2)
	w.eventually("boots fail", func() bool { return w.pool.Stats().Failures > 3 })
	stop()
	w.expect("/", 200, old)
	write(good)
	w.eventually("it was replaced", func() bool { _, pid := w.get("/"); return pid != old })
	w.eventually("all is well", func() bool { return w.pool.Stats().Failures == 0 })
	if s := w.pool.Stats(); s.Crashes+s.Rejected() != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestStubbornWorker ends a worker that does not listen any more, and what it started.
func TestStubbornWorker(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.StopTimeout = 200 * time.Millisecond })
	_, text := w.get("/child")
	child, err := strconv.Atoi(text)
	if err != nil || !alive(child) {
		t.Fatalf("no child: %q", text)
	}
	_, old := w.get("/pid")
	w.expect("/answer-and-hang", 200, "bye")
	if err := w.pool.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, next := w.get("/pid")
	if next == old {
		t.Error("the same worker answers")
	}
	w.eventually("the old one is gone", func() bool { return len(w.pool.Workers()) == 1 && w.pool.Stats().Ended.Reload == 1 })
	w.eventually("so is its child", func() bool { return !alive(child) })
}

// ask sends a request through a handler and returns its answer later.
func ask(h http.Handler, host, path string) <-chan *httptest.ResponseRecorder {
	answer := make(chan *httptest.ResponseRecorder, 1)
	go func() { // ends with the request
		rec, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
		r.Host = host
		h.ServeHTTP(rec, r)
		answer <- rec
	}()
	return answer
}

// TestFairQueue lets a quiet route or host through while a loud one fills the queue.
func TestFairQueue(t *testing.T) {
	t.Parallel()
	for _, fair := range []string{"route", "host", "none"} {
		t.Run(fair, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
				c.Queue.Max, c.Queue.Fair, c.Queue.Timeout = 4, fair, patience
			})
			loud, quiet := w.pool.Handler("loud"), w.pool.Handler("quiet")
			path, open := w.gate()
			defer open()
			all := []<-chan *httptest.ResponseRecorder{ask(loud, "Loud.test:80", path)}
			w.eventually("the worker is busy", func() bool { return w.pool.Stats().Busy == 1 })
			for i := range 4 {
				all = append(all, ask(loud, "loud.test:8080", "/slow?ms=200"))
				w.eventually("it waits", func() bool { return w.pool.Stats().Queued == i+1 })
			}
			asked := ask(quiet, "quiet.test", "/pid")
			if fair == "none" {
				answer := <-asked
				open()
				if answer.Code != 503 || answer.Header().Get("Retry-After") == "" {
					t.Errorf("over a full queue: %d %v", answer.Code, answer.Header())
				}
				for _, a := range all {
					if got := <-a; got.Code != 200 {
						t.Errorf("waiting: %d", got.Code)
					}
				}
				return
			}
			gaveWay := <-all[4] // the quiet one is in its place
			open()
			if answer := <-asked; answer.Code != 200 {
				t.Errorf("the quiet one got %d", answer.Code)
			}
			if gaveWay.Code != 503 || gaveWay.Header().Get("Retry-After") == "" {
				t.Errorf("the newest loud one got %d %v", gaveWay.Code, gaveWay.Header())
			}
			if waiting := w.pool.Stats().Queued; waiting < 1 {
				t.Errorf("the quiet one was served behind the loud ones: %d wait", waiting)
			}
			for i, a := range all[:4] {
				if got := <-a; got.Code != 200 {
					t.Errorf("loud request %d: %d", i, got.Code)
				}
			}
			if s := w.pool.Stats(); s.QueueFull != 1 || s.Rejected() != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestWatchFollowsTheDeployLink moves the link, then changes a file of the new release.
func TestWatchFollowsTheDeployLink(t *testing.T) {
	t.Parallel()
	root := testenv.Dir(t)
	lib := filepath.Join(testenv.Root(t), "php", "testdata", "lib.php")
	write := func(release, answer string) {
		dir := filepath.Join(root, "releases", release)
		script := fmt.Sprintf("<?php require %q; $w = new Worker(); while ($w->next()) $w->respond(200, %q);", lib, answer)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "worker.php"), []byte(script), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(release string) {
		next := filepath.Join(root, "next")
		if err := errors.Join(os.Symlink(filepath.Join("releases", release), next), os.Rename(next, filepath.Join(root, "current"))); err != nil {
			t.Fatal(err)
		}
	}
	write("1", "one")
	write("2", "two")
	link("1")
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) {
		c.Dir, c.Watch = filepath.Join(root, "current"), []string{"."}
	})
	serves := func(want string) {
		t.Helper()
		w.eventually("it serves "+want, func() bool { _, body := w.get("/"); return body == want })
	}
	serves("one")
	link("2")
	serves("two")
	write("2", "two, mended")
	serves("two, mended")
	// As ln -sfn does it: away, then back.
	if err := os.Remove(filepath.Join(root, "current")); err != nil {
		t.Fatal(err)
	}
	w.logged("cannot be followed yet")
	w.expect("/", 200, "two, mended")
	link("1")
	serves("one")
}

func TestReloadsOneBurstOnce(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	write := func(i int) {
		script := fmt.Sprintf("<?php require %q; $w = new Worker(); while ($w->next()) $w->respond(200, '%d');",
			filepath.Join(testenv.Root(t), "php", "testdata", "lib.php"), i)
		if err := os.WriteFile(filepath.Join(dir, "worker.php"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) { c.Dir, c.Watch = dir, []string{"."} })
	for i := range 100 {
		write(i)
	}
	w.eventually("the last one serves", func() bool { _, body := w.get("/"); return body == "99" })
	if n := w.pool.Stats().Reloads; n > 10 {
		t.Errorf("%d reloads for one burst", n)
	}
}

func TestTCPRelay(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.Relay, c.Workers = "tcp", php.Workers{Min: 2, Max: 2} })
	w.expect("/status?n=200&body=hi", 200, "hi")
	w.expect("/stream?n=2", 200, "part 0\npart 1\nend\n")
	w.expectStatus("/exit", http.StatusBadGateway)
	if _, body := w.get("/big?n=3000000"); len(body) != 3_000_000 {
		t.Errorf("%d bytes", len(body))
	}
	if err := w.pool.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	w.expect("/status?n=200&body=hi", 200, "hi")
	_, env := w.get("/env")
	if relay := fromJSON[map[string]string](t, env)["RR_RELAY"]; !strings.HasPrefix(relay, "tcp://127.0.0.1:") {
		t.Errorf("RR_RELAY=%s", relay)
	}
}

// TestTCPRelayOfOthers boots although others dial first, and through a program that starts PHP as its child.
func TestTCPRelayOfOthers(t *testing.T) {
	t.Parallel()
	w := setup(t, "strangers.php", func(c *php.Config, _ *php.Options) { c.Relay = "tcp" })
	w.expect("/status?n=200&body=hi", 200, "hi")

	sdk := setup(t, "sdk.php", func(c *php.Config, _ *php.Options) { c.Relay = "tcp" })
	sdk.expectStatus("/pid", 200)
	if _, body := sdk.get("/stream?n=3"); !strings.HasPrefix(body, "part 0\npart 1\npart 2\n") {
		t.Errorf("a stream of sdk/php: %q", body)
	}

	wrapped := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Relay = "tcp"
		c.Command = php.Command{"sh", "-c", c.Command[0] + " app.php; true"}
	})
	wrapped.expect("/status?n=200&body=hi", 200, "hi")
}
