package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/kv"
)

var opCases = []testCase{
	{"what the driver cannot do it says", testUnsupported},
	{"a value of 1 MB", testLargeValue},
	{"binary and oversize keys", testHardKeys},
	{"an operation ends with its context", testCancelled},
	{"add", testAdd},
	{"add has one winner", testAddRace},
	{"update", testUpdate},
	{"increment", testIncrement},
	{"increments add up", testIncrementRace},
	{"scan", testScan},
	{"scan while keys come and go", testScanWhileWriting},
	{"counters are linearizable", testLinearCounter},
	{"conditional writes are linearizable", testLinearSwap},
}

func (f *fixture) needs(can kv.Can) bool { return f.Can().Has(can) }

func testUnsupported(t *testing.T, f *fixture) {
	items := []kv.Item{{Key: "a", Value: []byte("1")}}
	for _, op := range []struct {
		name  string
		needs kv.Can
		run   func() error
	}{
		{"Update", kv.CanUpdate, func() error {
			return f.Update(f.ctx(), "a", func(old kv.Item) (kv.Item, error) { return old, nil })
		}},
		{"Add", kv.CanAdd, func() error { return f.Add(f.ctx(), items) }},
		{"Increment", kv.CanIncrement, func() error { _, err := f.Increment(f.ctx(), "n", 1, time.Time{}); return err }},
		{"Scan", kv.CanScan, func() error { _, _, err := f.Scan(f.ctx(), "", "", 10); return err }},
		{"ZAdd", kv.CanSorted, func() error { _, err := f.ZAdd(f.ctx(), "z", []kv.Ranked{{Member: "m", Score: 1}}); return err }},
		{"ZIncrement", kv.CanSorted, func() error { _, err := f.ZIncrement(f.ctx(), "z", "m", 1); return err }},
		{"ZRemove", kv.CanSorted, func() error { _, err := f.ZRemove(f.ctx(), "z", []string{"m"}); return err }},
		{"ZRange", kv.CanSorted, func() error { _, err := f.ZRange(f.ctx(), "z", kv.Span{}); return err }},
		{"ZRank", kv.CanSorted, func() error { _, _, err := f.ZRank(f.ctx(), "z", "m", false); return err }},
		{"ZScore", kv.CanSorted, func() error { _, _, err := f.ZScore(f.ctx(), "z", "m"); return err }},
		{"ZCard", kv.CanSorted, func() error { _, err := f.ZCard(f.ctx(), "z"); return err }},
		{"TTL", kv.CanTTL, func() error { return f.TTL(f.ctx(), items) }},
	} {
		if err := op.run(); f.needs(op.needs) != (err == nil) || err != nil && !errors.Is(err, kv.ErrUnsupported) {
			t.Errorf("%s: %v; the driver says %q", op.name, err, f.Can())
		}
	}
	if f.Stats().Driver == "" {
		t.Error("Stats names no driver")
	}
}

func testLargeValue(_ *testing.T, f *fixture) {
	value := strings.Repeat("0123456789abcde\n", (1<<20-1024)/16) // memcached counts the key and its own words in its 1 MB
	f.set("large", value, time.Time{})
	f.want("large", value)
	f.set("large", "small", time.Time{})
	f.want("large", "small")
}

// testHardKeys: what a driver cannot store under its name it stores under another, or refuses; it never takes one for another.
func testHardKeys(t *testing.T, f *fixture) {
	keys := []string{"\x00\x01\xff\xfe", "\r\nset x 0 0 1\r\nx", "a b", strings.Repeat("k", 250), strings.Repeat("k", 251), strings.Repeat("k", 4096)}
	for i, key := range keys {
		f.set(key, fmt.Sprint("value ", i), time.Time{})
	}
	for i, key := range keys {
		f.want(key, fmt.Sprint("value ", i))
	}
	huge := strings.Repeat("k", 1<<20)
	if err := f.Set(f.ctx(), []kv.Item{{Key: huge, Value: []byte("1")}}); err == nil {
		f.want(huge, "1")
	} else if !errors.Is(err, kv.ErrLimit) {
		t.Errorf("Set of a key of 1 MiB: %.200v, want it stored or %v", err, kv.ErrLimit)
	}
	f.want(keys[3], "value 3")
}

func testCancelled(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx())
	cancel()
	for name, err := range map[string]error{
		"Get": f.Get(ctx, []kv.Item{{Key: "a"}}),
		"Set": f.Set(ctx, []kv.Item{{Key: "a", Value: []byte("1")}}),
	} {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that is over: %v, want it done or %v", name, err, context.Canceled)
		}
	}
	f.set("b", "1", time.Time{}) // the store lives
	f.want("b", "1")
}

func testAdd(t *testing.T, f *fixture) {
	if !f.needs(kv.CanAdd) {
		return
	}
	f.set("there", "old", time.Time{})
	items := []kv.Item{{Key: "there", Value: []byte("new")}, {Key: "fresh", Value: []byte("new"), Found: true}, {Key: "fresh", Value: []byte("later")}}
	f.do(f.Add(f.ctx(), items))
	if !items[0].Found || items[1].Found || !items[2].Found {
		t.Errorf("Add found %v %v %v, want true false true", items[0].Found, items[1].Found, items[2].Found)
	}
	f.want("there", "old")
	f.want("fresh", "new")

	f.do(f.Add(f.ctx(), []kv.Item{{Key: "over", Value: []byte("1"), Expires: time.Now().Add(-time.Hour)}}))
	f.wantMissing("over")

	f.do(f.Add(f.ctx(), []kv.Item{{Key: "short", Value: []byte("1"), Expires: time.Now().Add(50 * time.Millisecond)}}))
	f.until(func() bool { return !f.has("short") })
	items = []kv.Item{{Key: "short", Value: []byte("2")}}
	f.do(f.Add(f.ctx(), items))
	if items[0].Found {
		t.Error("a key that expired is said to be there")
	}
	f.want("short", "2")
}

func testAddRace(t *testing.T, f *fixture) {
	if !f.needs(kv.CanAdd) {
		return
	}
	for round := range 10 {
		key := fmt.Sprint("key", round)
		var won atomic.Int32
		var winner atomic.Value
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				items := []kv.Item{{Key: key, Value: []byte(fmt.Sprint("writer ", w))}}
				if err := f.Add(f.ctx(), items); err != nil {
					t.Errorf("Add: %v", err)
				} else if !items[0].Found {
					won.Add(1)
					winner.Store(string(items[0].Value))
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d writers were told that they added the key", won.Load())
		}
		f.want(key, winner.Load().(string))
	}
}

func testUpdate(t *testing.T, f *fixture) {
	if !f.needs(kv.CanUpdate) {
		return
	}
	update := func(key string, change func(kv.Item) (kv.Item, error)) error { return f.Update(f.ctx(), key, change) }
	to := func(value string, expires time.Time) func(kv.Item) (kv.Item, error) {
		return func(kv.Item) (kv.Item, error) {
			return kv.Item{Value: []byte(value), Expires: expires, Found: true}, nil
		}
	}
	f.do(update("a", func(old kv.Item) (kv.Item, error) {
		if old.Found || old.Value != nil {
			t.Errorf("a key that is not there is %+v", old)
		}
		return kv.Item{Value: []byte("1"), Found: true}, nil
	}))
	f.want("a", "1")

	far := time.Now().Add(time.Hour)
	f.do(update("a", to("2", far)))
	f.do(update("a", func(old kv.Item) (kv.Item, error) {
		if string(old.Value) != "2" || !old.Found {
			t.Errorf("the key is %+v", old)
		}
		if f.needs(kv.CanTTL) && old.Expires.Sub(far).Abs() > 30*time.Second+f.precision {
			t.Errorf("its deadline is %v, want %v", old.Expires, far)
		}
		old.Value = []byte("3")
		return old, nil
	}))
	f.want("a", "3")

	failed := errors.New("not this time")
	if err := update("a", func(kv.Item) (kv.Item, error) { return kv.Item{}, failed }); !errors.Is(err, failed) {
		t.Errorf("Update: %v, want the error of change", err)
	}
	f.want("a", "3")
	f.do(update("a", to("4", time.Now().Add(-time.Minute))))
	f.wantMissing("a")
	f.do(update("a", func(kv.Item) (kv.Item, error) { return kv.Item{}, nil }))
	f.wantMissing("a")
	f.do(update("b", to("", time.Time{})))
	f.want("b", "")
	f.do(update("b", func(kv.Item) (kv.Item, error) { return kv.Item{}, nil }))
	f.wantMissing("b")
	f.do(update("c", to("1", time.Now().Add(80*time.Millisecond))))
	f.until(func() bool { return !f.has("c") })
}

func testIncrement(t *testing.T, f *fixture) {
	if !f.needs(kv.CanIncrement) {
		return
	}
	want := func(key string, delta, want int64, expires time.Time) {
		t.Helper()
		if n, err := f.Increment(f.ctx(), key, delta, expires); err != nil || n != want {
			t.Errorf("Increment of %s by %d: %d %v, want %d", key, delta, n, err, want)
		}
	}
	want("n", 5, 5, time.Time{})
	want("n", -7, -2, time.Time{})
	want("n", 0, -2, time.Time{})
	f.want("n", "-2")
	want("zero", 0, 0, time.Time{})
	f.want("zero", "0")
	f.set("text", "41", time.Time{})
	want("text", 1, 42, time.Time{})

	f.set("max", strconv.FormatInt(math.MaxInt64-1, 10), time.Time{})
	want("max", 1, math.MaxInt64, time.Time{})
	for _, bad := range []struct {
		key   string
		delta int64
	}{{"max", 1}, {"word", 1}, {"word", 0}} {
		f.set("word", "forty", time.Time{})
		if _, err := f.Increment(f.ctx(), bad.key, bad.delta, time.Time{}); !errors.Is(err, kv.ErrNumber) {
			t.Errorf("Increment of %s: %v, want %v", bad.key, err, kv.ErrNumber)
		}
	}
	f.want("max", strconv.FormatInt(math.MaxInt64, 10))
	f.want("word", "forty")

	f.inTime(100*time.Millisecond, func(end time.Time) (wrong string) {
		f.do(f.Delete(f.ctx(), []kv.Item{{Key: "timed"}}))
		want("timed", 1, 1, end) // the deadline is for the key it makes
		n, err := f.Increment(f.ctx(), "timed", 1, time.Time{})
		if err != nil || n != 2 {
			return fmt.Sprintf("Increment of a key with a deadline: %d %v, want 2", n, err)
		}
		return ""
	})
	f.until(func() bool { return !f.has("timed") })
	want("timed", 1, 1, time.Time{})
	want("gone", 3, 3, time.Now().Add(-time.Minute))
	f.wantMissing("gone")
}

func testIncrementRace(t *testing.T, f *fixture) {
	if !f.needs(kv.CanIncrement) {
		return
	}
	const writers, rounds = 8, 50
	var wg sync.WaitGroup
	seen := make([]map[int64]bool, writers)
	for w := range writers {
		seen[w] = map[int64]bool{}
		wg.Go(func() {
			for range rounds {
				n, err := f.Increment(f.ctx(), "n", 1, time.Time{})
				if err != nil {
					t.Errorf("Increment: %v", err)
					return
				}
				seen[w][n] = true
			}
		})
	}
	wg.Wait()
	f.want("n", strconv.Itoa(writers*rounds))
	all := map[int64]bool{}
	for _, s := range seen {
		for n := range s {
			all[n] = true
		}
	}
	if len(all) != writers*rounds {
		t.Errorf("%d different numbers were given out, want %d", len(all), writers*rounds)
	}
}

// scanAll returns the keys of a whole scan.
func (f *fixture) scanAll(prefix string, limit int) (keys []string) {
	f.t.Helper()
	for cursor, pages := "", 0; ; pages++ {
		page, next, err := f.Scan(f.ctx(), prefix, cursor, limit)
		f.do(err)
		if keys = append(keys, page...); next == "" {
			return keys
		}
		if cursor = next; pages > 100_000 {
			f.t.Fatal("the scan does not end")
		}
	}
}

func testScan(t *testing.T, f *fixture) {
	if !f.needs(kv.CanScan) {
		return
	}
	var want []string
	items := []kv.Item{}
	for i := range 300 {
		key := fmt.Sprintf("user:%03d", i)
		want = append(want, key)
		items = append(items, kv.Item{Key: key, Value: []byte("1")})
	}
	odd := []string{"user*", "user?x", "user[a]", "USER:1", "use", "\xff\xff", "\x00", "with:colon:1"}
	for _, key := range odd {
		items = append(items, kv.Item{Key: key, Value: []byte("1")})
	}
	f.do(f.Set(f.ctx(), items))
	f.do(f.Set(f.ctx(), []kv.Item{{Key: "user:over", Value: []byte("1"), Expires: time.Now().Add(30 * time.Millisecond)}}))
	f.until(func() bool { return !f.has("user:over") })
	for _, limit := range []int{1, 7, 1000} {
		got := f.scanAll("user:", limit)
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("a scan with pages of %d gave %d keys, want %d", limit, len(got), len(want))
		}
	}
	if got := slices.Compact(slices.Sorted(slices.Values(f.scanAll("", 50)))); len(got) != len(items) {
		t.Errorf("a scan of all gave %d keys, want %d", len(got), len(items))
	}
	for _, key := range odd {
		if got := f.scanAll(key, 10); !slices.Contains(got, key) {
			t.Errorf("a scan of %q gave %.3q, want that key among them", key, got)
		}
	}
	if got := f.scanAll("user*", 10); len(slices.Compact(slices.Sorted(slices.Values(got)))) != 1 {
		t.Errorf("a scan of %q gave %.5q: a prefix is no pattern", "user*", got)
	}
	if _, _, err := f.Scan(f.ctx(), "", "not a cursor of this store", 10); err == nil {
		t.Log("a foreign cursor is taken") // drivers may be generous
	}
}

// testScanWhileWriting: keys that are there all the time come in every scan.
func testScanWhileWriting(t *testing.T, f *fixture) {
	if !f.needs(kv.CanScan) {
		return
	}
	for i := range 100 {
		f.set(fmt.Sprint("stay", i), "1", time.Time{})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			item := []kv.Item{{Key: fmt.Sprint("come", i%200), Value: []byte("1")}}
			err := f.Set(f.ctx(), item)
			if i%2 == 1 {
				err = errors.Join(err, f.Delete(f.ctx(), item))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5 {
		got := map[string]bool{}
		for _, key := range f.scanAll("stay", 9) {
			got[key] = true
		}
		if len(got) != 100 {
			t.Errorf("%d of 100 keys that were there came", len(got))
		}
	}
	close(stop)
	wg.Wait()
}
