package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/redis"
)

// hasty is a store with short timeouts, so that a fault takes a moment and not seconds.
func hasty(addresses ...string) kv.RedisConfig {
	c := config(addresses...)
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	return c
}

// prompt is far more than the timeouts of hasty add up to, for machines with better things to do.
const prompt = 30 * time.Second

// modes are the ways in which commands travel.
func modes(t *testing.T, test func(t *testing.T, change func(*kv.RedisConfig))) {
	for _, together := range []bool{true, false} {
		t.Run(fmt.Sprintf("autopipeline=%v", together), func(t *testing.T) {
			t.Parallel()
			test(t, func(c *kv.RedisConfig) { c.AutoPipeline = together })
		})
	}
}

// TestFaultsOfTheNetwork puts every toxic between the store and its server, one after the other and again, while clients work.
func TestFaultsOfTheNetwork(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, change func(*kv.RedisConfig)) {
		server := testenv.Redis(t)
		proxy := testenv.StartToxiproxy(t).Proxy(server.Addr)
		c := hasty(proxy.Addr)
		change(&c)
		s := open(t, c)
		kvtest.Through{Store: s, Prompt: prompt}.Run(t, func() {
			proxy.Cut()
			testenv.Eventually(t, "the counter shows a fault", func() bool { return s.Connections().Unavailable > 0 })
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
	})
}

// lastFor lets a fault last.
func lastFor(d time.Duration) { time.Sleep(d) }

func TestServerKilledAndRestarted(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, change func(*kv.RedisConfig)) {
		server := testenv.Redis(t)
		c := hasty(server.Addr)
		change(&c)
		kvtest.Through{Store: open(t, c), Prompt: prompt, Forgets: true}.Run(t, func() {
			for range testenv.Count(3, 50) {
				server.Kill()
				lastFor(100 * time.Millisecond)
				server.Start()
				lastFor(100 * time.Millisecond)
			}
		})
	})
}

// TestServerStopped freezes the server: connections stay open and nobody answers.
func TestServerStopped(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, change func(*kv.RedisConfig)) {
		server := testenv.Redis(t)
		c := hasty(server.Addr)
		change(&c)
		s := open(t, c)
		kvtest.Through{Store: s, Prompt: prompt}.Run(t, func() {
			for range testenv.Count(2, 20) {
				before := s.Connections().Unavailable
				server.Pause()
				testenv.Eventually(t, "the counter shows a fault", func() bool { return s.Connections().Unavailable > before })
				server.Resume()
				lastFor(100 * time.Millisecond)
			}
		})
	})
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	servers := testenv.RedisSentinel(t)
	c := hasty(servers.Addrs()...)
	c.Master = "main"
	s := open(t, c)
	w := watching(t, s)
	kvtest.Through{Store: s, Prompt: prompt, Loses: true}.Run(t, func() {
		servers.Master.Kill()
		testenv.Eventually(t, "the replica becomes the master", func() bool {
			role, err := testenv.RedisDo(servers.Replica.Addr, "ROLE")
			return err == nil && strings.HasPrefix(role, "master")
		})
	})
	testenv.Eventually(t, "the stream of changes is back", w.isReady)
	testenv.Eventually(t, "new connections go to the new master", func() bool { // the sentinels tell each other within seconds
		return s.Set(t.Context(), []kv.Item{{Key: "after", Value: []byte("1")}}) == nil
	})
	testenv.Eventually(t, "a change at the new master", func() bool { return w.heard("after") })
	if got, err := testenv.RedisDo(servers.Replica.Addr, "GET", c.Prefix+"after"); err != nil || got != "1" {
		t.Errorf("the new master says %q, %v", got, err)
	}
}

func TestClusterNodeKilled(t *testing.T) {
	t.Parallel()
	nodes := testenv.RedisCluster(t)
	c := hasty(addresses(nodes)...)
	s := open(t, c)
	kvtest.Through{Store: s, Prompt: prompt, Loses: true}.Run(t, func() {
		var masters []*testenv.Server
		for _, n := range nodes {
			if role, err := testenv.RedisDo(n.Addr, "ROLE"); err == nil && strings.HasPrefix(role, "master") {
				masters = append(masters, n)
			}
		}
		masters[0].Kill()
		testenv.Eventually(t, "a replica takes over", func() bool {
			info, err := testenv.RedisDo(masters[1].Addr, "CLUSTER", "INFO")
			list, _ := testenv.RedisDo(masters[1].Addr, "CLUSTER", "NODES")
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(list, "fail")
		})
	})
	// All keys of a scan come, and a clear reaches every master that is left.
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys, _, err := s.Scan(t.Context(), "", "", 100); err != nil || len(keys) > 0 {
		t.Errorf("after Clear a scan finds %q, %v", keys, err)
	}
}

// TestContextEndsAnOperation: a server that does not answer keeps nobody longer than they want to wait.
func TestContextEndsAnOperation(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := config(server.Addr)
	c.ReadTimeout = time.Minute
	s := open(t, c)
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	errs := make(chan error)
	const callers = 20
	for range callers {
		go func() { errs <- s.Get(ctx, []kv.Item{{Key: "a"}}) }()
	}
	for range callers {
		select {
		case err := <-errs:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get: %v, want %v", err, context.DeadlineExceeded)
			}
		case <-time.After(40 * time.Second):
			t.Fatal("an operation outlives its context")
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, "--requirepass", "secret")
	nobody := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	for _, test := range []struct {
		name   string
		change func(*kv.RedisConfig)
		want   []string // parts of the error
		kind   error
	}{
		{"no server", func(c *kv.RedisConfig) { c.Addresses = []string{nobody} }, []string{nobody, "connection refused", "redis.wait"}, kv.ErrUnavailable},
		{"no password", func(*kv.RedisConfig) {}, []string{server.Addr, "NOAUTH", "password"}, nil},
		{"wrong password", func(c *kv.RedisConfig) { c.Password = "hunter2" }, []string{server.Addr, "WRONGPASS"}, nil},
		{"no CA", func(c *kv.RedisConfig) { c.TLS = &kv.TLSConfig{CA: "/does/not/exist"} }, []string{"tls.ca", "/does/not/exist"}, nil},
		{"no cluster", func(c *kv.RedisConfig) { c.Password, c.Mode = "secret", kv.RedisCluster }, []string{"cluster support disabled"}, nil},
		{"no such database", func(c *kv.RedisConfig) { c.Password, c.DB = "secret", 99 }, []string{"DB index is out of range"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := config(server.Addr)
			test.change(&c)
			s, err := redis.Open(t.Context(), c, testLog)
			if err == nil {
				s.Close(t.Context())
				t.Fatal("it opened")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error says %q, want %q in it", err, part)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in the error: %q", err)
			}
			if test.kind != nil && !errors.Is(err, test.kind) {
				t.Errorf("the error is %v, want it to be %v", err, test.kind)
			}
		})
	}
}

// TestWait: with wait, a start takes as long as the server.
func TestWait(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	server.Kill()
	c := config(server.Addr)
	c.Wait = time.Minute
	opened := make(chan error, 1)
	go func() {
		s, err := redis.Open(context.Background(), c, testLog)
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
