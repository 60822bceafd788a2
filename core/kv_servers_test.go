package core_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

// TestTwoEdgesShareStores: what one Edge writes to redis or memcached another reads, also when it keeps a copy of what was there
// before, and a lock of one is a lock for the other.
func TestTwoEdgesShareStores(t *testing.T) {
	t.Parallel()
	redis, memcached := testenv.Redis(t, "--requirepass", "s3cret"), testenv.Memcached(t)
	config := fmt.Sprintf(`version: 1
rpc: {listen: unix://rpc.sock}
kv:
  plain: {driver: redis, prefix: "plain:", redis: {addresses: ["%[1]s"], password: s3cret}}
  near: {driver: redis, prefix: "near:", redis: {addresses: ["%[1]s"], password: s3cret}, local_cache: {ttl: 1h}}
  pages: {driver: memcached, memcached: {addresses: ["%[2]s"]}}
`, redis.Addr, memcached.Addr)
	var edges []*rpc.Client
	for range 2 {
		dir := testenv.Dir(t)
		if err := os.WriteFile(filepath.Join(dir, "edge.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		edgetest.StartDir(t, dir)
		edges = append(edges, dial(t, dir))
	}
	for _, store := range []string{"plain", "near", "pages"} {
		for round := range 20 {
			writer, reader := edges[round%2], edges[(round+1)%2]
			value := fmt.Sprint("value ", round)
			call[kv.Result](t, writer, "kv.Put", map[string]any{"storage": store, "key": "k", "value": []byte(value)})
			testenv.Eventually(t, "the other Edge reads "+value+" of "+store, func() bool {
				got := call[kv.Result](t, reader, "kv.Get", map[string]any{"storage": store, "key": "k"})
				if store != "near" && string(got.Value) != value {
					t.Fatalf("%s: the other Edge reads %q, want %q", store, got.Value, value)
				}
				return string(got.Value) == value
			})
		}
		held := call[kv.Result](t, edges[0], "kv.Lock", map[string]any{"storage": store, "key": "job"})
		other := call[kv.Result](t, edges[1], "kv.Lock", map[string]any{"storage": store, "key": "job"})
		if !held.OK || other.OK {
			t.Errorf("%s: the lock was given to both: %+v %+v", store, held, other)
		}
	}
	shown := call[[]byte](t, edges[0], "rpc.Config", nil)
	if text := string(shown); strings.Contains(text, "s3cret") || !strings.Contains(text, redis.Addr) {
		t.Errorf("rpc.Config shows the password, or no address: %s", text)
	}
}

// TestStartWithoutItsRedis: the refusal names the store, the address, the reason and the way out.
func TestStartWithoutItsRedis(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	path := filepath.Join(dir, "edge.yaml")
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	text := fmt.Sprintf("version: 1\nkv: {sessions: {driver: redis, redis: {addresses: [%q]}}}\n", addr)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := core.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = core.New(t.Context(), cfg, core.Options{ConfigPath: path, LogOutput: &testenv.Log{}})
	if !errors.Is(err, kv.ErrUnavailable) {
		t.Fatalf("the start: %v, want %v", err, kv.ErrUnavailable)
	}
	for _, part := range []string{`store "sessions"`, addr, "connection refused", "redis.wait"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal says %q, want %q in it", err, part)
		}
	}
}
