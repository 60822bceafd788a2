package handover_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/handover"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/kv/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func newMemory(t *testing.T) *memory.Store {
	t.Helper()
	s, err := memory.New(kv.MemoryConfig{Mode: kv.ModeStore, MaxSize: 64 * bytesize.MiB})
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

// pair is one store of two processes.
type pair struct {
	older, newer         *handover.Store
	fromOlder, fromNewer *handover.Link
	driver               kv.Store // of older
}

func newPair(t *testing.T) *pair {
	t.Helper()
	path := filepath.Join(testenv.Dir(t), "link")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	a, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{driver: newMemory(t)}
	p.older = handover.New("s", p.driver)
	find := func(s func() *handover.Store) func(string) *handover.Store {
		return func(name string) *handover.Store {
			if name != "s" {
				return nil
			}
			return s()
		}
	}
	var newer atomic.Pointer[handover.Store]
	p.fromOlder = handover.NewLink(a, find(func() *handover.Store { return p.older }))
	p.fromNewer = handover.NewLink(b, find(newer.Load))
	p.newer = handover.Elsewhere("s", p.driver.Can(), p.fromNewer)
	newer.Store(p.newer)
	t.Cleanup(func() { p.fromOlder.Close(); p.fromNewer.Close() })
	return p
}

// TestConformance: who is far from the driver notices nothing.
func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("here", func(t *testing.T) {
		t.Parallel()
		kvtest.Run(t, func(t *testing.T) kv.Store { return newPair(t).older })
	})
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		kvtest.Run(t, func(t *testing.T) kv.Store {
			p := newPair(t)
			return &whole{p.newer, p.driver}
		})
	})
}

// whole is a store of another process that ends with its driver, and knows what that counts, as the suite expects of a store.
type whole struct {
	kv.Store
	driver kv.Store
}

func (w *whole) Close(ctx context.Context) error { return w.driver.Close(ctx) }
func (w *whole) Stats() kv.Stats                 { return w.driver.Stats() }
func (w *whole) Can() kv.Can                     { return w.driver.Can() }

// TestMove: callers of both processes count while the store moves, and nothing is lost.
func TestMove(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	ctx := t.Context()
	deadline := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	if err := p.older.Set(ctx, []kv.Item{{Key: "ttl", Value: []byte("v"), Expires: deadline}}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.older.ZAdd(ctx, "set", []kv.Ranked{{Member: "a", Score: 1}, {Member: "b", Score: 2}}); err != nil {
		t.Fatal(err)
	}
	var counted atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, s := range []*handover.Store{p.older, p.newer, p.older, p.newer} {
		wg.Go(func() { // ends when stop is closed
			for {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprint("n", i%2)
				var err error
				if i < 2 {
					_, err = s.Increment(ctx, key, 1, time.Time{})
				} else {
					err = s.Update(ctx, key, func(it kv.Item) (kv.Item, error) {
						n, _ := strconv.Atoi(string(it.Value))
						return kv.Item{Key: key, Value: strconv.AppendInt(nil, int64(n)+1, 10), Found: true}, nil
					})
				}
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				counted.Add(1)
			}
		})
	}
	testenv.Eventually(t, "all count", func() bool { return counted.Load() > 200 })
	next := newMemory(t)
	if err := p.older.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- errors.Join(handover.Write(ctx, w, p.driver), w.Close()) }() // ends when Read has read
	if err := handover.Read(ctx, r, next); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	r.Close()
	p.newer.Go(next)
	p.older.Leave(p.fromOlder)
	moved := counted.Load()
	testenv.Eventually(t, "all go on to count", func() bool { return counted.Load() > moved+200 })
	close(stop)
	wg.Wait()

	items := []kv.Item{{Key: "n0"}, {Key: "n1"}}
	if err := p.older.Get(ctx, items); err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, it := range items {
		n, _ := strconv.ParseInt(string(it.Value), 10, 64)
		sum += n
	}
	if sum != counted.Load() {
		t.Errorf("%d increments were acknowledged, %d are there", counted.Load(), sum)
	}
	kept := []kv.Item{{Key: "ttl"}}
	if err := next.TTL(ctx, kept); err != nil || !kept[0].Found || !kept[0].Expires.Equal(deadline) {
		t.Errorf("the key with a deadline: %+v, %v", kept, err)
	}
	if members, err := p.older.ZRange(ctx, "set", kv.Span{Start: 0, Stop: -1}); err != nil || len(members) != 2 {
		t.Errorf("the sorted set: %v, %v", members, err)
	}
}

// TestNobodyThere: what the other process has is unavailable when that has gone, and a call that waits for a move ends with its context.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.older.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.older.Get(ctx, []kv.Item{{Key: "k"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call of a store that moves: %v", err)
	}
	p.older.Go(p.driver)
	stranger := handover.Elsewhere("stranger", p.driver.Can(), p.fromNewer)
	if err := stranger.Get(t.Context(), []kv.Item{{Key: "k"}}); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a store that the other process has not: %v", err)
	}
	p.fromOlder.Close()
	if err := p.newer.Get(t.Context(), []kv.Item{{Key: "k"}}); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a process that has gone: %v", err)
	}
}
