package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/memcached"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var testLog = slog.New(slog.DiscardHandler)

func config(addresses ...string) kv.MemcachedConfig {
	c := kv.DefaultMemcachedConfig()
	c.Addresses = addresses
	return c
}

// large is a store of servers that take more than 1 MiB.
func large(addresses ...string) kv.MemcachedConfig {
	c := config(addresses...)
	c.MaxValue = 4 * bytesize.MiB
	return c
}

func open(t testing.TB, c kv.MemcachedConfig) *memcached.Store {
	t.Helper()
	s, err := memcached.Open(context.Background(), c, testLog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func servers(t testing.TB, n int, args ...string) []string {
	t.Helper()
	var all []string
	for range n {
		all = append(all, testenv.Memcached(t, args...).Addr)
	}
	return all
}

// suite runs the suite with what memcached knows of time. Each test has servers of its own: a store cannot keep to a part of one.
func suite(t *testing.T, open func(t *testing.T) kv.Store) {
	kvtest.Suite{Open: open, Precision: 3 * time.Second, Furthest: time.Unix(math.MaxInt32, 0)}.Run(t)
}

func TestOneServer(t *testing.T) {
	t.Parallel()
	suite(t, func(t *testing.T) kv.Store { return open(t, large(servers(t, 1, "-I", "8m")...)) })
}

func TestThreeServersAndAPrefix(t *testing.T) {
	t.Parallel()
	suite(t, func(t *testing.T) kv.Store {
		c := large(servers(t, 3, "-I", "8m")...)
		c.Prefix, c.Clear = "app:", kv.ClearFlush
		return open(t, c)
	})
}

func TestSocket(t *testing.T) {
	t.Parallel()
	s := open(t, config("unix://"+testenv.MemcachedSocket(t).Addr))
	set(t, s, "a", "1", time.Time{})
	want(t, s, "a", "1")
}

func set(t testing.TB, s kv.Store, key, value string, expires time.Time) {
	t.Helper()
	if err := s.Set(t.Context(), []kv.Item{{Key: key, Value: []byte(value), Expires: expires}}); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, s kv.Store, key, value string) {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(t.Context(), items); err != nil || !items[0].Found || string(items[0].Value) != value {
		t.Errorf("key %q: %.40q found %v error %v, want %.40q", key, items[0].Value, items[0].Found, err, value)
	}
}

// TestOtherClientsSeeTheSame: gomemcache finds what the store wrote, on the server it looks at, and the other way around.
func TestOtherClientsSeeTheSame(t *testing.T) {
	t.Parallel()
	addresses := servers(t, 5)
	c := config(addresses...)
	c.Prefix = "app:"
	s, other := open(t, c), memcache.New(addresses...)
	defer other.Close()
	for i := range 200 {
		key := fmt.Sprint("key", i)
		set(t, s, key, "ours", time.Time{})
		item, err := other.Get("app:" + key)
		if err != nil || string(item.Value) != "ours" {
			t.Fatalf("gomemcache reads %s: %+v %v", key, item, err)
		}
		if err := other.Set(&memcache.Item{Key: "app:" + key, Value: []byte("theirs"), Flags: 7}); err != nil {
			t.Fatal(err)
		}
		want(t, s, key, "theirs")
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	s := open(t, config(servers(t, 1)...))
	for _, ahead := range []time.Duration{5 * time.Second, 29 * 24 * time.Hour, 31 * 24 * time.Hour, 3 * 365 * 24 * time.Hour} {
		end, slack := time.Now().Add(ahead), 3*time.Second
		if ahead > 30*24*time.Hour {
			slack = 66 * time.Second
		}
		set(t, s, "a", "1", end)
		items := []kv.Item{{Key: "a"}}
		if err := s.TTL(t.Context(), items); err != nil || items[0].Expires.Before(end.Add(-2*time.Second)) || items[0].Expires.Sub(end) > slack {
			t.Errorf("a deadline %s ahead is %v (%v), want %v", ahead, items[0].Expires, err, end)
		}
		// Changing the value leaves the deadline, give or take a tick.
		for range 20 {
			if err := s.Update(t.Context(), "a", func(old kv.Item) (kv.Item, error) {
				old.Value = []byte("2")
				return old, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.TTL(t.Context(), items); err != nil || items[0].Expires.Before(end.Add(-2*time.Second)) || items[0].Expires.Sub(end) > slack+time.Second {
			t.Errorf("after updates a deadline %s ahead is %v (%v), want %v", ahead, items[0].Expires, err, end)
		}
	}
}

func TestIncrementBeyondTheServersNumbers(t *testing.T) {
	t.Parallel()
	s := open(t, config(servers(t, 1)...))
	set(t, s, "n", strconv.FormatInt(math.MaxInt64-2, 10), time.Time{})
	if _, err := s.Increment(t.Context(), "n", 3, time.Time{}); !errors.Is(err, kv.ErrNumber) {
		t.Errorf("a sum above 63 bits: %v, want %v", err, kv.ErrNumber)
	}
	if n, err := s.Increment(t.Context(), "n", 2, time.Time{}); n != math.MaxInt64 || err != nil {
		t.Errorf("after a refusal: %d %v, want %d", n, err, int64(math.MaxInt64))
	}
	set(t, s, "n", "100", time.Time{})
	for _, step := range []struct{ delta, want int64 }{{-1, 99}, {-100, -1}, {5, 4}, {1, 5}, {-6, -1}, {-9, -10}, {11, 1}} {
		if n, err := s.Increment(t.Context(), "n", step.delta, time.Time{}); n != step.want || err != nil {
			t.Errorf("%+d: %d %v, want %d", step.delta, n, err, step.want)
		}
		want(t, s, "n", strconv.FormatInt(step.want, 10))
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := open(t, config(testenv.Memcached(t, "-m", "2").Addr))
	over := strings.Repeat("x", int(bytesize.MiB)+1)
	for name, err := range map[string]error{
		"Set":    s.Set(t.Context(), []kv.Item{{Key: "a", Value: []byte(over)}}),
		"Add":    s.Add(t.Context(), []kv.Item{{Key: "a", Value: []byte(over)}}),
		"Update": s.Update(t.Context(), "a", func(kv.Item) (kv.Item, error) { return kv.Item{Value: []byte(over), Found: true}, nil }),
		// Here the server has the last word: it counts the key and its own words.
		"Set of 1 MiB": s.Set(t.Context(), []kv.Item{{Key: "a", Value: []byte(over[1:])}}),
	} {
		if !errors.Is(err, kv.ErrLimit) || !strings.Contains(err.Error(), "-I") {
			t.Errorf("%s of a value that is too large: %v, want %v and the way out", name, err, kv.ErrLimit)
		}
	}
	set(t, s, "a", "1", time.Time{})
	want(t, s, "a", "1")
}

func TestClearKeepsToItsOwn(t *testing.T) {
	t.Parallel()
	addresses := servers(t, 1)
	c := config(addresses...)
	c.Prefix = "app:"
	s := open(t, c)
	set(t, s, "a", "1", time.Time{})
	if err := s.Clear(t.Context()); !errors.Is(err, kv.ErrUnsupported) || !strings.Contains(err.Error(), "flush_all") {
		t.Errorf("Clear with a prefix: %v, want %v and the way out", err, kv.ErrUnsupported)
	}
	want(t, s, "a", "1")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	nobody := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	redis := testenv.Redis(t).Addr
	for _, test := range []struct {
		name   string
		change func(*kv.MemcachedConfig)
		want   []string
	}{
		{"no server", func(c *kv.MemcachedConfig) { c.Addresses = []string{nobody} }, []string{nobody, "refused", "memcached.wait"}},
		{"something else", func(c *kv.MemcachedConfig) { c.Addresses = []string{redis} }, []string{redis, "not the meta protocol"}},
		{"a prefix with a space", func(c *kv.MemcachedConfig) { c.Prefix = "a b" }, []string{"prefix", `"a b"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := config(nobody)
			test.change(&c)
			s, err := memcached.Open(t.Context(), c, testLog)
			if err == nil {
				s.Close(t.Context())
				t.Fatal("it opened")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error says %q, want %q in it", err, part)
				}
			}
		})
	}
}
