//go:build linux

package php_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// linger has a worker answer and then work on until the returned function is called.
func (w *world) linger() (release func()) {
	w.Helper()
	dir := testenv.Dir(w.T)
	if err := os.Chmod(dir, 0o777); err != nil {
		w.Fatal(err)
	}
	w.eventually("all are idle", func() bool { return w.pool.Consistent() == nil }) // then the one that worked last is the next to work
	begun, gate := filepath.Join(dir, "begun"), filepath.Join(dir, "gate")
	w.expectStatus("/until?begun="+begun+"&file="+gate, 200)
	w.eventually("PHP works on after its answer", func() bool { return exists(begun) })
	return sync.OnceFunc(func() {
		if err := os.WriteFile(gate, nil, 0o666); err != nil {
			w.Error(err)
		}
	})
}

// TestNothingWaitsForWorkAfterAnAnswer has one of two workers busy after its answer, which nothing says: its requests go to the
// other one, and when it is back it works as before.
func TestNothingWaitsForWorkAfterAnAnswer(t *testing.T) {
	t.Parallel()
	w := setup(t, "linger.php", workers(2, 2))
	for range testenv.Count(3, 50) {
		release := w.linger()
		defer release()
		for i := range 20 {
			w.expectStatus(fmt.Sprint("/?token=", i), 200)
		}
		w.eventually("it counts as busy", func() bool { s := w.pool.Stats(); return s.Busy == 1 && s.Idle == 1 })
		release()
		w.eventually("both are idle", func() bool { s := w.pool.Stats(); return s.Idle == 2 && s.Busy+s.Queued == 0 })
	}
	if s := w.pool.Stats(); s.Crashes+s.Timeouts+s.Retries != 0 || s.Ended.Total() != 0 {
		t.Errorf("stats %+v: nothing should have ended, nor failed", s)
	}
}

// TestWorkAfterAnAnswerGrowsThePool has the only worker busy after its answer: the next request waits in the queue, where it
// makes the pool grow, and not in a pipe.
func TestWorkAfterAnAnswerGrowsThePool(t *testing.T) {
	t.Parallel()
	w := setup(t, "linger.php", workers(1, 2))
	defer w.linger()()
	w.expectStatus("/", 200)
}

// TestWorkAfterAnAnswerInTheQueue lets queue.timeout hold for a request whose worker does not come back.
func TestWorkAfterAnAnswerInTheQueue(t *testing.T) {
	t.Parallel()
	w := setup(t, "linger.php", func(c *php.Config, _ *php.Options) { c.Queue.Timeout = 300 * time.Millisecond })
	release := w.linger()
	defer release()
	w.expectStatus("/", 503)
	release()
	w.eventually("it is back", func() bool { return w.pool.Stats().Idle == 1 })
	w.expectStatus("/", 200)
}

// TestEndsWhileAway has a worker that is away end in every way. What it was given meanwhile is answered by another.
func TestEndsWhileAway(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"kill", "reload", "stop", "exec_timeout"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "linger.php", func(c *php.Config, _ *php.Options) {
				c.Workers, c.StopTimeout = php.Workers{Min: 2, Max: 2}, 300*time.Millisecond
				if end == "exec_timeout" {
					c.ExecTimeout = time.Second
				}
			})
			defer w.linger()()
			w.eventually("it is away", func() bool { // which is noticed when a request goes to it; of two at once one does
				one := make(chan error, 1)
				go func() { one <- w.status("/", 200) }()
				if err := errors.Join(w.status("/", 200), <-one); err != nil {
					t.Fatal(err)
				}
				return w.pool.Stats().Busy == 1
			})
			var away int
			for _, info := range w.pool.Workers() {
				if info.State == "busy" {
					away = info.PID
				}
			}
			switch end {
			case "kill":
				if err := syscall.Kill(away, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			case "reload":
				if err := w.pool.Reload(t.Context()); err != nil {
					t.Error(err)
				}
			case "stop":
				w.stop() // in order, and within stop_timeout
				if alive(away) {
					t.Error("it is alive still")
				}
				return
			}
			w.eventually("another is in its place", func() bool { s := w.pool.Stats(); return s.Idle == 2 && s.Busy+s.Stopping == 0 })
			w.eventually("it is gone", func() bool { return !alive(away) })
			w.expectStatus("/", 200)
		})
	}
}

// TestAnswersThatNobodyAskedFor has workers that send what belongs to no request of theirs. They are replaced, and nobody else
// notices.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	for path, status := range map[string]int{"/wrong-number": 502, "/untaken": 502, "/unasked": 502, "/twice": 200} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "linger.php", workers(2, 2))
			w.expectStatus("/", 200)
			w.expectStatus(path, status)
			w.logged("broke the protocol")
			w.eventually("another is in its place", func() bool {
				s := w.pool.Stats()
				return s.Ended.Crash == 1 && s.Idle == 2 && s.Busy+s.Stopping == 0
			})
			w.expectStatus("/", 200)
		})
	}
}

// TestLingeringSoak sends requests to workers that work on after their answers, end after them, or are killed: whatever the pool
// gives to a worker that does not come back must be run by another one, and once.
func TestLingeringSoak(t *testing.T) {
	t.Parallel()
	journal := filepath.Join(testenv.Dir(t), "journal")
	w := setup(t, "linger.php", func(c *php.Config, _ *php.Options) {
		c.Workers, c.Queue.Timeout, c.MaxJobs = php.Workers{Min: 3, Max: 3}, patience, 40
	})
	paths := []string{"/linger?ms=3", "/linger?ms=20", "/", "/", "/", "/", "/exit?ms=2", "/kill?ms=1", "/exit?ms=0&code=2"}
	var group sync.WaitGroup
	total := testenv.Count(40, 1000)
	for client := range 6 {
		group.Go(func() { // ends after its requests
			for i := range total {
				token, path := fmt.Sprintf("%d-%d", client, i), paths[(client+i*7)%len(paths)]
				if i%8 != 0 && client > 1 {
					path = "/"
				}
				sign := "?"
				if strings.Contains(path, "?") {
					sign = "&"
				}
				status, body := w.get(path + sign + "journal=" + journal + "&token=" + token)
				if status != 200 || !strings.HasPrefix(body, token+" ") {
					t.Errorf("%s of %s: %d %q", path, token, status, short(body))
				}
			}
		})
	}
	group.Wait()
	w.eventually("the pool is whole", func() bool { s := w.pool.Stats(); return s.Idle == 3 && s.Busy+s.Booting+s.Stopping+s.Queued == 0 })
	text, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for line := range strings.Lines(string(text)) {
		ran[line]++
	}
	if len(ran) != 6*total {
		t.Errorf("%d requests ran, want %d", len(ran), 6*total)
	}
	for token, n := range ran {
		if n != 1 {
			t.Errorf("%q ran %d times", token, n)
		}
	}
	if err := w.pool.Consistent(); err != nil {
		t.Error(err)
	}
}
