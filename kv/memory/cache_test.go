package memory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/memory"
)

func openCache(t testing.TB, max bytesize.Size) *memory.Store {
	t.Helper()
	s, err := memory.New(kv.MemoryConfig{MaxSize: max, Mode: kv.ModeCache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestCacheConformance: as long as nothing has to go, a cache is a store.
func TestCacheConformance(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, func(t *testing.T) kv.Store { return openCache(t, 64*bytesize.MiB) })
}

// TestCacheEvicts: a full cache takes every write, stays within its size, and keeps what is used.
func TestCacheEvicts(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	s := openCache(t, size)
	if !s.Can().Has(kv.CanEvict) {
		t.Error("the cache does not say that it evicts")
	}
	value := strings.Repeat("x", 900)
	for i := range 4000 {
		set(t, s, fmt.Sprint("k", i), value, time.Time{})
		if i%5 == 0 {
			set(t, s, "hot", "yes", time.Time{})
			get(t, s, "hot")
		}
	}
	testenv.Eventually(t, "the cache is within its size", func() bool { return s.Stats().Bytes <= size })
	st := s.Stats()
	if st.Evicted == 0 || st.Keys < 100 || st.Refused != 0 {
		t.Errorf("after the flood: %+v", st)
	}
	if get(t, s, "hot") != "yes" {
		t.Error("the key that was used all the time was evicted")
	}
	if err := s.Set(t.Context(), []kv.Item{{Key: "huge", Value: make([]byte, size+1)}}); !errors.Is(err, kv.ErrFull) {
		t.Errorf("a value larger than the cache: %v, want %v", err, kv.ErrFull)
	}
	keys := 0
	for cursor := ""; ; {
		page, next, err := s.Scan(t.Context(), "", cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		if keys += len(page); next == "" {
			break
		}
		cursor = next
	}
	if int64(keys) != s.Stats().Keys {
		t.Errorf("a scan gave %d keys, the cache has %d: the index is not that of the map", keys, s.Stats().Keys)
	}
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "all bytes are back", func() bool { return s.Stats().Bytes == 0 })
}

// TestSetsCount: the bytes of sorted sets are counted as they grow, shrink, expire, and are replaced, also in a hurry.
func TestSetsCount(t *testing.T) {
	t.Parallel()
	const limit = 128 << 10
	s := open(t, limit)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for range testenv.Count(4000, 100_000) {
				key, member := fmt.Sprint("z", rng.IntN(20)), fmt.Sprint("member ", rng.IntN(300))
				var err error
				switch rng.IntN(12) {
				case 0:
					err = s.Delete(t.Context(), []kv.Item{{Key: key}})
				case 1:
					err = s.Expire(t.Context(), []kv.Item{{Key: key, Expires: time.Now().Add(time.Duration(rng.IntN(10)) * time.Millisecond)}})
				case 2:
					err = s.Set(t.Context(), []kv.Item{{Key: key, Value: make([]byte, rng.IntN(500))}})
				case 3, 4:
					_, err = s.ZRemove(t.Context(), key, []string{member})
				case 5:
					_, err = s.ZRange(t.Context(), key, kv.Span{Start: 0, Stop: -1})
				default:
					_, err = s.ZAdd(t.Context(), key, []kv.Ranked{{Member: member, Score: rng.Float64()}})
				}
				if err != nil && !errors.Is(err, kv.ErrFull) && !errors.Is(err, kv.ErrKind) {
					t.Error(err)
				}
				if used := s.Stats().Bytes; used < 0 || used > limit {
					t.Errorf("%d bytes in use, limit %d", used, limit)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Bytes != 0 || st.Keys != 0 {
		t.Errorf("after Clear: %+v, want nothing in use", st)
	}
}

// TestManyKeys with deadlines: two goroutines in all, a bounded number of bytes an entry, and everything back after expiry. The
// full count is the bar of a million keys.
func TestManyKeys(t *testing.T) {
	count := testenv.Count(50_000, 1_000_000)
	before, goroutines := heap(), runtime.NumGoroutine()
	s, err := memory.New(kv.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	key := func(i int) string { return fmt.Sprintf("session:%08d", i) }
	value := make([]byte, 256)
	for i := range count {
		end := time.Now().Add(time.Hour + time.Duration(i)*time.Millisecond)
		if err := s.Set(t.Context(), []kv.Item{{Key: key(i), Value: value, Expires: end}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := runtime.NumGoroutine() - goroutines; n > 2 {
		t.Errorf("the store has %d goroutines", n)
	}
	full := heap()
	each := float64(full-before) / float64(count)
	t.Logf("%d keys: %.0f bytes an entry", count, each)
	if each > 600 {
		t.Errorf("%.0f bytes an entry, want at most 600", each)
	}
	for i := range count {
		end := time.Now().Add(time.Duration(100+i%1000) * time.Millisecond)
		if err := s.Expire(t.Context(), []kv.Item{{Key: key(i), Expires: end}}); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Eventually(t, "all keys expired", func() bool { st := s.Stats(); return st.Keys == 0 && st.Bytes == 0 })
	if after := heap(); after-before > (full-before)/10 {
		t.Errorf("of %d bytes %d are still there after all keys expired", full-before, after-before)
	}
	closeNow(t, s)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
