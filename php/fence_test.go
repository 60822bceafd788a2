package php_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// TestSecondAnswers has workers that answer a request more than once. Nobody may get what was meant for somebody else.
func TestSecondAnswers(t *testing.T) {
	t.Parallel()
	for _, relay := range []string{"pipes", "unix"} {
		t.Run(relay, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
				c.Workers, c.Relay = php.Workers{Min: 2, Max: 2}, relay
			})
			var wg sync.WaitGroup
			for client := range 8 {
				wg.Go(func() {
					for i := range testenv.Count(25, 500) {
						switch i % 4 {
						case 0:
							w.check(fmt.Sprint("/twice?us=", 100*client), 200, "first")
						case 1:
							w.check("/thrice", 500, "for the client")
						default:
							own := fmt.Sprint("own-", client, "-", i)
							w.check("/status?n=200&body="+own, 200, own)
						}
					}
				})
			}
			wg.Wait()
			w.logged("answered a request twice")
			w.logged("for the log")
			if s := w.pool.Stats(); s.Crashes != 0 || s.Ended.Total() != 0 {
				t.Errorf("stats %+v: the workers should have been kept", s)
			}
		})
	}
}

// check is expect for many goroutines: it does not end the test.
func (w *world) check(path string, status int, body string) {
	w.Helper()
	if gotStatus, gotBody := w.get(path); gotStatus != status || gotBody != body {
		w.Errorf("GET %s = %d %q, want %d %q", path, gotStatus, short(gotBody), status, short(body))
	}
}

// TestLeavesAfterAnswer has workers that end after an answer, as scripts do that watch their memory. The next request, which is
// on its way to them, must not suffer, and an end in order is no crash.
func TestLeavesAfterAnswer(t *testing.T) {
	t.Parallel()
	for _, relay := range []string{"pipes", "unix"} {
		t.Run(relay, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
				c.Workers, c.Relay = php.Workers{Min: 2, Max: 2}, relay
			})
			leave := func(path string, times int) {
				for range times {
					w.expect(path, 200, "bye")
					w.expectStatus("/pid", 200)
				}
			}
			leave("/answer-and-stop", 5)
			leave("/answer-and-stop?stay=1", 5)
			if s := w.pool.Stats(); s.Crashes != 0 {
				t.Errorf("stats %+v, want no crash", s)
			}
			// A worker that stays although it asked to stop ends with its next answer, and its death would be no crash.
			if err := w.pool.Reload(t.Context()); err != nil {
				t.Error(err)
			}
			w.eventually("only fresh workers are left", func() bool { s := w.pool.Stats(); return s.Idle == 2 && s.Busy+s.Stopping+s.Booting == 0 })
			leave("/answer-and-die", 2)
			w.eventually("both deaths are counted", func() bool { return w.pool.Stats().Crashes == 2 })
		})
	}
}

// TestHangsAfterAnswer has a worker that is stuck after its answer: the next request goes to another one in the end.
func TestHangsAfterAnswer(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.ExecTimeout = 500 * time.Millisecond })
	w.expect("/answer-and-hang", 200, "bye")
	w.expect("/status?n=200&body=next", 200, "next")
	if s := w.pool.Stats(); s.Timeouts != 1 || s.Retries != 1 || s.Crashes != 0 {
		t.Errorf("stats %+v, want a timeout and a retry", s)
	}
}

// TestOrphanHoldsRelay kills a worker whose child keeps both ends of its relay open: nothing may wait for the child.
func TestOrphanHoldsRelay(t *testing.T) {
	t.Parallel()
	for _, relay := range []string{"pipes", "unix"} {
		t.Run(relay, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.Relay, c.ExecTimeout = relay, 0 })
			file := filepath.Join(t.TempDir(), "pid")
			t.Cleanup(func() {
				text, _ := os.ReadFile(file)
				if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			})
			w.expectStatus("/pid", 200)
			w.expectStatus("/orphan?pid="+file, http.StatusBadGateway)
			w.expectStatus("/pid", 200)
			begin := time.Now()
			w.stop()
			if took := time.Since(begin); took > patience/2 {
				t.Errorf("the stop waited %s for a process that is not the pool's", took)
			}
		})
	}
}

// TestWorkersWrittenByHand do not expect a second greeting. They are found out at their boot and serve without the fence.
func TestWorkersWrittenByHand(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"stop", "skip", "junk"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "byhand.php", func(c *php.Config, _ *php.Options) { c.Command = append(c.Command, kind) })
			_, first := w.get("/")
			for range 5 {
				w.check("/", 200, first) // the same worker lives on
			}
			if !strings.HasPrefix(first, "pid ") {
				t.Errorf("answer %q", first)
			}
			w.logged("do not answer a second greeting")
		})
	}
}
