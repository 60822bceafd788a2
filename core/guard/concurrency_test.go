package guard_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/internal/testenv"
)

func gate(most, queue int, by string, wait time.Duration) *guard.Gate {
	c := guard.Concurrency{}.Defaults().(guard.Concurrency)
	c.Max, c.Queue, c.By, c.Wait = most, queue, by, wait
	return guard.NewGate(c)
}

// held is a handler whose requests run until they are let go.
type held struct {
	running, most atomic.Int64
	letGo         chan struct{}
}

func (h *held) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n := h.running.Add(1)
	defer h.running.Add(-1)
	for {
		if most := h.most.Load(); n <= most || h.most.CompareAndSwap(most, n) {
			break
		}
	}
	<-h.letGo
	w.WriteHeader(http.StatusNoContent)
}

// TestGate: so many run, so many wait, and the rest is refused at once; whoever waits runs when one leaves, in order.
func TestGate(t *testing.T) {
	t.Parallel()
	g := gate(2, 3, "all", time.Minute)
	inside := &held{letGo: make(chan struct{})}
	h := g.Middleware(inside)
	var all sync.WaitGroup
	statuses := make(chan int, 5)
	for range 5 {
		all.Go(func() { statuses <- ask(h, "192.0.2.1:1").StatusCode })
	}
	testenv.Eventually(t, "two run, three wait", func() bool { s := g.Stats(); return s.Active == 2 && s.Waiting == 3 })
	res := ask(h, "192.0.2.1:1")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("the sixth: %s %v", res.Status, res.Header)
	}
	close(inside.letGo)
	all.Wait()
	for range 5 {
		if status := <-statuses; status != 204 {
			t.Errorf("got %d", status)
		}
	}
	if s := g.Stats(); s != (guard.GateStats{Served: 5, Waited: 3, Refused: 1}) || inside.most.Load() != 2 {
		t.Errorf("%+v, %d at once", s, inside.most.Load())
	}
}

func TestGateWithoutQueueAndWaitsThatEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		queue           int
		refused, waited uint64
	}{{0, 1, 0}, {1, 0, 1}} {
		g := gate(1, tt.queue, "all", 10*time.Millisecond)
		inside := &held{letGo: make(chan struct{})}
		h := g.Middleware(inside)
		var first sync.WaitGroup
		first.Go(func() { ask(h, "192.0.2.1:1") })
		testenv.Eventually(t, "one runs", func() bool { return g.Stats().Active == 1 })
		if res := ask(h, "192.0.2.1:1"); res.StatusCode != 503 {
			t.Errorf("%+v: %s", tt, res.Status)
		}
		close(inside.letGo)
		first.Wait()
		if s := g.Stats(); s.Refused != tt.refused || s.Expired != tt.waited || s.Waiting != 0 || s.Active != 0 {
			t.Errorf("%+v: %+v", tt, s)
		}
		if res := ask(h, "192.0.2.1:1"); res.StatusCode != 204 {
			t.Errorf("%+v: afterwards %s", tt, res.Status)
		}
	}
}

// TestGateByClient: one client does not stand in the way of another.
func TestGateByClient(t *testing.T) {
	t.Parallel()
	g := gate(1, 0, "ip", time.Second)
	inside := &held{letGo: make(chan struct{})}
	h := g.Middleware(inside)
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() { ask(h, fmt.Sprintf("192.0.2.%d:1", i)) })
	}
	testenv.Eventually(t, "three run", func() bool { return g.Stats().Active == 3 })
	if res := ask(h, "192.0.2.1:2"); res.StatusCode != 503 {
		t.Errorf("a second of one client: %s", res.Status)
	}
	close(inside.letGo)
	all.Wait()
}

// TestGateLosesNoPlace: clients that leave while they wait, panics and refusals in any order leave all places free.
func TestGateLosesNoPlace(t *testing.T) {
	t.Parallel()
	g := gate(3, 5, "all", 2*time.Millisecond)
	h := g.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
		if r.URL.Path == "/panic" {
			panic(http.ErrAbortHandler)
		}
	}))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Microsecond)
				r := httptest.NewRequestWithContext(ctx, "GET", []string{"/", "/panic"}[i%2], nil)
				func() {
					defer func() { _ = recover() }()
					h.ServeHTTP(httptest.NewRecorder(), r)
				}()
				cancel()
			}
		})
	}
	all.Wait()
	if s := g.Stats(); s.Active != 0 || s.Waiting != 0 {
		t.Fatalf("%+v", s)
	}
	inside := &held{letGo: make(chan struct{})}
	h = g.Middleware(inside)
	for range 3 {
		all.Go(func() { ask(h, "192.0.2.1:1") })
	}
	testenv.Eventually(t, "three run", func() bool { return g.Stats().Active == 3 })
	close(inside.letGo)
	all.Wait()
}

// TestWebSocketsLeaveTheGate once they are open.
func TestWebSocketsLeaveTheGate(t *testing.T) {
	t.Parallel()
	g := gate(1, 0, "all", time.Second)
	open := make(chan struct{})
	s := httptest.NewServer(g.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		<-open
	})))
	defer s.Close()
	defer close(open)
	for range 3 {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Connection", "upgrade")
		res, err := s.Client().Do(r)
		if err != nil || res.StatusCode != 101 {
			t.Fatal(res, err)
		}
		defer res.Body.Close()
	}
	res, err := s.Client().Get(s.URL)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	if n := g.Stats().Active; n != 0 {
		t.Errorf("%d requests count while three sockets are open", n)
	}
}

func TestBadConcurrency(t *testing.T) {
	t.Parallel()
	problems(t, guard.Concurrency{Queue: -1, Status: 200, By: "x"}.Validate(), "max: ", "queue: ", "retry_after: ", "status: ", "by: ")
	c := guard.Concurrency{}.Defaults().(guard.Concurrency)
	c.Max, c.Wait = 1, 0
	problems(t, c.Validate(), "wait: ")
}
