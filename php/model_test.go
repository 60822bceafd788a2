//go:build linux

package php_test

import (
	"context"
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
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// kinds are the requests of the model test, and what becomes of them.
var kinds = []struct {
	path   string
	weight int
	status int
}{
	{"/ok", 300, 200},
	{"/body", 100, 200},
	{"/slow", 40, 200},
	{"/large", 4, 200},
	{"/stream", 20, 200},
	{"/hints", 6, 200},
	{"/error", 6, 500},
	{"/linger", 15, 200},
	{"/stop", 6, 200},
	{"/stop-after", 2, 200},
	{"/exit-after", 2, 200},
	{"/kill-after", 2, 200},
	{"/fork", 1, 200},
	{"/exit", 1, 502},
	{"/kill", 1, 502},
	{"/segfault", 1, 502},
}

// model is what has to be true of the pool, whatever happens to it.
type model struct {
	*world
	seed   uint64
	tokens atomic.Int64
	kills  atomic.Int64 // from outside
	killed atomic.Int64 // requests that died with a worker which was killed from outside

	mu   sync.Mutex   // protects what follows
	runs map[int]runs // by token
}

// runs is how often PHP may have begun a request.
type runs struct{ least, most int }

// TestModelChaos does everything that can happen to a pool at random: requests of all kinds, clients that leave, workers that are
// killed, reloads, a pool that changes its size, workers that wear out. Every request has exactly one answer, which is its own; PHP
// begins none twice, and those that got an answer once; none fails but with the worker that had begun it. Afterwards the pool
// is whole and nothing is left of what is gone.
//
// It does not run in parallel: it counts the descriptors and goroutines of the process.
func TestModelChaos(t *testing.T) {
	for round := range testenv.Count(1, 6) {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { runModel(t, seed, round) })
	}
}

func runModel(t *testing.T, seed uint64, round int) {
	goroutines, descriptors := goleak.IgnoreCurrent(), openDescriptors(t)
	journal := filepath.Join(testenv.Dir(t), "journal")
	m := &model{seed: seed, runs: map[int]runs{}}
	m.world = newWorld(t, "model.php", func(c *php.Config, _ *php.Options) {
		c.Workers = php.Workers{Min: 3, Max: 5, Spare: 1}
		c.MaxJobs, c.TTL = 60, time.Second
		c.StopTimeout = 2 * time.Second
		c.Queue.Timeout = 2 * patience
		c.Env = map[string]string{"MODEL_JOURNAL": journal}
	})
	m.pool.Hurry(100*time.Millisecond, 50*time.Millisecond)
	if round%2 == 1 {
		m.pool.Ahead(time.Hour, time.Millisecond) // however slow PHP is here
	}
	m.start()
	m.run(testenv.Duration(3*time.Second, 30*time.Second))

	m.eventually("the pool is whole and at rest", func() bool {
		s := m.pool.Stats()
		return s.Idle >= 3 && s.Idle <= 5 && s.Busy+s.Booting+s.Stopping+s.Queued == 0 && m.pool.Consistent() == nil
	})
	if killed, kills := m.killed.Load(), m.kills.Load(); killed > kills {
		t.Errorf("%d requests failed although only %d workers were killed", killed, kills)
	}
	m.checkRuns(journal)
	t.Logf("%d requests, %d workers killed, %d requests with them; %+v", m.tokens.Load(), m.kills.Load(), m.killed.Load(), m.pool.Stats())

	m.client.CloseIdleConnections()
	m.server.Close()
	m.stop()
	testenv.Eventually(t, "the descriptors are closed", func() bool { return openDescriptors(t) <= descriptors })
	if err := testenv.Leaks(goroutines); err != nil {
		t.Error(err)
	}
}

// run sends requests for that long, from clients that wait for their answers, while others disturb.
func (m *model) run(length time.Duration) {
	var clients, troubles sync.WaitGroup
	end := time.Now().Add(length)
	source := func(n int) *rand.Rand { return rand.New(rand.NewPCG(m.seed, uint64(n))) }
	for n := range 12 {
		clients.Go(func() { // ends at the end
			for rnd := source(n); time.Now().Before(end); {
				m.request(rnd)
			}
		})
	}
	trouble := func(n int, every time.Duration, f func(*rand.Rand)) {
		rnd := source(n)
		troubles.Go(func() { // ends at the end
			for time.Now().Before(end) {
				time.Sleep(time.Duration(rnd.Int64N(2 * int64(every))))
				f(rnd)
			}
		})
	}
	trouble(100, 100*time.Millisecond, m.killOne)
	trouble(101, 400*time.Millisecond, func(*rand.Rand) {
		if err := m.pool.Reload(m.Context()); err != nil {
			m.Errorf("reload: %v", err)
		}
	})
	trouble(102, 200*time.Millisecond, func(rnd *rand.Rand) {
		if rnd.IntN(2) == 0 {
			_ = m.pool.AddWorker()
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
			_ = m.pool.RemoveWorker()
			return
		}
		if m.pool.RemoveWorker() == nil {
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
			_ = m.pool.AddWorker()
		}
	})
	clients.Wait()
	troubles.Wait()
}

// killOne kills a worker from outside, one that has shown that it works: boots that fail are slowed down.
func (m *model) killOne(rnd *rand.Rand) {
	all := m.pool.Workers()
	if len(all) == 0 {
		return
	}
	if w := all[rnd.IntN(len(all))]; w.Jobs > 0 && w.State != "stopping" {
		m.kills.Add(1)
		_ = syscall.Kill(w.PID, syscall.SIGKILL)
	}
}

func (m *model) request(rnd *rand.Rand) {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n, i := rnd.IntN(total), 0
	for n >= kinds[i].weight {
		n -= kinds[i].weight
		i++
	}
	kind, token := kinds[i], int(m.tokens.Add(1))
	body := ""
	if kind.path == "/body" {
		body = strings.Repeat("b", rnd.IntN([]int{100, 5000, 100_000}[rnd.IntN(3)]))
	}
	ctx, cancel := context.WithCancel(m.Context())
	leaves := rnd.IntN(10) == 0
	if leaves {
		time.AfterFunc(time.Duration(rnd.IntN(3000))*time.Microsecond, cancel)
	}
	defer cancel()
	url := fmt.Sprintf("%s%s?token=%d&us=%d", m.server.URL, kind.path, token, rnd.IntN(3000))
	r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		m.Error(err)
		return
	}
	status, text, err := m.send(r)
	switch want := m.answer(kind.path, token, body); {
	case leaves && (err != nil || status == 499):
		m.note(token, 0, 1)
	case err == nil && status == kind.status && (kind.status != 200 || text == want):
		least := 1
		if status == http.StatusBadGateway {
			least = 0 // killed from outside between the read and the note in the journal, for all one can tell
		}
		m.note(token, least, 1)
	case err == nil && status == http.StatusBadGateway || err != nil && status == http.StatusOK && strings.HasPrefix(want, text):
		m.killed.Add(1) // before its answer, or before the end of that
		m.note(token, 0, 1)
	default:
		m.Errorf("%s of %d: status %d, %q, %v; want %d", kind.path, token, status, short(text), err, kind.status)
		m.note(token, 0, 1)
	}
}

func (m *model) send(r *http.Request) (int, string, error) {
	response, err := m.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	var b strings.Builder
	_, err = io.Copy(&b, response.Body)
	return response.StatusCode, b.String(), err
}

// answer is what a request that succeeds gets.
func (m *model) answer(path string, token int, body string) string {
	switch path {
	case "/stream":
		return strings.Repeat(strconv.Itoa(token)+" ", 12)
	case "/large":
		return strconv.Itoa(token) + " " + strings.Repeat("x", 2_000_000)
	}
	return fmt.Sprintf("%d %x", token, md5.Sum([]byte(body)))
}

func (m *model) note(token, least, most int) {
	m.mu.Lock()
	m.runs[token] = runs{least, most}
	m.mu.Unlock()
}

func (m *model) checkRuns(journal string) {
	text, err := os.ReadFile(journal)
	if err != nil {
		m.Fatal(err)
	}
	ran := map[int]int{}
	for line := range strings.Lines(string(text)) {
		token, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			m.Errorf("the journal has %q", line)
		}
		ran[token]++
	}
	wrong := 0
	for token, r := range m.runs {
		if n := ran[token]; n < r.least || n > r.most {
			if wrong++; wrong <= 10 {
				m.Errorf("PHP began request %d %d times", token, n)
			}
		}
	}
}
