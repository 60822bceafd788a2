package core_test

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestSoakSwapsAndReloads: load while a plugin is replaced and PHP reloaded again and again. No request may fail, and memory stays flat.
func TestSoakSwapsAndReloads(t *testing.T) {
	var dir string
	s := edgetest.Start(t, "http: {middleware: [swap], routes: [{php: app}]}\nplugins: {}"+phpApp(t, "app.php", ""), func(d string) {
		dir = d
		os.Mkdir(filepath.Join(d, "plugins-wasm"), 0o755)
		os.WriteFile(filepath.Join(d, "plugins-wasm", "swap.wasm"), headerGuest(t, "0"), 0o644)
	})
	m := s.Modes(t)[0]
	swaps, reloads := testenv.Count(4, 20), testenv.Count(2, 5)
	end := time.Now().Add(testenv.Duration(2*time.Second, 30*time.Second))
	guests := [][]byte{headerGuest(t, "even"), headerGuest(t, "odd")}

	before := heapInUse()
	traffic := startLoad(m, 16, "/version", ok)
	pause := testenv.Duration(0, 30*time.Second) / time.Duration(swaps)
	for i := range swaps {
		install(t, filepath.Join(dir, "plugins-wasm", "swap.wasm"), guests[i%2])
		want := []string{"even", "odd"}[i%2]
		testenv.Eventually(t, "the swapped plugin runs", func() bool {
			res, _ := m.Get(t, "/version")
			return res.Header.Get("X-Guest") == want
		})
		if i%(swaps/reloads) == 0 {
			if err := s.ReloadFile(t.Context()); err != nil {
				t.Errorf("reload: %v", err)
			}
		}
		time.Sleep(pause) // spreads the swaps over the time of the soak
	}
	for time.Now().Before(end) {
		time.Sleep(50 * time.Millisecond)
	}
	traffic.end(t)

	after := heapInUse()
	t.Logf("%d swaps, %d reloads, heap %d KiB before, %d KiB after", swaps, reloads, before>>10, after>>10)
	if limit := before + 32<<20; after > limit {
		t.Errorf("heap in use grew from %d to %d bytes", before, after)
	}
}

// TestSoakKilledWorkers: requests from 64 connections while workers are killed at random. Only requests that were inside a
// killed worker fail, with 502, and nothing hangs.
func TestSoakKilledWorkers(t *testing.T) {
	s := edgetest.Start(t, "http: {routes: [{php: app}]}"+phpApp(t, "app.php", ""))
	m := s.Modes(t)[0]
	m.Client.Timeout = time.Minute // a request that hangs fails the test
	total, kills := int64(testenv.Count(1000, 10_000)), 0

	var lost atomic.Int64
	traffic := startLoad(m, 64, "/pid", func(status int, _ string) bool {
		if status == http.StatusBadGateway {
			lost.Add(1)
			return true
		}
		return status == http.StatusOK
	})
	next := int64(0) // who kills faster than workers start ends all service
	for tick := time.NewTicker(20 * time.Millisecond); traffic.requests.Load() < total; <-tick.C {
		workers, now := s.Workers()[0].Workers, traffic.requests.Load()
		if now >= next && len(workers) > 0 && syscall.Kill(workers[rand.IntN(len(workers))].PID, syscall.SIGKILL) == nil {
			kills++
			next = now + 4
		}
	}
	traffic.end(t)
	t.Logf("%d workers killed, %d of %d requests lost with them", kills, lost.Load(), traffic.requests.Load())
	if kills == 0 || lost.Load() > int64(kills) {
		t.Errorf("%d requests answered 502 for %d kills: a worker holds one request", lost.Load(), kills)
	}
	testenv.Eventually(t, "the pool is whole again", func() bool { return len(s.Workers()[0].Workers) == 2 })
}

func heapInUse() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
