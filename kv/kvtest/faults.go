package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// Through is what a driver has to show while its server is in trouble.
type Through struct {
	Store kv.Store

	// Prompt is the longest that an operation may take, failed or not.
	Prompt time.Duration

	// Forgets says that the server loses what it held, since it is restarted.
	Forgets bool

	// Loses says that the server may lose the last writes that it acknowledged, since a replica takes its place.
	Loses bool
}

// worker is one client of Through and what it knows of the writes to its own key, by their numbers.
type worker struct {
	acknowledged int64          // the last
	unsure       map[int64]bool // those that ended in an error: a server that was stopped may do them much later
}

// mayHold reports whether the key may hold the write n.
func (w *worker) mayHold(n int64) bool { return n == w.acknowledged || w.unsure[n] }

// number takes a value of a worker apart.
func number(key string, value []byte) (n int64) {
	text, _, _ := strings.Cut(strings.TrimPrefix(string(value), key+"="), ";")
	n, _ = strconv.ParseInt(text, 10, 64)
	return n
}

// Run lets clients read, write and count while trouble runs, and looks at what they were told: every error is typed and prompt,
// a value belongs to the key that was asked for, and what was acknowledged is there afterwards, once.
func (x Through) Run(t *testing.T, trouble func()) {
	t.Helper()
	const clients = 8
	workers := make([]worker, clients)
	var counted, uncertain, failed, done atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range workers {
		w := &workers[i]
		w.unsure = map[int64]bool{}
		wg.Go(func() {
			for n := int64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ok := x.step(t, i, n, w)
				if x.check(t, "Increment", func(ctx context.Context) error {
					_, err := x.Store.Increment(ctx, "count", 1, time.Time{})
					return err
				}) {
					counted.Add(1)
				} else {
					uncertain.Add(1)
					ok = false
				}
				if done.Add(1); !ok {
					failed.Add(1)
				}
			}
		})
	}
	testenv.Eventually(t, "the clients are at work", func() bool { return counted.Load() > 10*clients })
	trouble()
	close(stop)
	wg.Wait()
	x.awaitSuccess(t)
	t.Logf("%d rounds, %d with an error; counted %d, unsure of %d", done.Load(), failed.Load(), counted.Load(), uncertain.Load())
	if counted.Load() == 0 {
		t.Error("nothing worked at all")
	}
	if x.Forgets || x.Loses {
		return
	}
	var n int64
	err := insist(func() (err error) {
		n, err = x.Store.Increment(t.Context(), "count", 0, time.Time{})
		return err
	})
	if err != nil || n < counted.Load() || n > counted.Load()+uncertain.Load() {
		t.Errorf("the counter is %d (%v); %d increments were acknowledged, %d ended in an error", n, err, counted.Load(), uncertain.Load())
	}
	for i := range workers {
		x.verify(t, i, &workers[i])
	}
}

// step writes the client's own key and reads its and another's.
func (x Through) step(t *testing.T, i int, n int64, w *worker) bool {
	own, other := fmt.Sprint("own", i), fmt.Sprint("own", (i+int(n))%8)
	value := []byte(fmt.Sprintf("%s=%d;%s", own, n, strings.Repeat(own, int(n%100))))
	ok := x.check(t, "Set", func(ctx context.Context) error { return x.Store.Set(ctx, []kv.Item{{Key: own, Value: value}}) })
	if ok {
		w.acknowledged = n
	} else {
		w.unsure[n] = true
	}
	items := []kv.Item{{Key: own}, {Key: other}, {Key: "never"}}
	if !x.check(t, "Get", func(ctx context.Context) error { return x.Store.Get(ctx, items) }) {
		return false
	}
	for _, it := range items {
		if v := string(it.Value); it.Found && !strings.HasPrefix(v, it.Key+"=") {
			t.Errorf("key %s holds %.40q", it.Key, v)
		}
	}
	if got := number(own, items[0].Value); w.acknowledged > 0 && !w.mayHold(got) && !x.Forgets && !x.Loses {
		t.Errorf("key %s holds %.40q after %d was acknowledged", own, items[0].Value, w.acknowledged)
	}
	return ok
}

// check runs an operation and looks at its error and its time.
func (x Through) check(t *testing.T, op string, run func(ctx context.Context) error) bool {
	began := time.Now()
	err := run(context.Background())
	if took := time.Since(began); took > x.Prompt {
		t.Errorf("%s took %s, want %s at most (%v)", op, took, x.Prompt, err)
	}
	if err != nil && !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("%s: %v, want it done or %v", op, err, kv.ErrUnavailable)
	}
	return err == nil
}

// verify reads a client's key: it holds the last value that was acknowledged, or one that nobody is sure of.
func (x Through) verify(t *testing.T, i int, w *worker) {
	items := []kv.Item{{Key: fmt.Sprint("own", i)}}
	if err := insist(func() error { return x.Store.Get(t.Context(), items) }); err != nil {
		t.Fatal(err)
	}
	if n := number(items[0].Key, items[0].Value); !w.mayHold(n) {
		t.Errorf("key %s holds number %d; %d was acknowledged last", items[0].Key, n, w.acknowledged)
	}
}

// awaitSuccess waits until a write works, on whatever server the key is.
func (x Through) awaitSuccess(t *testing.T) {
	t.Helper()
	err := insist(func() error {
		items := make([]kv.Item, 32)
		for i := range items {
			items[i] = kv.Item{Key: fmt.Sprint("alive", i), Value: []byte("1")}
		}
		return x.Store.Set(t.Context(), items)
	})
	if err != nil {
		t.Fatalf("the store does not recover: %v", err)
	}
}

// insist tries until it works: stores with short timeouts fail on busy machines, too.
func insist(try func() error) (err error) {
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = try(); err == nil || !errors.Is(err, kv.ErrUnavailable) {
			return err
		}
	}
	return err
}
