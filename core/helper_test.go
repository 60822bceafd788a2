package core_test

import (
	"fmt"
	"io"
	"net/http"
	"os/user"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
)

// currentUser keeps workers on the user of the test, who can read the checkout.
func currentUser(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// busy counts the workers that run a request.
func busy(s *edgetest.Server) int {
	n := 0
	for _, pool := range s.Workers() {
		for _, w := range pool.Workers {
			if w.State == "busy" {
				n++
			}
		}
	}
	return n
}

// load sends requests from several clients until stopped and remembers what went wrong.
type load struct {
	stop     chan struct{}
	wg       sync.WaitGroup
	requests atomic.Int64
	mu       sync.Mutex // protects failures
	failures []string
}

// startLoad sends GET path over m from n clients. want judges an answer.
func startLoad(m edgetest.Mode, n int, path string, want func(status int, body string) bool) *load {
	l := &load{stop: make(chan struct{})}
	for range n {
		l.wg.Go(func() { // ends when stop is closed
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				l.requests.Add(1)
				if problem := l.request(m, path, want); problem != "" {
					l.mu.Lock()
					l.failures = append(l.failures, problem)
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

func (l *load) request(m edgetest.Mode, path string, want func(int, string) bool) string {
	res, err := m.Client.Get(m.URL + path)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Sprintf("%s: read the body: %v", res.Status, err)
	}
	if !want(res.StatusCode, string(body)) {
		return fmt.Sprintf("%s %q", res.Status, body)
	}
	return ""
}

// end stops the clients and fails the test for every request that failed.
func (l *load) end(t testing.TB) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	for i, f := range l.failures {
		if i == 10 {
			t.Errorf("… and %d more", len(l.failures)-i)
			break
		}
		t.Errorf("failed request: %s", f)
	}
	t.Logf("%d requests, %d failed", l.requests.Load(), len(l.failures))
	if l.requests.Load() == 0 {
		t.Error("the load sent nothing")
	}
}

func ok(status int, _ string) bool { return status == http.StatusOK }
