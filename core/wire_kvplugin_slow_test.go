package core

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// TestHostileDriverIsAlone: while callers of a plugin that never comes back fill every slot there is, the stores beside it answer over
// other connections and over the same one, calls of the plugin end with its deadline, and it works again afterwards.
func TestHostileDriverIsAlone(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	module, err := os.ReadFile(testenv.CGuest(t, "wasmhost/testdata/kv.c"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "plugins-wasm", "spin.wasm"), module)
	edgeIn(t, dir, `
kv:
  hostile: {driver: wasm, plugin: spin}
  near:    {driver: memory}
plugins: {modules: {spin: {limits: {fuel: 50000000, wait: 200ms}}}}
rpc: {listen: "unix://`+dir+`/rpc.sock"}
`)
	type item struct {
		Storage string `json:"storage"`
		Key     string `json:"key"`
		Value   []byte `json:"value,omitempty"`
	}
	call := func(c *rpc.Client, method, storage, key string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var answer map[string]any
		return c.Call(ctx, "kv."+method, item{storage, key, []byte("v")}, &answer)
	}
	connect := func() *rpc.Client {
		c, err := rpc.Dial(t.Context(), "unix://"+dir+"/rpc.sock")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}

	const callers = 32
	var wg sync.WaitGroup
	var ended, neighbours atomic.Int64
	stop := make(chan struct{})
	for range callers {
		c := connect()
		wg.Go(func() {
			for {
				err := call(c, "Get", "hostile", "spin")
				if err == nil || !strings.Contains(err.Error(), "spin") {
					t.Errorf("a get that never comes back: %v", err)
				}
				ended.Add(1)
				// Its own connection goes on.
				if err := call(c, "Put", "near", "mine"); err != nil {
					t.Error(err)
				}
				neighbours.Add(1)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range testenv.Count(100, 5000) { // all of them while the plugin spins
		c := connect()
		if err := call(c, "Put", "near", fmt.Sprint("k", i)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	close(stop)
	wg.Wait()
	if ended.Load() < callers || neighbours.Load() != ended.Load() {
		t.Errorf("%d calls of the plugin ended, %d of the neighbours", ended.Load(), neighbours.Load())
	}
	testenv.Eventually(t, "the plugin works again", func() bool { return call(connect(), "Put", "hostile", "k") == nil })
}
