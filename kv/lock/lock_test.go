package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/lock"
	"github.com/edge-server/edge/kv/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// each runs a test on both kinds of Locks, and on one that two servers share.
func each(t *testing.T, test func(t *testing.T, l lock.Locks)) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		l := lock.NewMemory()
		t.Cleanup(l.Close)
		test(t, l)
	})
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		store, err := memory.New(kv.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close(context.Background()) })
		l, err := lock.NewShared(store)
		if err != nil {
			t.Fatal(err)
		}
		test(t, l)
	})
	t.Run("two servers on redis", func(t *testing.T) {
		t.Parallel()
		test(t, startFleet(t))
	})
}

const long = time.Minute

// take wants the lock, or wants it refused.
func take(t *testing.T, l lock.Locks, want bool, resource, id string, shared bool) int64 {
	t.Helper()
	token, err := l.Acquire(t.Context(), lock.Request{Resource: resource, ID: id, Shared: shared, TTL: long, Wait: time.Millisecond})
	if err != nil || (token != 0) != want {
		t.Fatalf("lock %s for %s (shared %v): token %d, %v, want granted: %v", resource, id, shared, token, err, want)
	}
	return token
}

func yes(t *testing.T, what string, want bool) func(bool, error) {
	return func(got bool, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Fatalf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
}

func TestWritersAndReaders(t *testing.T) {
	each(t, func(t *testing.T, l lock.Locks) {
		ctx := t.Context()
		yes(t, "nobody holds it", false)(l.Exists(ctx, "r", "*"))
		first := take(t, l, true, "r", "a", false)
		take(t, l, false, "r", "b", false)
		take(t, l, false, "r", "a", false) // not re-entrant
		take(t, l, false, "r", "b", true)
		take(t, l, true, "other", "b", false)
		yes(t, "a holds it", true)(l.Exists(ctx, "r", "a"))
		yes(t, "b does not", false)(l.Exists(ctx, "r", "b"))
		yes(t, "somebody does", true)(l.Exists(ctx, "r", "*"))
		yes(t, "b releases", false)(l.Release(ctx, "r", "b"))
		yes(t, "a releases", true)(l.Release(ctx, "r", "a"))
		yes(t, "a releases again", false)(l.Release(ctx, "r", "a"))

		take(t, l, true, "r", "a", true)
		take(t, l, true, "r", "b", true)
		take(t, l, true, "r", "b", true) // again
		take(t, l, false, "r", "c", false)
		take(t, l, false, "r", "a", false) // not the only reader
		yes(t, "b releases", true)(l.Release(ctx, "r", "b"))
		last := take(t, l, true, "r", "a", false) // the only one
		take(t, l, false, "r", "b", true)
		if last <= first {
			t.Errorf("token %d after %d", last, first)
		}
		yes(t, "force", true)(l.ForceRelease(ctx, "r"))
		yes(t, "force again", false)(l.ForceRelease(ctx, "r"))
		take(t, l, true, "r", "c", false)
	})
}

func TestTimeIsOver(t *testing.T) {
	each(t, func(t *testing.T, l lock.Locks) {
		ctx := t.Context()
		short := lock.Request{Resource: "r", ID: "a", TTL: 30 * time.Millisecond, Wait: time.Second}
		if token, err := l.Acquire(ctx, short); err != nil || token == 0 {
			t.Fatal(token, err)
		}
		next := short
		next.ID, next.TTL, next.Wait = "b", long, long
		if token, err := l.Acquire(ctx, next); err != nil || token == 0 {
			t.Fatalf("after the time of the first: %d, %v", token, err)
		}
		yes(t, "a has lost it", false)(l.Exists(ctx, "r", "a"))
		yes(t, "a moves its end", false)(l.UpdateTTL(ctx, "r", "a", long))
		yes(t, "b moves its end", true)(l.UpdateTTL(ctx, "r", "b", time.Millisecond))
		testenv.Eventually(t, "b has lost it", func() bool { held, err := l.Exists(ctx, "r", "*"); return err == nil && !held })
	})
}

// TestFairness: who waits longest is next, and a reader does not pass a writer that waits.
func TestFairness(t *testing.T) {
	each(t, func(t *testing.T, l lock.Locks) {
		ctx := t.Context()
		take(t, l, true, "r", "reader", true)
		order, places := make(chan string, 8), 0
		var wg sync.WaitGroup
		wait := func(id string, shared bool) {
			wg.Go(func() {
				token, err := l.Acquire(ctx, lock.Request{Resource: "r", ID: id, Shared: shared, TTL: long, Wait: long})
				if err != nil || token == 0 {
					t.Errorf("%s: %d, %v", id, token, err)
				}
				order <- id
				if _, err := l.Release(ctx, "r", id); err != nil {
					t.Error(err)
				}
			})
			places++
			testenv.Eventually(t, id+" has its place in the queue", func() bool {
				n, err := l.(interface {
					Waiting(context.Context, string) (int, error)
				}).Waiting(ctx, "r")
				return err == nil && n == places
			})
		}
		wait("writer 1", false)
		take(t, l, false, "r", "late reader", true)
		wait("writer 2", false)
		wait("writer 3", false)
		if _, err := l.Release(ctx, "r", "reader"); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for _, want := range []string{"writer 1", "writer 2", "writer 3"} {
			if got := <-order; got != want {
				t.Errorf("%s was next, want %s", got, want)
			}
		}
		take(t, l, true, "r", "late reader", true)
	})
}

// TestClientThatLeaves gets nothing, and does not hold up others.
func TestClientThatLeaves(t *testing.T) {
	each(t, func(t *testing.T, l lock.Locks) {
		take(t, l, true, "r", "a", false)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := l.Acquire(ctx, lock.Request{Resource: "r", ID: "gone", TTL: long, Wait: long})
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("the client that left: %v", err)
		}
		yes(t, "a releases", true)(l.Release(t.Context(), "r", "a"))
		yes(t, "the client that left holds it", false)(l.Exists(t.Context(), "r", "*"))
		take(t, l, true, "r", "b", false)
	})
}

// TestHammer: never two writers, never a writer beside a reader, and tokens grow.
func TestHammer(t *testing.T) {
	each(t, func(t *testing.T, l lock.Locks) {
		var writers, readers, last atomic.Int64
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range testenv.Count(40, 2000) {
					id, shared := fmt.Sprint(w), (w+i)%3 == 0
					token, err := l.Acquire(t.Context(), lock.Request{Resource: "r", ID: id, Shared: shared, TTL: long, Wait: long})
					if err != nil || token == 0 {
						t.Errorf("%s: %d, %v", id, token, err)
						return
					}
					if shared {
						readers.Add(1)
						if writers.Load() != 0 {
							t.Error("a reader beside a writer")
						}
						readers.Add(-1)
					} else {
						if writers.Add(1) != 1 || readers.Load() != 0 {
							t.Error("a writer is not alone")
						}
						if before := last.Swap(token); before >= token {
							t.Errorf("token %d after %d", token, before)
						}
						writers.Add(-1)
					}
					if ok, err := l.Release(t.Context(), "r", id); !ok || err != nil {
						t.Errorf("release: %v, %v", ok, err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestCloseEndsWaits(t *testing.T) {
	t.Parallel()
	l := lock.NewMemory()
	take(t, l, true, "r", "a", false)
	done := make(chan error, 1)
	go func() {
		_, err := l.Acquire(context.Background(), lock.Request{Resource: "r", ID: "b", TTL: long, Wait: long})
		done <- err
	}()
	testenv.Eventually(t, "it waits", func() bool { _, waiting := l.Stats(); return waiting == 1 })
	l.Close()
	l.Close()
	if err := <-done; !errors.Is(err, lock.ErrClosed) {
		t.Errorf("the wait ended with %v", err)
	}
	if _, err := l.Acquire(context.Background(), lock.Request{Resource: "r", ID: "b"}); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// TestNothingIsLeft after locks have ended.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	l := lock.NewMemory()
	defer l.Close()
	for i := range 1000 {
		take(t, l, true, fmt.Sprint(i), "a", i%2 == 0)
		take(t, l, false, fmt.Sprint(i), "b", false)
		yes(t, "release", true)(l.Release(t.Context(), fmt.Sprint(i), "a"))
	}
	if held, waiting := l.Stats(); held+waiting+l.Entries() != 0 {
		t.Errorf("%d held, %d waiting, %d entries", held, waiting, l.Entries())
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	l := lock.NewMemory()
	defer l.Close()
	s := lock.NewService(l)
	for _, c := range []struct {
		method string
		call   lock.Call
		ok     bool
		err    string
	}{
		{"Lock", lock.Call{Resource: "r", ID: "a"}, true, ""},
		{"Lock", lock.Call{Resource: "r", ID: "b", Wait: 10}, false, ""},
		{"LockRead", lock.Call{Resource: "r", ID: "b"}, false, ""},
		{"Exists", lock.Call{Resource: "r", ID: "*"}, true, ""},
		{"UpdateTTL", lock.Call{Resource: "r", ID: "a", TTL: 1e6}, true, ""},
		{"UpdateTTL", lock.Call{Resource: "r", ID: "b"}, false, ""},
		{"Release", lock.Call{Resource: "r", ID: "b"}, false, ""},
		{"Release", lock.Call{Resource: "r", ID: "a"}, true, ""},
		{"LockRead", lock.Call{Resource: "r", ID: "a", TTL: 1<<63 - 1}, true, ""},
		{"ForceRelease", lock.Call{Resource: "r"}, true, ""},
		{"Lock", lock.Call{Resource: "r"}, false, "empty ID is not allowed"},
		{"Exists", lock.Call{Resource: "r"}, false, "empty ID is not allowed"},
		{"Lock", lock.Call{Resource: "r", ID: "a", TTL: -1}, false, "ttl and wait are microseconds and must not be negative"},
		{"Lock", lock.Call{Resource: string(make([]byte, 5000)), ID: "a"}, false, "resource and id of a lock have at most 4096 bytes"},
	} {
		request, ok := s.NewRequest(c.method)
		if !ok {
			t.Fatalf("no method %s", c.method)
		}
		// Through protobuf, as PHP sends it.
		if err := request.(*lock.Call).ParseProto(c.call.AppendProto(nil)); err != nil || c.call.TTL >= 0 && *request.(*lock.Call) != c.call {
			t.Fatalf("%+v became %+v, %v", c.call, request, err)
		}
		answer, err := s.Call(t.Context(), c.method, request)
		if err != nil || c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s %+v: %v, want %s", c.method, c.call, err, c.err)
			}
			continue
		}
		if a := answer.(*lock.Answer); a.OK != c.ok || (a.Token != 0) != (c.ok && c.method[:4] == "Lock") {
			t.Errorf("%s %+v: %+v", c.method, c.call, a)
		}
	}
	if _, ok := s.NewRequest("Steal"); ok {
		t.Error("there is no method Steal")
	}
}

// FuzzMessages: what is read as a message is written and read as the same.
func FuzzMessages(f *testing.F) {
	f.Add((&lock.Call{Resource: "r", ID: "i", TTL: 5, Wait: -1}).AppendProto(nil))
	f.Add([]byte("\x08\x01\x10\x05"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c, again lock.Call
		if c.ParseProto(data) == nil {
			if err := again.ParseProto(c.AppendProto(nil)); err != nil || again != c {
				t.Fatalf("%+v became %+v, %v", c, again, err)
			}
		}
		var a, same lock.Answer
		if a.ParseProto(data) == nil {
			if err := same.ParseProto(a.AppendProto(nil)); err != nil || same != a {
				t.Fatalf("%+v became %+v, %v", a, same, err)
			}
		}
	})
}

// TestTokensNeverGoBack: not when the store loses its data, and not when locks that were in memory move to a store.
func TestTokensNeverGoBack(t *testing.T) {
	t.Parallel()
	store, err := memory.New(kv.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	shared, err := lock.NewShared(store)
	if err != nil {
		t.Fatal(err)
	}
	inMemory := lock.NewMemory()
	t.Cleanup(inMemory.Close)
	last := take(t, inMemory, true, "r", "a", false)
	for i := range 10 {
		if i%3 == 2 {
			if err := store.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		id := fmt.Sprint("holder ", i)
		token := take(t, shared, true, "r", id, false)
		if token <= last {
			t.Errorf("the token %d comes after %d", token, last)
		}
		last = token
		yes(t, "release", true)(shared.Release(t.Context(), "r", id))
	}
}

// TestAResourceWithoutAName is one like any other.
func TestAResourceWithoutAName(t *testing.T) {
	each(t, func(t *testing.T, l lock.Locks) {
		for range 3 {
			take(t, l, true, "", "a", false)
			take(t, l, true, "b", "a", false)
			take(t, l, false, "", "b", false)
			yes(t, "release", true)(l.Release(t.Context(), "", "a"))
			yes(t, "release", true)(l.Release(t.Context(), "b", "a"))
		}
	})
}

// TestAStoreThatEvictsKeepsNoLocks: a lock that is dropped to make room has two holders.
func TestAStoreThatEvictsKeepsNoLocks(t *testing.T) {
	t.Parallel()
	store, err := memory.New(kv.MemoryConfig{Mode: kv.ModeCache, MaxSize: bytesize.MiB})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	if _, err := lock.NewShared(store); err == nil || !strings.Contains(err.Error(), "drops keys") {
		t.Errorf("locks in a cache: %v", err)
	}
}
