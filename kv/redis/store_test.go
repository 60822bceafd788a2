package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

func do(t testing.TB, server *testenv.Server, args ...string) string {
	t.Helper()
	out, err := testenv.RedisDo(server.Addr, args...)
	if err != nil {
		t.Fatalf("redis-cli %q: %v %s", args, err, out)
	}
	return out
}

func get(t testing.TB, s kv.Store, key string) (string, bool) {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	return string(items[0].Value), items[0].Found
}

// TestOtherProgramsSeeTheSame: keys and values are what redis-cli shows.
func TestOtherProgramsSeeTheSame(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := config(server.Addr)
	s := open(t, c)
	set(t, s, "a", "from edge")
	if got := do(t, server, "GET", c.Prefix+"a"); got != "from edge" {
		t.Errorf("redis-cli reads %q", got)
	}
	do(t, server, "SET", c.Prefix+"b", "from elsewhere")
	if got, _ := get(t, s, "b"); got != "from elsewhere" {
		t.Errorf("the store reads %q", got)
	}
	do(t, server, "RPUSH", c.Prefix+"list", "x")
	if got, found := get(t, s, "list"); found {
		t.Errorf("a list is found as %q", got)
	}
	if _, err := s.Increment(t.Context(), "list", 1, time.Time{}); !errors.Is(err, kv.ErrKind) {
		t.Errorf("Increment of a list: %v, want %v", err, kv.ErrKind)
	}
	if err := s.Update(t.Context(), "list", func(kv.Item) (kv.Item, error) { return kv.Item{Found: true}, nil }); !errors.Is(err, kv.ErrKind) {
		t.Errorf("Update of a list: %v, want %v", err, kv.ErrKind)
	}
}

// TestClearKeepsToItsOwn: the keys of others stay, unless the configuration asks for the whole database by name.
func TestClearKeepsToItsOwn(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := config(server.Addr)
	s := open(t, c)
	others := []string{"other", strings.Replace(c.Prefix, "*", "x", 1) + "a", "x" + c.Prefix + "a"}
	for _, key := range others {
		do(t, server, "SET", key, "1")
	}
	for i := range 3000 {
		set(t, s, fmt.Sprint("key", i), "1")
	}
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := do(t, server, "DBSIZE"); got != fmt.Sprint(len(others)) {
		t.Errorf("after Clear there are %s keys, want %d: %s", got, len(others), do(t, server, "KEYS", "*"))
	}

	c.Prefix = ""
	if err := open(t, c).Clear(t.Context()); !errors.Is(err, kv.ErrUnsupported) || !strings.Contains(err.Error(), "redis.clear: flushdb") {
		t.Errorf("Clear without a prefix: %v, want %v and the way out", err, kv.ErrUnsupported)
	}
	if got := do(t, server, "DBSIZE"); got != fmt.Sprint(len(others)) {
		t.Errorf("after a refused Clear there are %s keys, want %d", got, len(others))
	}
	c.Clear = kv.ClearFlushDB
	if err := open(t, c).Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := do(t, server, "DBSIZE"); got != "0" {
		t.Errorf("after flushdb there are %s keys", got)
	}
	if got := do(t, server, "INFO", "commandstats"); strings.Count(got, "cmdstat_flushdb:calls=1,") != 1 || strings.Contains(got, "cmdstat_flushall") {
		t.Errorf("the server was asked to flush at other times, too:\n%s", got)
	}
}

// TestDeadlinesHoldToTheMillisecond: what Update and Increment do not change stays exactly.
func TestDeadlinesHoldToTheMillisecond(t *testing.T) {
	t.Parallel()
	s := open(t, config(testenv.Redis(t).Addr))
	end := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli())
	if err := s.Set(t.Context(), []kv.Item{{Key: "n", Value: []byte("1"), Expires: end}}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := s.Update(t.Context(), "n", func(old kv.Item) (kv.Item, error) {
			old.Value = append(old.Value[:len(old.Value):len(old.Value)], '0')[:1]
			return old, nil
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Increment(t.Context(), "n", 1, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Increment(t.Context(), "n", -1, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	items := []kv.Item{{Key: "n"}}
	if err := s.TTL(t.Context(), items); err != nil || !items[0].Expires.Equal(end) {
		t.Errorf("the deadline is %v (%v), want %v", items[0].Expires, err, end)
	}
}

// TestIncrementIsExact: the script that gives a new counter its deadline does not go through floating point.
func TestIncrementIsExact(t *testing.T) {
	t.Parallel()
	s := open(t, config(testenv.Redis(t).Addr))
	set(t, s, "n", "9007199254740993") // 2^53+1
	if n, err := s.Increment(t.Context(), "n", 2, time.Now().Add(time.Hour)); n != 9007199254740995 || err != nil {
		t.Errorf("the sum is %d (%v), want 9007199254740995", n, err)
	}
}

func TestServerWithoutRoom(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	s := open(t, config(server.Addr))
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = s.Set(t.Context(), []kv.Item{{Key: fmt.Sprint("key", i), Value: make([]byte, 50_000)}})
	}
	if !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), "maxmemory") {
		t.Errorf("a full server: %v, want %v and the way out", err, kv.ErrFull)
	}
	if s.Stats().Refused == 0 {
		t.Error("the counter shows no refusal")
	}
	if got, found := get(t, s, "key0"); !found || len(got) != 50_000 {
		t.Errorf("key0 has %d bytes", len(got))
	}
}

// TestScriptsComeBack: a server that forgot its scripts gets them again.
func TestScriptsComeBack(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	s := open(t, config(server.Addr))
	for want := int64(1); want < 4; want++ {
		if n, err := s.Increment(t.Context(), "n", 1, time.Now().Add(time.Hour)); n != want || err != nil {
			t.Errorf("the sum is %d (%v), want %d", n, err, want)
		}
		do(t, server, "SCRIPT", "FLUSH")
	}
}

// TestNodeOfAClusterIsNotAlone: who names one node and no cluster is told what to write, at the first key that is elsewhere.
func TestNodeOfAClusterIsNotAlone(t *testing.T) {
	t.Parallel()
	s := open(t, config(testenv.RedisCluster(t)[0].Addr))
	for i := range 100 {
		err := s.Set(t.Context(), []kv.Item{{Key: fmt.Sprint("key", i), Value: []byte("a")}})
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "MOVED") || !strings.Contains(err.Error(), "redis.mode: cluster") {
			t.Errorf("%v does not name redis.mode: cluster", err)
		}
		return
	}
	t.Error("one of several nodes has a hundred keys")
}

// TestClusterBatches: batches reach every node, keys with one tag travel together, and a scan and Clear see all nodes.
func TestClusterBatches(t *testing.T) {
	t.Parallel()
	nodes := testenv.RedisCluster(t)
	c := config(nodes[0].Addr)
	c.Mode = kv.RedisCluster
	s := open(t, c)
	var items []kv.Item
	for i := range 2000 {
		key := fmt.Sprint("key", i)
		if i%2 == 0 {
			key = fmt.Sprintf("{tag%d}%d", i%10, i)
		}
		items = append(items, kv.Item{Key: key, Value: []byte(key)})
	}
	if err := s.Set(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	for i := range items {
		items[i].Value = nil
	}
	if err := s.Get(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if !it.Found || string(it.Value) != it.Key {
			t.Fatalf("key %s holds %q", it.Key, it.Value)
		}
	}
	seen, cursor := map[string]bool{}, ""
	for {
		keys, next, err := s.Scan(t.Context(), "", cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			seen[k] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(seen) != len(items) {
		t.Errorf("a scan finds %d keys, want %d", len(seen), len(items))
	}
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if got := do(t, n, "DBSIZE"); got != "0" && strings.HasPrefix(do(t, n, "ROLE"), "master") {
			t.Errorf("after Clear %s has %s keys", n.Addr, got)
		}
	}
}
