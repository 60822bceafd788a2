//go:build linux

package php_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// setupAhead starts workers of sdk/php which get requests ahead however long requests take on this machine, and keep them for
// patience.
func setupAhead(t *testing.T, n int, patience time.Duration) *world {
	t.Helper()
	w := newWorld(t, "sdk.php", workers(n, n))
	w.pool.Ahead(time.Hour, patience)
	w.start()
	if _, flights := w.pool.Behind(); flights != n {
		t.Fatalf("%d of %d workers get requests ahead", flights, n)
	}
	for range 3 * n {
		w.expect("/echo", 200, "  0 "+fmt.Sprintf("%x", md5.Sum(nil)))
	}
	return w
}

// block occupies a worker until the returned function is called. The status of the blocked request goes to the channel.
func (w *world) block() (status chan int, release func()) {
	w.Helper()
	begun, gate := filepath.Join(testenv.Dir(w.T), "begun"), filepath.Join(testenv.Dir(w.T), "gate")
	for _, name := range []string{begun, gate} {
		if err := os.Chmod(filepath.Dir(name), 0o777); err != nil {
			w.Fatal(err)
		}
	}
	status = make(chan int, 1)
	go func() { // ends when released
		response, _, err := w.try(httptest.NewRequest("GET", "/until?begun="+begun+"&file="+gate, nil))
		if err != nil {
			status <- -1
			return
		}
		status <- response.StatusCode
	}()
	w.eventually("the blocking request runs", func() bool { return exists(begun) })
	return status, sync.OnceFunc(func() {
		if err := os.WriteFile(gate, nil, 0o666); err != nil {
			w.Error(err)
		}
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// behind sends n requests that get behind those that run, and returns where their failures go.
func (w *world) behind(n int) chan error {
	w.Helper()
	results := make(chan error, n)
	for i := range n {
		go func() { results <- w.echo(i, "") }() // ends with its answer
	}
	w.eventually(fmt.Sprintf("%d requests lie behind others", n), func() bool { got, _ := w.pool.Behind(); return got == n })
	return results
}

// echo sends a request that nobody else sends and expects its own answer.
func (w *world) echo(id int, body string) error {
	r := httptest.NewRequest("POST", "/echo?q="+strconv.Itoa(id), strings.NewReader(body))
	name := fmt.Sprintf("request-%d-%d", id, rand.Uint64())
	r.Header.Set("X-Id", name)
	response, text, err := w.try(r)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 {
		return statusError(response.StatusCode)
	}
	want := fmt.Sprintf("%s q=%d %d %x", name, id, len(body), md5.Sum([]byte(body)))
	if text != want || response.Header.Get("X-Id") != name {
		return fmt.Errorf("request %q got the answer %q with X-Id %q", want, short(text), response.Header.Get("X-Id"))
	}
	return nil
}

type statusError int

func (s statusError) Error() string { return fmt.Sprintf("status %d", int(s)) }

// TestDeathTakesOnlyTheRunningRequest kills a worker that has three more requests in its pipe.
func TestDeathTakesOnlyTheRunningRequest(t *testing.T) {
	t.Parallel()
	w := setupAhead(t, 1, time.Hour)
	status, release := w.block()
	defer release()
	results := w.behind(3)
	if err := syscall.Kill(w.pool.Workers()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != http.StatusBadGateway {
		t.Errorf("the request that ran got %d", got)
	}
	for range 3 {
		if err := <-results; err != nil {
			t.Errorf("a request that PHP never saw: %v", err)
		}
	}
	if s := w.pool.Stats(); s.Retries != 0 || s.Crashes != 1 {
		t.Errorf("stats %+v, want 1 crash and nothing counted as retried", s)
	}
}

// TestDeathWithATranslatedRequest kills a worker by a request that was made for workers of another dialect: it has run, and must not
// run again.
func TestDeathWithATranslatedRequest(t *testing.T) {
	t.Parallel()
	journal := filepath.Join(testenv.Dir(t), "journal")
	w := setup(t, "model.php", func(c *php.Config, _ *php.Options) { c.Env = map[string]string{"MODEL_JOURNAL": journal} })
	w.expectStatus("/ok?token=1", 200)
	w.pool.SpeakProtobuf()
	w.expectStatus("/ok?token=2", 200)
	w.expectStatus("/kill?token=3", http.StatusBadGateway)
	if text, err := os.ReadFile(journal); err != nil || string(text) != "1\n2\n3\n" {
		t.Errorf("PHP ran %q, %v", text, err)
	}
}

// TestIdleWorkerSteals lets one of two workers become free while requests lie behind both.
func TestIdleWorkerSteals(t *testing.T) {
	t.Parallel()
	w := setupAhead(t, 2, time.Hour)
	statusA, releaseA := w.block()
	statusB, releaseB := w.block()
	defer releaseA()
	results := w.behind(6)
	w.eventually("what lies behind may be stolen", func() bool { return w.pool.Stealable() })
	releaseB()
	for range 6 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	releaseA()
	if a, b := <-statusA, <-statusB; a != 200 || b != 200 {
		t.Errorf("the blocking requests got %d and %d", a, b)
	}
}

// TestNothingStaysBehindASlowRequest has requests moved back to the queue, where their deadline holds.
func TestNothingStaysBehindASlowRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk.php", func(c *php.Config, _ *php.Options) {
		c.Workers.Min, c.Workers.Max = 1, 1
		c.Queue.Timeout = time.Second
	})
	w.pool.Ahead(time.Hour, 300*time.Millisecond)
	w.start()
	status, release := w.block()
	defer release()
	results := make(chan error, 3)
	for i := range 3 {
		go func() { results <- w.echo(i, "") }() // ends with its answer
	}
	for range 3 {
		if err := <-results; err != statusError(http.StatusServiceUnavailable) {
			t.Errorf("after queue.timeout: %v, want 503", err)
		}
	}
	if s := w.pool.Stats(); s.QueueTimeouts != 3 || s.Queued != 0 {
		t.Errorf("stats %+v, want all three timed out in the queue", s)
	}
	release()
	if got := <-status; got != 200 {
		t.Errorf("the request that ran got %d", got)
	}
}

// TestHangBehindWhichRequestsLie has the worker killed by exec_timeout; what lay behind is served.
func TestHangBehindWhichRequestsLie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk.php", func(c *php.Config, _ *php.Options) {
		c.Workers.Min, c.Workers.Max = 1, 1
		c.ExecTimeout = time.Second
	})
	w.pool.Ahead(time.Hour, time.Hour)
	w.start()
	status, release := w.block()
	defer release()
	results := w.behind(3)
	if got := <-status; got != http.StatusGatewayTimeout {
		t.Errorf("the request that hung got %d", got)
	}
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// TestStopWithRequestsInThePipe stops the pool, in order or out of time, while requests lie behind one that runs.
func TestStopWithRequestsInThePipe(t *testing.T) {
	t.Parallel()
	for _, inOrder := range []bool{true, false} {
		t.Run(fmt.Sprintf("in order=%v", inOrder), func(t *testing.T) {
			t.Parallel()
			w := setupAhead(t, 1, time.Hour)
			status, release := w.block()
			defer release()
			results := w.behind(3)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- w.pool.Stop(ctx) }() // ends when released, or cancelled
			w.eventually("it stops", w.pool.Closing)
			if inOrder {
				release()
			} else {
				cancel()
			}
			if err := <-stopped; (err == nil) != inOrder {
				t.Errorf("stop: %v", err)
			}
			want := http.StatusOK
			if !inOrder {
				want = http.StatusServiceUnavailable
			}
			if got := <-status; got != want {
				t.Errorf("the request that ran got %d, want %d", got, want)
			}
			for range 3 {
				if err := <-results; (err == nil) != inOrder || !inOrder && err != statusError(want) {
					t.Errorf("one that lay behind: %v, want %d", err, want)
				}
			}
			if behind, _ := w.pool.Behind(); behind != 0 {
				t.Errorf("%d are left behind", behind)
			}
		})
	}
}

// TestReloadWithRequestsInThePipe replaces a worker that has requests behind one that runs: all of them are answered.
func TestReloadWithRequestsInThePipe(t *testing.T) {
	t.Parallel()
	w := setupAhead(t, 1, time.Hour)
	status, release := w.block()
	defer release()
	results := w.behind(3)
	if err := w.pool.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("the new worker waits", func() bool { return w.pool.Stats().Idle == 1 })
	w.expectStatus("/pid", 200)
	release()
	if got := <-status; got != 200 {
		t.Errorf("the request that ran got %d", got)
	}
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	w.eventually("the old worker is gone", func() bool { return len(w.pool.Workers()) == 1 && w.pool.Consistent() == nil })
}

// TestClientLeavesThePipe cancels a request that lies behind another: PHP never sees it.
func TestClientLeavesThePipe(t *testing.T) {
	t.Parallel()
	w := setupAhead(t, 1, 200*time.Millisecond)
	status, release := w.block()
	defer release()
	trace := filepath.Join(testenv.Dir(t), "seen")
	if err := os.Chmod(filepath.Dir(trace), 0o777); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { // ends when cancelled
		_, _, err := w.try(httptest.NewRequest("GET", "/slow?ms=0&begun="+trace, nil).WithContext(ctx))
		left <- err
	}()
	w.eventually("the request lies behind", func() bool { n, _ := w.pool.Behind(); return n == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled request: %v", err)
	}
	w.eventually("nothing lies behind", func() bool { n, _ := w.pool.Behind(); return n == 0 && w.pool.Stats().Queued == 0 })
	release()
	if got := <-status; got != 200 {
		t.Errorf("the blocking request got %d", got)
	}
	w.expectStatus("/pid", 200)
	if exists(trace) {
		t.Error("PHP ran a request whose client had left")
	}
}

// TestStreamGivesBackWhatLiesBehind begins a stream with requests in the pipe: they go to the other worker at once.
func TestStreamGivesBackWhatLiesBehind(t *testing.T) {
	t.Parallel()
	w := setupAhead(t, 2, time.Hour)
	var group sync.WaitGroup
	for i := range testenv.Count(20, 500) {
		group.Go(func() { // ends with its answer
			response, body, err := w.try(httptest.NewRequest("GET", "/stream?n=20&ms=1", nil))
			if err != nil || response.StatusCode != 200 || strings.Count(body, "\n") != 20 {
				t.Errorf("stream: %v, %q", err, short(body))
			}
		})
		for k := range 6 {
			group.Go(func() { // ends with its answer
				if err := w.echo(10*i+k, ""); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
}

// TestEveryAnswerIsOnesOwn mixes small, large, slow, failing and cancelled requests with workers that are killed at random. An
// answer that reaches another request would show in its text.
func TestEveryAnswerIsOnesOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk.php", func(c *php.Config, o *php.Options) {
		workers(3, 3)(c, o)
		c.Queue.Timeout = 2 * patience
	})
	w.start()
	var kills, failed, served, wrong atomic.Int64
	var group sync.WaitGroup
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() { // ends with the test
		before := int64(0)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			now := served.Load() + failed.Load()
			if list := w.pool.Workers(); len(list) > 0 && now >= before+5 { // who kills faster than workers start ends all service
				victim := list[rand.IntN(len(list))]
				if victim.State != "booting" && syscall.Kill(victim.PID, syscall.SIGKILL) == nil {
					kills.Add(1)
					before = now
				}
			}
		}
	})
	large := strings.Repeat("large ", 20_000)
	for client := range 16 {
		group.Go(func() { // ends after its requests
			for i := range testenv.Count(150, 20_000) {
				var err error
				switch k := rand.IntN(100); {
				case k < 5:
					err = w.echo(1000*client+i, large[:rand.IntN(len(large))])
				case k < 8:
					err = w.status("/slow?ms=3", 200)
				case k < 10:
					err = w.status("/error", 500)
				case k < 12:
					err = w.status("/stream?n=5", 200)
				case k < 14:
					err = w.status("/big?n=2000000", 200)
				case k < 17:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(2000))*time.Microsecond)
					_, _, _ = w.try(httptest.NewRequest("GET", "/slow?ms=1", nil).WithContext(ctx))
					cancel()
				default:
					err = w.echo(1000*client+i, large[:rand.IntN(6000)])
				}
				var status statusError
				switch {
				case err == nil:
					served.Add(1)
				case errors.As(err, &status) && status == http.StatusBadGateway, errors.Is(err, errBroken):
					failed.Add(1) // it ran in a worker that was killed
				default:
					wrong.Add(1)
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	close(stop)
	killer.Wait()
	t.Logf("%d served, %d failed with %d kills", served.Load(), failed.Load(), kills.Load())
	if failed.Load() > kills.Load() {
		t.Errorf("%d requests failed with %d workers killed: one each at most", failed.Load(), kills.Load())
	}
	w.eventually("the pool is whole", func() bool { s := w.pool.Stats(); return s.Idle == 3 && s.Busy == 0 && s.Queued == 0 })
	if behind, _ := w.pool.Behind(); behind != 0 {
		t.Errorf("%d requests left behind", behind)
	}
}

var errBroken = errors.New("the answer broke off")

func (w *world) status(path string, want int) error {
	response, _, err := w.try(httptest.NewRequest("GET", path, nil))
	if err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	if response.StatusCode != want {
		return statusError(response.StatusCode)
	}
	return nil
}

// TestReloadUnderLoadAhead replaces the workers while they have requests in their pipes.
func TestReloadUnderLoadAhead(t *testing.T) {
	t.Parallel()
	w := setupAhead(t, 2, time.Millisecond)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for client := range 8 {
		group.Go(func() { // ends with the test
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := w.echo(100000*client+i, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range testenv.Count(3, 50) {
		if err := w.pool.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	group.Wait()
}
