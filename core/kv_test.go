package core_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

func dial(t *testing.T, dir string) *rpc.Client {
	t.Helper()
	c, err := rpc.Dial(t.Context(), "unix://"+dir+"/rpc.sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestStoresOverRPC: every kind of store, as a client in JSON sees it; and what is there after a restart.
func TestStoresOverRPC(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	config := `version: 1
rpc: {listen: unix://rpc.sock}
kv:
  main: {driver: memory, snapshot: main.snapshot, limits: {max_key: 32}}
  lost: {driver: memory, prefix: "app:"}
  cache: {driver: memory, mode: cache, max_size: 1MiB}
  disk: {driver: boltdb, prefix: "app:", boltdb: {file: kv.db, sync: always}, local_cache: {ttl: 1m}}
`
	if err := os.WriteFile(filepath.Join(dir, "edge.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stores := []string{"main", "lost", "cache", "disk"}
	t.Run("first", func(t *testing.T) {
		edgetest.StartDir(t, dir)
		c := dial(t, dir)
		for _, name := range stores {
			r := call[kv.Result](t, c, "kv.Batch", map[string]any{"storage": name, "ops": []map[string]any{
				{"op": "SetTagged", "key": "tagged", "value": []byte("1"), "tags": []string{"red"}},
				{"op": "Increment", "key": "n", "delta": 7, "ttl": 3_600_000},
				{"op": "Get", "key": "tagged"},
				{"op": "Scan", "prefix": ""},
			}})
			if len(r.Results) != 4 || r.Results[1].Number != 7 || string(r.Results[2].Value) != "1" || len(r.Results[3].Keys) != 2 {
				t.Errorf("%s: %+v", name, r)
			}
			lock := call[kv.Result](t, c, "kv.Lock", map[string]any{"storage": name, "key": "job"})
			if !lock.OK || lock.Token == "" {
				t.Errorf("%s: Lock: %+v", name, lock)
			}
		}
		var refused kv.Result
		err := c.Call(t.Context(), "kv.Put", map[string]any{"storage": "main", "key": strings.Repeat("k", 33)}, &refused)
		if err == nil || !strings.Contains(err.Error(), "limits.max_key") {
			t.Errorf("a key beyond the limit: %v", err)
		}
		err = c.Call(t.Context(), "kv.ZCard", map[string]any{"storage": "disk", "key": "z"}, &refused)
		if err == nil || !strings.Contains(err.Error(), `unsupported: the storage "disk" (driver boltdb) has no ZCard`) {
			t.Errorf("a sorted set in boltdb: %v", err)
		}
	})
	t.Run("second", func(t *testing.T) {
		edgetest.StartDir(t, dir)
		c := dial(t, dir)
		for _, name := range stores {
			kept := name == "main" || name == "disk"
			r := call[kv.Result](t, c, "kv.Get", map[string]any{"storage": name, "key": "tagged"})
			if r.Found != kept {
				t.Errorf("%s: after a restart the key is there: %v", name, r.Found)
			}
			ttl := call[kv.Result](t, c, "kv.Expiry", map[string]any{"storage": name, "key": "n"})
			if ttl.Found != kept || kept && (ttl.TTL <= 0 || ttl.TTL > 3_600_000) {
				t.Errorf("%s: after a restart: %+v", name, ttl)
			}
			call[kv.Result](t, c, "kv.InvalidateTags", map[string]any{"storage": name, "tags": []string{"red"}})
			if r := call[kv.Result](t, c, "kv.Get", map[string]any{"storage": name, "key": "tagged"}); r.Found {
				t.Errorf("%s: the tag was invalidated, and the key is there", name)
			}
		}
	})
}

// TestTwoTiersOverRedis: two servers with copies of one Redis. What one writes the other sees, and an invalidated tag is gone on both.
func TestTwoTiersOverRedis(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	var servers []*rpc.Client
	for range 2 {
		s := edgetest.Start(t, `
rpc: {listen: unix://rpc.sock}
kv:
  shared: {driver: redis, prefix: "app:", redis: {addresses: ["`+redis.Addr+`"]}, local_cache: {ttl: 10m}}
`)
		servers = append(servers, dial(t, s.Dir))
	}
	get := func(c *rpc.Client, key string) string {
		return string(call[kv.Result](t, c, "kv.Get", map[string]any{"storage": "shared", "key": key}).Value)
	}
	put := func(c *rpc.Client, key, value string, tags ...string) {
		t.Helper()
		call[kv.Result](t, c, "kv.Put", map[string]any{"storage": "shared", "key": key, "value": []byte(value), "tags": tags})
	}
	a, b := servers[0], servers[1]
	put(a, "plain", "1")
	put(a, "tagged", "1", "red")
	for range 50 { // so that both hold copies
		get(a, "plain")
		if get(b, "plain") != "1" || get(b, "tagged") != "1" {
			t.Fatal("a value is not there")
		}
	}
	put(a, "plain", "2")
	testenv.Eventually(t, "the other server sees the write", func() bool { return get(b, "plain") == "2" })
	call[kv.Result](t, b, "kv.InvalidateTags", map[string]any{"storage": "shared", "tags": []string{"red"}})
	if got := get(b, "tagged"); got != "" {
		t.Errorf("after the tag was invalidated here: %q", got)
	}
	testenv.Eventually(t, "the other server misses the tag", func() bool { return get(a, "tagged") == "" })

	lock := call[kv.Result](t, a, "kv.Lock", map[string]any{"storage": "shared", "key": "job"})
	if other := call[kv.Result](t, b, "kv.Lock", map[string]any{"storage": "shared", "key": "job"}); !lock.OK || other.OK {
		t.Errorf("a lock over two servers: %+v and %+v", lock, other)
	}
	call[kv.Result](t, a, "kv.Unlock", map[string]any{"storage": "shared", "key": "job", "token": lock.Token})
	second := call[kv.Result](t, b, "kv.Lock", map[string]any{"storage": "shared", "key": "job", "wait": 20_000})
	if !second.OK || second.Fence <= lock.Fence {
		t.Errorf("the lock of the other server: %+v, the first fence was %d", second, lock.Fence)
	}
}

// TestKVMetrics are those of a real server, under the names that the documentation gives.
func TestKVMetrics(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
rpc: {listen: unix://rpc.sock}
kv: {main: {driver: memory}}
`)
	c := dial(t, s.Dir)
	call[kv.Result](t, c, "kv.Put", map[string]any{"storage": "main", "key": "k", "value": []byte("12345")})
	call[kv.Result](t, c, "kv.Get", map[string]any{"storage": "main", "key": "k"})
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", admin.SocketPath(filepath.Join(s.Dir, ".edge")))
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://admin/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`edge_kv_operation_seconds_count{operation="get",store="main"} 1`, `edge_kv_operation_seconds_bucket{operation="set",store="main",le="+Inf"} 1`,
		`edge_kv_read_bytes_total{store="main"} 5`, `edge_kv_written_bytes_total{store="main"} 5`, `edge_kv_evicted_total{driver="memory",store="main"} 0`,
		`edge_kv_hits_total{driver="memory",store="main"} 1`, `edge_kv_failed_operations_total{operation="get",store="main"} 0`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the metrics have no line %s", want)
		}
	}
}
