package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/redis"
)

// witness writes down what a Watcher tells.
type witness struct {
	mu    sync.Mutex
	ready bool
	lost  int
	keys  []string
	all   int
}

func (w *witness) Ready() { w.mu.Lock(); w.ready = true; w.mu.Unlock() }
func (w *witness) Lost()  { w.mu.Lock(); w.ready = false; w.lost++; w.mu.Unlock() }
func (w *witness) Changed(keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(keys) == 0 {
		w.all++
	}
	w.keys = append(w.keys, keys...)
}

func (w *witness) isReady() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.ready }
func (w *witness) losses() int   { w.mu.Lock(); defer w.mu.Unlock(); return w.lost }
func (w *witness) heard(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.keys, key)
}

// watching watches a store until the test ends.
func watching(t *testing.T, s *redis.Store) *witness {
	t.Helper()
	w := &witness{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: %v, want %v", err, context.Canceled)
		}
	})
	testenv.Eventually(t, "Ready", w.isReady)
	return w
}

func set(t testing.TB, s kv.Store, key, value string) {
	t.Helper()
	if err := s.Set(context.Background(), []kv.Item{{Key: key, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
}

func TestWatchTellsWhatOthersChange(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := config(server.Addr)
	near, far := open(t, c), open(t, c)
	other := open(t, config(server.Addr))
	w := watching(t, near)

	set(t, other, "foreign", "1")
	set(t, far, "far", "1")
	set(t, near, "near", "1")
	if err := far.Set(t.Context(), []kv.Item{{Key: "short", Value: []byte("1"), Expires: time.Now().Add(50 * time.Millisecond)}}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"far", "near", "short"} {
		testenv.Eventually(t, "a change of "+key, func() bool { return w.heard(key) })
	}
	if w.heard("foreign") {
		t.Error("a key of another prefix was told")
	}
	if out, err := testenv.RedisDo(server.Addr, "FLUSHALL"); err != nil {
		t.Fatal(out, err)
	}
	testenv.Eventually(t, "that all keys may have changed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.all > 0
	})
}

func TestWatchSaysWhenItIsLostAndComesBack(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	proxy := testenv.StartToxiproxy(t).Proxy(server.Addr)
	c := config(proxy.Addr)
	w := watching(t, open(t, c))

	server.Kill()
	testenv.Eventually(t, "Lost after the server's end", func() bool { return w.losses() == 1 && !w.isReady() })
	server.Start()
	testenv.Eventually(t, "Ready after its return", w.isReady)
	proxy.Swallow()
	testenv.Eventually(t, "Lost on a connection that says nothing", func() bool { return w.losses() == 2 })
	proxy.Heal()
	testenv.Eventually(t, "Ready again", w.isReady)
	c.Addresses = []string{server.Addr}
	set(t, open(t, c), "later", "1")
	testenv.Eventually(t, "a change", func() bool { return w.heard("later") })
}

func TestWatchInACluster(t *testing.T) {
	t.Parallel()
	nodes := testenv.RedisCluster(t)
	c := config(addresses(nodes)...)
	near, far := open(t, c), open(t, c)
	w := watching(t, near)
	for i := range 30 {
		set(t, far, fmt.Sprint("key", i), "1")
	}
	for i := range 30 {
		testenv.Eventually(t, "a change", func() bool { return w.heard(fmt.Sprint("key", i)) })
	}
}

func TestWatchEndsWithTheStore(t *testing.T) {
	t.Parallel()
	s := open(t, config(testenv.Redis(t).Addr))
	done := make(chan error, 1)
	w := &witness{}
	go func() { done <- s.Watch(context.Background(), w) }()
	testenv.Eventually(t, "Ready", w.isReady)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Watch: %v, want %v", err, kv.ErrClosed)
	}
	if err := s.Watch(t.Context(), w); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Watch of a closed store: %v, want %v", err, kv.ErrClosed)
	}
}
