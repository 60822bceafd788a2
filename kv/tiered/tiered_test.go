package tiered_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/kv/tiered"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestConformance over a far tier that tells nothing, and over one that tells of changes.
func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		kvtest.Run(t, func(t *testing.T) kv.Store { return open(t, newMemory(t, kv.ModeStore), time.Minute) })
	})
	t.Run("watched", func(t *testing.T) {
		t.Parallel()
		kvtest.Run(t, func(t *testing.T) kv.Store {
			far := &loud{Store: newMemory(t, kv.ModeStore)}
			s := open(t, far, time.Minute)
			far.ready(t)
			return s
		})
	})
}

func newMemory(t *testing.T, mode string) *memory.Store {
	t.Helper()
	s, err := memory.New(kv.MemoryConfig{Mode: mode, MaxSize: 64 * bytesize.MiB})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, far kv.Store, ttl time.Duration) *tiered.Store {
	t.Helper()
	s := tiered.New(far, newMemory(t, kv.ModeCache), kv.LocalCache{MaxSize: 64 * bytesize.MiB, TTL: ttl})
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// loud is a far tier that several near ones watch, as servers share a Redis: what one writes the others hear a moment later.
type loud struct {
	kv.Store
	mu       sync.Mutex
	watchers []kv.Changes
	gets     atomic.Int64
}

func (l *loud) Watch(ctx context.Context, changes kv.Changes) error {
	l.mu.Lock()
	l.watchers = append(l.watchers, changes)
	changes.Ready()
	l.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (l *loud) each(tell func(kv.Changes)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.watchers {
		tell(w)
	}
}

func (l *loud) ready(t *testing.T) {
	testenv.Eventually(t, "somebody watches", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.watchers) > 0
	})
}

func (l *loud) Get(ctx context.Context, items []kv.Item) error {
	l.gets.Add(1)
	return l.Store.Get(ctx, items)
}

func (l *loud) Set(ctx context.Context, items []kv.Item) error {
	err := l.Store.Set(ctx, items)
	for _, it := range items {
		l.each(func(c kv.Changes) { c.Changed([]string{it.Key}) })
	}
	return err
}

// shared keeps the far tier open when one of its tiers closes.
type shared struct{ *loud }

func (shared) Close(context.Context) error { return nil }

func value(t *testing.T, s kv.Store, key string) string {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	return string(items[0].Value)
}

func put(t *testing.T, s kv.Store, key, value string, expires time.Time) {
	t.Helper()
	if err := s.Set(t.Context(), []kv.Item{{Key: key, Value: []byte(value), Expires: expires}}); err != nil {
		t.Fatal(err)
	}
}

// TestTwoServers: a read is answered nearby, and what the other server writes is seen.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	memory := newMemory(t, kv.ModeStore)
	far := &loud{Store: memory}
	defer memory.Close(context.Background())
	a, b := open(t, shared{far}, time.Hour), open(t, shared{far}, time.Hour)
	testenv.Eventually(t, "both watch", func() bool { far.mu.Lock(); defer far.mu.Unlock(); return len(far.watchers) == 2 })

	put(t, a, "k", "1", time.Time{})
	value(t, b, "k")
	before := far.gets.Load()
	for range 100 {
		if got := value(t, b, "k"); got != "1" {
			t.Fatalf("the value is %q", got)
		}
	}
	if n := far.gets.Load() - before; n != 0 {
		t.Errorf("the far tier was asked %d times for a value that is nearby", n)
	}
	put(t, a, "k", "2", time.Time{})
	if got := value(t, b, "k"); got != "2" {
		t.Errorf("after the other server wrote: %q", got)
	}
	if err := far.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	far.each(func(c kv.Changes) { c.Changed(nil) })
	if got := value(t, b, "k"); got != "" {
		t.Errorf("after the far tier was emptied: %q", got)
	}

	// While changes are not told nothing is copied.
	put(t, a, "k", "3", time.Time{})
	value(t, b, "k")
	far.each(func(c kv.Changes) { c.Lost() })
	if err := memory.Set(t.Context(), []kv.Item{{Key: "k", Value: []byte("4")}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4", "5"} {
		put(t, memory, "k", want, time.Time{})
		if got := value(t, b, "k"); got != want {
			t.Errorf("while changes are lost: %q, want %q", got, want)
		}
	}
	far.each(func(c kv.Changes) { c.Ready() })
	value(t, b, "k")
	before = far.gets.Load()
	if value(t, b, "k"); far.gets.Load() != before {
		t.Error("nothing is copied after the stream came back")
	}
}

// TestCopyEnds with its time to live, and with the key.
func TestCopyEnds(t *testing.T) {
	t.Parallel()
	memory := newMemory(t, kv.ModeStore)
	s := open(t, memory, 80*time.Millisecond)
	put(t, s, "k", "1", time.Time{})
	value(t, s, "k")
	put(t, memory, "k", "2", time.Time{}) // nobody tells
	testenv.Eventually(t, "the copy ended", func() bool { return value(t, s, "k") == "2" })

	long := open(t, newMemory(t, kv.ModeStore), time.Hour)
	end := time.Now().Add(80 * time.Millisecond)
	put(t, long, "k", "1", end)
	value(t, long, "k")
	testenv.Eventually(t, "the copy ended with its key", func() bool { return value(t, long, "k") == "" })
	if time.Now().Before(end) {
		t.Error("the key ended early")
	}
}

// TestNoStaleCopy: whatever the order of reads and writes, once all is quiet the copy is what is stored.
func TestNoStaleCopy(t *testing.T) {
	t.Parallel()
	memory := newMemory(t, kv.ModeStore)
	far := &loud{Store: memory}
	defer memory.Close(context.Background())
	a, b := open(t, shared{far}, time.Hour), open(t, shared{far}, time.Hour)
	testenv.Eventually(t, "both watch", func() bool { far.mu.Lock(); defer far.mu.Unlock(); return len(far.watchers) == 2 })
	for round := range testenv.Count(30, 500) {
		var wg sync.WaitGroup
		for w, s := range []kv.Store{a, b, a, b} {
			wg.Go(func() {
				for i := range 20 {
					items := []kv.Item{{Key: fmt.Sprint("k", i%3), Value: []byte(fmt.Sprint(round, w, i))}}
					var err error
					if w < 2 {
						err = s.Get(context.Background(), items)
					} else {
						err = s.Set(context.Background(), items)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for i := range 3 {
			key := fmt.Sprint("k", i)
			if want := value(t, memory, key); value(t, a, key) != want || value(t, b, key) != want {
				t.Fatalf("round %d: %s is %q, one server says %q, the other %q", round, key, want, value(t, a, key), value(t, b, key))
			}
		}
	}
}

// failing is a far tier whose server is away.
type failing struct{ kv.Store }

var errAway = fmt.Errorf("%w: no answer", kv.ErrUnavailable)

func (failing) Set(context.Context, []kv.Item) error { return errAway }

// TestFailedWriteForgets: a write that failed may have been done, so the copy is not believed any more.
func TestFailedWriteForgets(t *testing.T) {
	t.Parallel()
	far := newMemory(t, kv.ModeStore)
	s := open(t, failing{far}, time.Hour)
	put(t, far, "k", "1", time.Time{})
	value(t, s, "k")
	put(t, far, "k", "2", time.Time{})
	if err := s.Set(t.Context(), []kv.Item{{Key: "k", Value: []byte("2")}}); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("Set: %v", err)
	}
	if got := value(t, s, "k"); got != "2" {
		t.Errorf("after a write that failed the copy says %q", got)
	}
}

// TestFrontTellsOfCopies: the metrics of a store say what its copies answered.
func TestFrontTellsOfCopies(t *testing.T) {
	t.Parallel()
	far := newMemory(t, kv.ModeStore)
	front := kv.Wrap("main", open(t, far, time.Hour), kv.DefaultLimits())
	put(t, far, "k", "12345", time.Time{})
	for range 3 {
		if got := value(t, front, "k"); got != "12345" {
			t.Fatalf("the store says %q", got)
		}
	}
	if near := front.Metrics().Near; near == nil || near.Hits != 2 || near.Misses != 1 || near.Bytes < 6 {
		t.Errorf("one read of the driver and two of the copy: %+v", near)
	}
	if near := kv.Wrap("main", far, kv.DefaultLimits()).Metrics().Near; near != nil {
		t.Errorf("a store without copies says %+v of them", near)
	}
}

// TestHitDoesNotAllocate: what is nearby costs no more than a memory store.
func TestHitDoesNotAllocate(t *testing.T) {
	s := open(t, newMemory(t, kv.ModeStore), time.Hour)
	put(t, s, "k", "1", time.Time{})
	value(t, s, "k")
	items := []kv.Item{{Key: "k"}}
	if n := testing.AllocsPerRun(1000, func() { _ = s.Get(context.Background(), items) }); n > 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}
