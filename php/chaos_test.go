package php_test

import (
	"crypto/md5"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

const (
	chaosWorkers  = 10
	chaosExec     = 2 * time.Second        // exec_timeout; healthy requests take a millisecond, and machines are busy
	chaosInterval = 5 * time.Millisecond   // 200 requests per second
	chaosBadEvery = 10                     // every tenth of which is bad: each costs a worker, and PHP takes its time to boot
	chaosClients  = 8                      // healthy clients besides, each as fast as it is answered
	chaosDeadline = chaosExec + 2*patience // generous: the machine may be busy
)

// bad are the ways to take a worker down, and what the client gets. The token is that of its request.
var bad = []struct {
	path   string
	status int
}{
	{"/segfault", http.StatusBadGateway},
	{"/killed", http.StatusBadGateway},
	{"/exit", http.StatusBadGateway},
	{"/hang", http.StatusGatewayTimeout},
	{"/mid-frame", http.StatusBadGateway},
	{"/garbage", http.StatusBadGateway},
	{"/memory", http.StatusBadGateway},
	{"/exit-mid-stream", http.StatusOK}, // and then the connection breaks off
	{"/grow", http.StatusOK},
	{"/deaf", http.StatusOK},
}

// TestChaos: workers segfault, hang, end in the middle of a frame, write garbage, eat memory and ignore the order to stop,
// beside healthy traffic. Every bad request gets the error that is its own, every healthy one its answer, each runs exactly
// once, and afterwards the pool is whole and nothing has leaked.
//
// It does not run in parallel: it counts the descriptors, goroutines and children of the process.
func TestChaos(t *testing.T) {
	for _, kind := range []string{"sdk", "rr"} {
		t.Run(kind, func(t *testing.T) { chaos(t, kind) })
	}
}

func chaos(t *testing.T, kind string) {
	goroutines, descriptors := goleak.IgnoreCurrent(), openDescriptors(t)
	journal := filepath.Join(testenv.Dir(t), "journal")
	w := setup(t, "-d memory_limit=96M chaos.php "+kind, func(c *php.Config, _ *php.Options) {
		c.Workers = php.Workers{Min: chaosWorkers, Max: chaosWorkers}
		c.ExecTimeout = chaosExec
		c.StopTimeout = time.Second
		c.Queue.Timeout = patience
		c.MaxMemory = 64 * bytesize.MiB
		c.MaxJobs = 500
		c.Env = map[string]string{"CHAOS_JOURNAL": journal}
	})
	c := &chaosRun{world: w}
	c.run(testenv.Duration(3*time.Second, time.Minute), chaosBadEvery)
	t.Logf("%d healthy requests, %d bad ones, slowest healthy %s; %+v", c.healthy.Load(), c.bad.Load(), c.slowestHealthy(), w.pool.Stats())

	w.eventually("the pool is at full size", func() bool {
		s := w.pool.Stats()
		return s.Idle == chaosWorkers && s.Booting+s.Busy+s.Stopping+s.Queued == 0
	})
	w.eventually("only the workers of the pool are left, no zombie among them", func() bool {
		states := childStates(t)
		return len(states) == chaosWorkers && !strings.Contains(strings.Join(states, ""), "Z")
	})
	w.eventually("no worker is beyond max_memory", func() bool {
		for _, info := range w.pool.Workers() {
			if info.RSS > int64(64*bytesize.MiB) {
				return false
			}
		}
		return true
	})
	w.logged("Allowed memory size")
	w.logged("segmentation fault")
	w.logged("exit status 3")
	c.checkJournal(journal)

	w.client.CloseIdleConnections()
	w.server.Close()
	w.stop()
	if states := childStates(t); len(states) > 0 {
		t.Errorf("%d processes are left: %v", len(states), states)
	}
	testenv.Eventually(t, "the descriptors are closed", func() bool { return openDescriptors(t) <= descriptors })
	if err := testenv.Leaks(goroutines); err != nil {
		t.Error(err)
	}
}

// TestChurnUnderLoad: workers that are replaced all the time, for their requests, for their age, by a file that changes and by
// reloads, cost no request, and none runs twice.
func TestChurnUnderLoad(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sdk", "rr"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			journal := filepath.Join(testenv.Dir(t), "journal")
			watched := filepath.Join(testenv.Dir(t), "deployed.php")
			if err := os.WriteFile(watched, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			w := setup(t, "chaos.php "+kind, func(c *php.Config, _ *php.Options) {
				c.Workers = php.Workers{Min: 4, Max: 8, Spare: 1}
				c.MaxJobs = 20
				c.TTL = time.Second
				c.Queue.Timeout = patience
				c.Watch = []string{watched}
				c.Env = map[string]string{"CHAOS_JOURNAL": journal}
			})
			c := &chaosRun{world: w}
			length, reloads := testenv.Duration(3*time.Second, time.Minute), testenv.Count(4, 50)
			var wg sync.WaitGroup
			wg.Go(func() { // ends after its reloads
				for n := range reloads {
					if err := w.pool.Reload(t.Context()); err != nil {
						t.Errorf("reload: %v", err)
					}
					if err := os.WriteFile(watched, []byte(strconv.Itoa(n)), 0o644); err != nil {
						t.Error(err)
					}
					time.Sleep(length / time.Duration(reloads)) // spreads them over the load
				}
			})
			c.run(length, 0)
			wg.Wait()
			s := w.pool.Stats()
			t.Logf("%d requests, slowest %s; %+v", c.healthy.Load(), c.slowestHealthy(), s)
			if s.Reloads <= uint64(reloads) {
				t.Errorf("%d reloads, which are no more than were asked for: the watched file brought none", s.Reloads)
			}
			if s.Crashes+s.Timeouts > 0 {
				t.Errorf("%d workers crashed, %d were killed for exec_timeout", s.Crashes, s.Timeouts)
			}
			c.checkJournal(journal)
		})
	}
}

// chaosRun is the traffic.
type chaosRun struct {
	*world
	healthy, bad, slowest atomic.Int64
	tokens                atomic.Int64
	failures              atomic.Int64
	mu                    sync.Mutex     // protects sent
	sent                  map[string]int // how often each request has to be in the journal, at most
}

// run sends the traffic for that long and waits for all of its answers. Of the paced requests every badEvery-th is bad; 0: none.
func (c *chaosRun) run(length time.Duration, badEvery int) {
	c.sent = map[string]int{}
	var wg sync.WaitGroup
	end := time.Now().Add(length)
	for range chaosClients {
		wg.Go(func() { // ends at the end
			for time.Now().Before(end) {
				c.sendHealthy()
			}
		})
	}
	tick := time.NewTicker(chaosInterval)
	defer tick.Stop()
	for n := 0; time.Now().Before(end); n++ {
		<-tick.C
		if badEvery > 0 && n%badEvery == 0 {
			wg.Go(func() { c.sendBad(n / badEvery) })
		} else {
			wg.Go(c.sendHealthy)
		}
	}
	wg.Wait()
}

func (c *chaosRun) slowestHealthy() time.Duration {
	return time.Duration(c.slowest.Load()).Round(time.Millisecond)
}

// token names a request, and notes that it is sent.
func (c *chaosRun) token(path string) string {
	token := strconv.FormatInt(c.tokens.Add(1), 10)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[path+" "+token]++
	return token
}

func (c *chaosRun) sendHealthy() {
	began := time.Now()
	path, body := "/ok", ""
	switch rand.IntN(4) {
	case 0:
		path, body = "/echo", strings.Repeat("body", rand.IntN(20_000))
	case 1:
		path = "/stream"
	}
	token := c.token(path)
	url := c.server.URL + path + "?token=" + token + "&us=" + strconv.Itoa(rand.IntN(500))
	want := token
	var (
		response *http.Response
		err      error
	)
	switch path {
	case "/echo":
		want += fmt.Sprintf(" %x", md5.Sum([]byte(body)))
		response, err = c.client.Post(url, "application/octet-stream", strings.NewReader(body))
	case "/stream":
		want = ""
		for i := range 20 {
			want += fmt.Sprintf("%s %d\n", token, i)
		}
		fallthrough
	default:
		response, err = c.client.Get(url)
	}
	c.healthy.Add(1)
	if err != nil {
		c.fail("healthy %s %s: %v", path, token, err)
		return
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || string(got) != want {
		c.fail("healthy %s %s: status %d, %q, %v; want %q", path, token, response.StatusCode, short(string(got)), err, short(want))
	}
	took := int64(time.Since(began))
	for old := c.slowest.Load(); took > old && !c.slowest.CompareAndSwap(old, took); old = c.slowest.Load() {
	}
}

func (c *chaosRun) sendBad(n int) {
	began, kind := time.Now(), bad[n%len(bad)]
	token := c.token(kind.path)
	c.bad.Add(1)
	response, err := c.client.Get(c.server.URL + kind.path + "?token=" + token)
	if err != nil {
		c.fail("%s: %v", kind.path, err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	want := http.StatusText(kind.status) + "\n"
	switch kind.path {
	case "/exit-mid-stream":
		want = "first\n"
	case "/grow", "/deaf":
		want = token
	}
	if response.StatusCode != kind.status || string(body) != want || (err != nil) != (kind.path == "/exit-mid-stream") {
		c.fail("%s: status %d, body %q, %v; want %d, %q", kind.path, response.StatusCode, short(string(body)), err, kind.status, want)
	}
	if took := time.Since(began); took > chaosDeadline {
		c.fail("%s took %s", kind.path, took)
	}
}

// fail reports the first failures; one mistake can make thousands.
func (c *chaosRun) fail(format string, args ...any) {
	if n := c.failures.Add(1); n <= 10 {
		c.Errorf(format, args...)
	} else if n == 11 {
		c.Error("and more")
	}
}

// checkJournal compares what PHP began with what was sent: a request that was given to a second worker although the first had
// begun it would be there twice.
func (c *chaosRun) checkJournal(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		c.sent[strings.TrimSuffix(line, "\n")]--
	}
	wrong := 0
	for request, n := range c.sent {
		if n != 0 {
			if wrong++; wrong <= 10 {
				c.Errorf("%s ran %d times instead of once", request, 1-n)
			}
		}
	}
	if wrong > 0 {
		c.Errorf("%d requests of %d did not run exactly once", wrong, len(c.sent))
	}
}

// openDescriptors counts the descriptors of this process.
func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		testenv.Missing(t, "/proc", "this test counts descriptors and children in Linux's /proc")
	}
	return len(entries)
}

// childStates returns the state of every child of this process, such as S for one that waits and Z for a zombie.
func childStates(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // ended between the two looks
		}
		// After the name, which stands in parentheses: the state, then the parent.
		fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			states = append(states, fields[0])
		}
	}
	return states
}
