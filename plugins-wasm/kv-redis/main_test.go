package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/driver"
	"github.com/edge-server/edge/wasmhost"
)

func TestStore(t *testing.T) {
	t.Parallel()
	module := plugintest.Go(t, "kv-redis")
	redis := testenv.Redis(t)

	t.Run("suite", func(t *testing.T) {
		var mu sync.Mutex
		stores := 0
		kvtest.Run(t, func(t *testing.T) kv.Store {
			mu.Lock()
			defer mu.Unlock()
			stores++
			return plugintest.Store(t, module, map[string]any{"address": redis.Addr, "prefix": fmt.Sprintf("s%d:", stores), "timeout": "20s"}, granted(redis.Addr))
		})
	})

	t.Run("clear stays within the prefix", func(t *testing.T) {
		t.Parallel()
		mine := opened(t, module, redis.Addr, map[string]any{"prefix": "a*[b]:"})
		others := opened(t, module, redis.Addr, map[string]any{"prefix": "axb:"})
		set(t, mine, "k", "1")
		set(t, others, "k", "2")
		if err := mine.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, found := get(t, mine, "k"); found {
			t.Error("clear left a key")
		}
		if v, _ := get(t, others, "k"); v != "2" {
			t.Errorf("clear took the key of another prefix: %q", v)
		}
	})

	t.Run("a key of another kind is no value", func(t *testing.T) {
		t.Parallel()
		s := opened(t, module, redis.Addr, nil)
		if _, err := testenv.RedisDo(redis.Addr, "RPUSH", "list", "1"); err != nil {
			t.Fatal(err)
		}
		if _, found := get(t, s, "list"); found {
			t.Error("a list is found as a value")
		}
		if _, err := s.Increment(t.Context(), "list", 1, time.Time{}); !errors.Is(err, kv.ErrNumber) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("increment of a list: %v", err)
		}
	})

	t.Run("config", func(t *testing.T) {
		t.Parallel()
		for text, want := range map[string]string{"": "is not host:port", "localhost": "is not host:port"} {
			if _, err := plugintest.TryStore(t, module, map[string]any{"address": text}, granted(redis.Addr)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("address %q: %v", text, err)
			}
		}
		if _, err := plugintest.TryStore(t, module, map[string]any{"addres": "x"}, granted(redis.Addr)); err == nil || !strings.Contains(err.Error(), "config.addres: there is no such key; there are address") {
			t.Errorf("an unknown key: %v", err)
		}
		s := opened(t, module, redis.Addr, map[string]any{"address": "127.0.0.1:1"}) // which is not granted
		if err := s.Get(t.Context(), []kv.Item{{Key: "k"}}); err == nil || !strings.Contains(err.Error(), "allow.net needs tcp://127.0.0.1:1") {
			t.Errorf("without a grant: %v", err)
		}
	})
}

func TestPassword(t *testing.T) {
	t.Parallel()
	module := plugintest.Go(t, "kv-redis")
	redis := testenv.Redis(t, "--requirepass", "secret")
	s := opened(t, module, redis.Addr, map[string]any{"password": "secret", "db": 3})
	set(t, s, "k", "v")
	if v, err := testenv.RedisDo(redis.Addr, "PING"); err == nil && strings.Contains(v, "PONG") {
		t.Errorf("the server wants no password: %q", v)
	}
	wrong := opened(t, module, redis.Addr, map[string]any{"password": "guessed"})
	if err := wrong.Get(t.Context(), []kv.Item{{Key: "k"}}); err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "guessed") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestFaults: a server that is gone or does not answer is told promptly, and used again when it is back.
func TestFaults(t *testing.T) {
	t.Parallel()
	module := plugintest.Go(t, "kv-redis")
	redis := testenv.Redis(t)
	s := opened(t, module, redis.Addr, map[string]any{"timeout": "300ms", "connect_timeout": "300ms"})
	set(t, s, "k", "v")

	redis.Kill()
	for range 3 {
		wantUnavailable(t, s)
	}
	redis.Start()
	testenv.Eventually(t, "the store works again", func() bool {
		return s.Set(t.Context(), []kv.Item{{Key: "k", Value: []byte("w")}}) == nil
	})
	if v, _ := get(t, s, "k"); v != "w" {
		t.Errorf("after the restart: %q", v)
	}

	redis.Kill() // and is back before anybody asks: a get finds out by itself
	redis.Start()
	if _, err := s.Increment(t.Context(), "n", 1, time.Time{}); err != nil && !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("increment after a restart: %v", err)
	}
	set(t, s, "k", "x")

	redis.Pause()
	wantUnavailable(t, s)
	redis.Resume()
	testenv.Eventually(t, "the store works again", func() bool { _, found := try(t, s, "k"); return found })
}

func wantUnavailable(t *testing.T, s kv.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Get(ctx, []kv.Item{{Key: "k"}}); !errors.Is(err, kv.ErrUnavailable) || ctx.Err() != nil || !strings.Contains(err.Error(), `"plugin"`) {
		t.Errorf("error = %v", err)
	}
}

// TestReplies: what is no reply of Redis ends the connection and nothing else.
func TestReplies(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"hello\r\n", "$99999999999\r\n", "*2000000\r\n", "$3\r\nabcde\r\n", ":x\r\n", strings.Repeat("+", 8<<10), "\r\n", "$-2\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the listener
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = conn.Write([]byte(answer))
				_ = conn.Close()
			}
		}()
		s := &store{client: client{config: config{Address: l.Addr().String(), timeout: time.Second, connectTimeout: time.Second}}}
		if _, err := s.Get([]byte("k")); !errors.Is(err, edge.ErrUnavailable) {
			t.Errorf("answer %.20q: %v", answer, err)
		}
		_ = l.Close()
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	if got := string(pattern([]byte("a*b?[c]"))); got != `a\*b\?\[c\]*` {
		t.Errorf("pattern = %q", got)
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n:7\r\n", "-ERR no\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n", "$5\r\nab"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		rep, err := readReply(bufio.NewReaderSize(bytes.NewReader(answer), maxLine), 0)
		if err == nil && len(rep.text) > len(answer) {
			t.Errorf("%d bytes gave a text of %d", len(answer), len(rep.text))
		}
	})
}

var (
	_ driver.Batcher     = (*store)(nil)
	_ driver.Incrementer = (*store)(nil)
	_ driver.Expirer     = (*store)(nil)
	_ driver.Scanner     = (*store)(nil)
	_ driver.Clearer     = (*store)(nil)
	_ driver.Ticker      = (*store)(nil)
)

func granted(addr string) plugintest.Setting {
	return func(m *wasmhost.ModuleConfig) {
		m.Allow.Net = []string{"tcp://" + addr}
		m.Limits.Memory *= 2
		m.Limits.Wait = 30 * time.Second
		m.Instances.Max = 8
	}
}

func opened(t *testing.T, module, addr string, config map[string]any) kv.Store {
	t.Helper()
	all := map[string]any{"address": addr}
	for key, value := range config {
		all[key] = value
	}
	s := plugintest.Store(t, module, all, granted(addr))
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func set(t *testing.T, s kv.Store, key, value string) {
	t.Helper()
	if err := s.Set(t.Context(), []kv.Item{{Key: key, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
}

func try(t *testing.T, s kv.Store, key string) (string, bool) {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(t.Context(), items); err != nil {
		return err.Error(), false
	}
	return string(items[0].Value), items[0].Found
}

func get(t *testing.T, s kv.Store, key string) (string, bool) {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	return string(items[0].Value), items[0].Found
}
