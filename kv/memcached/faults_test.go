package memcached_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/memcached"
)

// hasty is a store with short timeouts, so that a fault takes a moment and not seconds.
func hasty(addresses ...string) kv.MemcachedConfig {
	c := config(addresses...)
	c.DialTimeout, c.Timeout = 300*time.Millisecond, 300*time.Millisecond
	return c
}

// prompt is far more than the timeouts of hasty add up to, for machines with better things to do.
const prompt = 30 * time.Second

// lastFor lets a fault last.
func lastFor(d time.Duration) { time.Sleep(d) }

// TestFaultsOfTheNetwork puts every toxic between the store and one of its servers, while clients work.
func TestFaultsOfTheNetwork(t *testing.T) {
	t.Parallel()
	healthy, troubled := testenv.Memcached(t), testenv.Memcached(t)
	proxy := testenv.StartToxiproxy(t).Proxy(troubled.Addr)
	s := open(t, hasty(healthy.Addr, proxy.Addr))
	kvtest.Through{Store: s, Prompt: prompt}.Run(t, func() {
		proxy.Cut()
		testenv.Eventually(t, "the counter shows a fault", func() bool { return s.Unavailable() > 0 })
		proxy.Restore()
		for range testenv.Count(2, 30) {
			for _, fault := range []func(){
				proxy.Cut, func() { proxy.Slow(100 * time.Millisecond) }, proxy.Swallow, func() { proxy.Reset(0) },
				func() { proxy.Reset(20 * time.Millisecond) }, func() { proxy.Drop(1000) }, func() { proxy.Slice(20) },
			} {
				fault()
				lastFor(150 * time.Millisecond)
				proxy.Heal()
				proxy.Restore()
				lastFor(50 * time.Millisecond)
			}
		}
	})
}

func TestServerKilledAndRestarted(t *testing.T) {
	t.Parallel()
	server := testenv.Memcached(t)
	kvtest.Through{Store: open(t, hasty(server.Addr)), Prompt: prompt, Forgets: true}.Run(t, func() {
		for range testenv.Count(3, 50) {
			server.Kill()
			lastFor(100 * time.Millisecond)
			server.Start()
			lastFor(100 * time.Millisecond)
		}
	})
}

// TestServerStopped freezes the server: connections stay open and nobody answers.
func TestServerStopped(t *testing.T) {
	t.Parallel()
	server := testenv.Memcached(t)
	s := open(t, hasty(server.Addr))
	kvtest.Through{Store: s, Prompt: prompt}.Run(t, func() {
		for range testenv.Count(2, 20) {
			before := s.Unavailable()
			server.Pause()
			testenv.Eventually(t, "the counter shows a fault", func() bool { return s.Unavailable() > before })
			server.Resume()
			lastFor(100 * time.Millisecond)
		}
	})
}

// TestContextEndsAnOperation: neither a deadline nor a cancellation waits for a server that does not answer.
func TestContextEndsAnOperation(t *testing.T) {
	t.Parallel()
	server := testenv.Memcached(t)
	c := config(server.Addr)
	c.Timeout = time.Minute
	s := open(t, c)
	set(t, s, "a", "1", time.Time{})
	server.Pause()
	defer server.Resume()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	cancelled, stop := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, stop)
	for ctx, want := range map[context.Context]error{short: context.DeadlineExceeded, cancelled: context.Canceled} {
		began := time.Now()
		if err := s.Get(ctx, []kv.Item{{Key: "a"}}); !errors.Is(err, want) {
			t.Errorf("Get: %v, want %v", err, want)
		}
		if took := time.Since(began); took > 40*time.Second {
			t.Errorf("it took %s", took)
		}
	}
}

// TestWait: with wait, a start takes as long as the server.
func TestWait(t *testing.T) {
	t.Parallel()
	server := testenv.Memcached(t)
	server.Kill()
	c := config(server.Addr)
	c.Wait = time.Minute
	opened := make(chan error, 1)
	go func() {
		s, err := memcached.Open(context.Background(), c, testLog)
		if err == nil {
			err = s.Close(context.Background())
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("Open did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	server.Start()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
