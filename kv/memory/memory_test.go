package memory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	kvtest.Suite{
		Open: func(t *testing.T) kv.Store { return open(t, 0) },
		OpenAt: func(t *testing.T, now func() time.Time) kv.Store {
			s, err := memory.New(kv.MemoryConfig{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}.Run(t)
}

// TestRefusesWhenFull: what is in stays, what does not fit is refused by name, and room that is given back can be used.
func TestRefusesWhenFull(t *testing.T) {
	t.Parallel()
	s := open(t, 10*bytesize.KiB)
	set(t, s, "big", strings.Repeat("x", 9000), time.Time{})

	err := s.Set(t.Context(), []kv.Item{{Key: "more", Value: make([]byte, 2000)}})
	if !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), `key "more" needs 2132 bytes`) || !strings.Contains(err.Error(), "10KiB") {
		t.Fatalf("Set beyond max_size: %v, want a refusal that names key and sizes", err)
	}
	if got := get(t, s, "big"); len(got) != 9000 {
		t.Errorf("the value that was there has %d bytes now", len(got))
	}
	if get(t, s, "more") != "" {
		t.Error("the refused value is there")
	}
	if err := s.Set(t.Context(), []kv.Item{{Key: "huge", Value: make([]byte, 11<<10)}}); !errors.Is(err, kv.ErrFull) {
		t.Errorf("Set of a value over max_size: %v, want %v", err, kv.ErrFull)
	}

	// The store is nearly full, yet replacing the value needs only the difference.
	set(t, s, "big", strings.Repeat("y", 9100), time.Time{})
	set(t, s, "big", "small", time.Time{})
	set(t, s, "more", strings.Repeat("x", 2000), time.Time{})

	if st := s.Stats(); st.Refused != 2 || st.Keys != 2 || st.MaxBytes != 10<<10 {
		t.Errorf("stats %+v, want 2 refused, 2 keys", st)
	}
}

// TestExpiredRoomComesBack without anybody touching the store.
func TestExpiredRoomComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, 10*bytesize.KiB)
		set(t, s, "old", strings.Repeat("x", 9000), time.Now().Add(100*time.Millisecond))
		time.Sleep(2200 * time.Millisecond)
		set(t, s, "new", strings.Repeat("x", 9000), time.Time{})
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestDeadlineIsExact: a key is there a millisecond before its deadline and gone at it; the memory comes back by itself.
func TestDeadlineIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, 0)
		end := time.Now().Add(1500 * time.Millisecond)
		for i := range 100 {
			set(t, s, fmt.Sprint("k", i), "value", end)
		}
		time.Sleep(1499 * time.Millisecond)
		if get(t, s, "k7") != "value" {
			t.Error("gone a millisecond early")
		}
		time.Sleep(time.Millisecond)
		if get(t, s, "k7") != "" {
			t.Error("there at its deadline")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Bytes != 0 || st.Keys != 0 || st.Expired != 100 {
			t.Errorf("after the sweep: %+v, want 0 bytes, 0 keys, 100 expired", st)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestBytesAddUp hammers a bounded store and looks at the counter: within the bound at any time, 0 when all is gone.
func TestBytesAddUp(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	s := open(t, limit)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 0))
			for range testenv.Count(5000, 200_000) {
				item := kv.Item{Key: fmt.Sprint("k", rng.IntN(200)), Value: make([]byte, rng.IntN(4000))}
				if rng.IntN(2) == 0 {
					item.Expires = time.Now().Add(time.Duration(rng.IntN(20)) * time.Millisecond)
				}
				var err error
				switch rng.IntN(10) {
				case 0:
					err = s.Delete(t.Context(), []kv.Item{item})
				case 1:
					err = s.Expire(t.Context(), []kv.Item{item})
				default:
					err = s.Set(t.Context(), []kv.Item{item})
				}
				if err != nil && !errors.Is(err, kv.ErrFull) {
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
	if st := s.Stats(); st.Refused == 0 || st.Expired == 0 {
		t.Errorf("the test did not reach the bound or no key expired: %+v", st)
	}
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Bytes != 0 || st.Keys != 0 {
		t.Errorf("after Clear: %+v, want nothing in use", st)
	}
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	s := open(t, 0)
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	s := open(t, 0)
	set(t, s, "key", "value", time.Now().Add(time.Hour))
	items := []kv.Item{{Key: "key"}}
	if n := testing.AllocsPerRun(1000, func() { _ = s.Get(context.Background(), items) }); n > 0 {
		t.Errorf("a get allocates %v times", n)
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, 0)
	items := []kv.Item{{Key: "cart:7"}}
	set(b, s, "cart:7", strings.Repeat("x", 256), time.Now().Add(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Get(context.Background(), items)
	}
}

func BenchmarkSet(b *testing.B) {
	for _, size := range []int{256, 16 << 10} {
		b.Run(bytesize.Size(size).String(), func(b *testing.B) {
			s := open(b, bytesize.GiB)
			items := []kv.Item{{Key: "cart:7", Value: make([]byte, size), Expires: time.Now().Add(time.Hour)}}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Set(context.Background(), items); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func open(t testing.TB, max bytesize.Size) *memory.Store {
	t.Helper()
	s, err := memory.New(kv.MemoryConfig{MaxSize: max})
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

func set(t testing.TB, s kv.Store, key, value string, expires time.Time) {
	t.Helper()
	if err := s.Set(t.Context(), []kv.Item{{Key: key, Value: []byte(value), Expires: expires}}); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s kv.Store, key string) string {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	return string(items[0].Value)
}

// TestUpdateIsOneStep: nothing gets between the look and the change, the bound holds, and an error changes nothing.
func TestUpdateIsOneStep(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, err := memory.New(kv.MemoryConfig{MaxSize: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if err := s.Update(ctx, "n", func(old kv.Item) (kv.Item, error) {
					n, _ := strconv.Atoi(string(old.Value))
					return kv.Item{Found: true, Value: strconv.AppendInt(nil, int64(n)+1, 10)}, nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	items := []kv.Item{{Key: "n"}}
	if err := s.Get(ctx, items); err != nil || string(items[0].Value) != "1600" {
		t.Errorf("after 1600 steps: %q, %v", items[0].Value, err)
	}

	refused := errors.New("no")
	if err := s.Update(ctx, "n", func(kv.Item) (kv.Item, error) { return kv.Item{}, refused }); !errors.Is(err, refused) {
		t.Errorf("error = %v", err)
	}
	if err := s.Update(ctx, "n", func(kv.Item) (kv.Item, error) {
		return kv.Item{Found: true, Value: make([]byte, 2000)}, nil
	}); !errors.Is(err, kv.ErrFull) {
		t.Errorf("a value that has no room: %v", err)
	}
	if err := s.Get(ctx, items); err != nil || string(items[0].Value) != "1600" {
		t.Errorf("what was refused has changed the key: %q, %v", items[0].Value, err)
	}
	if err := s.Update(ctx, "n", func(kv.Item) (kv.Item, error) { return kv.Item{}, nil }); err != nil {
		t.Error(err)
	}
	if err := s.Get(ctx, items); err != nil || items[0].Found || s.Stats().Bytes != 0 {
		t.Errorf("after the removal: %+v, %v, %d bytes", items[0], err, s.Stats().Bytes)
	}
	if kv.Version([]byte("a")) == kv.Version([]byte("b")) || kv.Version(nil) == 0 || kv.Version([]byte("a")) != kv.Version([]byte{'a'}) {
		t.Error("versions do not tell contents apart")
	}
}
