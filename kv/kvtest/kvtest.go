// Package kvtest is the suite that every driver of kv.Store passes.
//
//	func TestStore(t *testing.T) {
//		kvtest.Run(t, func(t *testing.T) kv.Store { … })
//	}
//
// open returns an empty store of its own for each test; the suite closes it. What a driver cannot do by its Can is asked to be
// refused. A driver that is coarser than a millisecond, or keeps only short values, says so with a Suite of its own.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/kv"
)

// deadline is how long the suite waits for what must happen; machines are slow at times.
const deadline = time.Minute

// Suite is the suite with what it has to know of a driver.
type Suite struct {
	// Open returns an empty store.
	Open func(t *testing.T) kv.Store

	// Precision is how much later than its deadline a key may go, when that is not far away. Default: the deadlines of the suite are met.
	Precision time.Duration

	// Furthest is the last deadline that the driver knows: one after it means for ever. Default: it knows all.
	Furthest time.Time

	// OpenAt returns a store that takes the time from now, for drivers that have a clock of their own. Nil: they have not.
	OpenAt func(t *testing.T, now func() time.Time) kv.Store

	// Serial runs one test at a time, for drivers whose stores share something small.
	Serial bool
}

// Run runs the suite over stores that open returns.
func Run(t *testing.T, open func(t *testing.T) kv.Store) {
	t.Helper()
	Suite{Open: open}.Run(t)
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	for _, c := range slices.Concat(cases, opCases, sortedCases, frontCases) {
		t.Run(c.name, func(t *testing.T) {
			if !s.Serial {
				t.Parallel()
			}
			store := s.Open(t)
			t.Cleanup(func() { closeStore(t, store) })
			c.run(t, &fixture{t: t, Store: store, precision: s.Precision, furthest: s.Furthest})
		})
	}
	if s.OpenAt != nil {
		t.Run("clock steps", func(t *testing.T) { testClockSteps(t, s) })
	}
}

type testCase struct {
	name string
	run  func(*testing.T, *fixture)
}

var cases = []testCase{
	{"what was set can be got", testSetGet},
	{"a batch keeps its order and names what is missing", testBatch},
	{"the last value wins", testOverwrite},
	{"empty, binary and large values", testValues},
	{"odd keys", testKeys},
	{"delete", testDelete},
	{"clear", testClear},
	{"ttl", testTTL},
	{"a key ends at its deadline", testExpires},
	{"a set replaces the deadline", testSetReplacesDeadline},
	{"a deadline in the past removes", testPastDeadline},
	{"expire moves the deadline and keeps the value", testExpire},
	{"expire with a past time removes", testExpirePast},
	{"expire with the zero time keeps for ever", testPersist},
	{"deadlines far away", testFarDeadline},
	{"the caller's memory is its own", testOwnership},
	{"values that were got do not change", testStableValues},
	{"concurrent writers", testConcurrent},
	{"a closed store says so", testClosed},
}

func testSetGet(t *testing.T, f *fixture) {
	f.set("a", "1", time.Time{})
	f.want("a", "1")
	f.wantMissing("b")
}

func testBatch(t *testing.T, f *fixture) {
	f.do(f.Set(f.ctx(), []kv.Item{{Key: "a", Value: []byte("1")}, {Key: "c", Value: []byte("3")}}))
	items := []kv.Item{{Key: "c"}, {Key: "b"}, {Key: "a"}, {Key: "c"}}
	f.do(f.Get(f.ctx(), items))
	got := ""
	for _, it := range items {
		got += fmt.Sprintf("%s=%s,%v ", it.Key, it.Value, it.Found)
	}
	if want := "c=3,true b=,false a=1,true c=3,true "; got != want {
		t.Errorf("Get filled in %q, want %q", got, want)
	}

	items = []kv.Item{{Key: "b", Found: true}, {Key: "a"}}
	f.do(f.Has(f.ctx(), items))
	if items[0].Found || !items[1].Found {
		t.Errorf("Has said b=%v a=%v, want false and true", items[0].Found, items[1].Found)
	}
	f.do(f.Get(f.ctx(), nil))
	f.do(f.Set(f.ctx(), nil))
}

func testOverwrite(t *testing.T, f *fixture) {
	f.do(f.Set(f.ctx(), []kv.Item{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}))
	f.want("a", "2")
	f.set("a", "a longer value than before", time.Time{})
	f.want("a", "a longer value than before")
}

func testValues(t *testing.T, f *fixture) {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	for name, v := range map[string]string{
		"empty": "", "nul": "\x00", "binary": string(binary), "newlines": "\r\n\r\n", "large": strings.Repeat("0123456789abcdef", 1<<16),
	} {
		f.set(name, v, time.Time{})
		f.want(name, v)
	}
}

func testKeys(t *testing.T, f *fixture) {
	keys := []string{"with space", "a/b?c=d", "ключ", "emoji 🗝", "new\nline", "nul\x00byte", "*", "a", "A", strings.Repeat("k", 1000)}
	for i, k := range keys {
		f.set(k, fmt.Sprint(i), time.Time{})
	}
	for i, k := range keys {
		f.want(k, fmt.Sprint(i))
	}
}

func testDelete(t *testing.T, f *fixture) {
	f.set("a", "1", time.Time{})
	f.set("b", "2", time.Time{})
	f.do(f.Delete(f.ctx(), []kv.Item{{Key: "a"}, {Key: "never existed"}}))
	f.wantMissing("a")
	f.want("b", "2")
}

func testClear(t *testing.T, f *fixture) {
	for i := range 500 {
		f.set(fmt.Sprint("k", i), "v", time.Time{})
	}
	f.do(f.Clear(f.ctx()))
	for i := range 500 {
		f.wantMissing(fmt.Sprint("k", i))
	}
	f.set("k1", "again", time.Time{})
	f.want("k1", "again")
}

func testTTL(t *testing.T, f *fixture) {
	if !f.Can().Has(kv.CanTTL) {
		if err := f.TTL(f.ctx(), []kv.Item{{Key: "a"}}); !errors.Is(err, kv.ErrUnsupported) {
			t.Errorf("TTL without CanTTL: %v, want %v", err, kv.ErrUnsupported)
		}
		return
	}
	end := time.Now().Add(time.Hour)
	f.set("timed", "1", end)
	f.set("endless", "1", time.Time{})
	items := []kv.Item{{Key: "timed"}, {Key: "endless", Expires: end}, {Key: "missing"}}
	began := time.Now()
	f.do(f.TTL(f.ctx(), items))
	took := time.Since(began) // servers say how long a key has, which is a while ago when the answer is there
	if !items[0].Found || !items[1].Found || items[2].Found {
		t.Fatalf("TTL found %v %v %v, want true true false", items[0].Found, items[1].Found, items[2].Found)
	}
	if off := items[0].Expires.Sub(end).Abs(); off > 10*time.Millisecond+f.precision+took {
		t.Errorf("TTL of timed is %v, want %v", items[0].Expires, end)
	}
	if !items[1].Expires.IsZero() {
		t.Errorf("TTL of endless is %v, want the zero time", items[1].Expires)
	}
}

func testExpires(t *testing.T, f *fixture) {
	end := time.Now().Add(150 * time.Millisecond)
	f.set("a", "1", end)
	f.set("b", "2", time.Time{})
	for f.has("a") {
		if time.Since(end) > deadline {
			t.Fatal("the key is there long after its deadline")
		}
		time.Sleep(time.Millisecond)
	}
	if early := time.Until(end); early > 0 {
		t.Errorf("the key went %v before its deadline", early)
	}
	f.wantMissing("a")
	f.want("b", "2")

	f.set("a", "again", time.Time{})
	f.want("a", "again")
}

func testSetReplacesDeadline(t *testing.T, f *fixture) {
	f.set("a", "1", time.Now().Add(60*time.Millisecond))
	f.set("a", "2", time.Time{})
	f.set("b", "1", time.Time{})
	f.set("b", "2", time.Now().Add(50*time.Millisecond))
	f.until(func() bool { return !f.has("b") })
	time.Sleep(30*time.Millisecond + f.precision) // the first deadline of a is over now
	f.want("a", "2")
}

func testPastDeadline(t *testing.T, f *fixture) {
	for _, past := range []time.Time{time.Now().Add(-time.Second), time.Unix(1, 0), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)} {
		f.set("a", "1", time.Time{})
		f.set("a", "2", past)
		f.wantMissing("a")
		f.set("never", "1", past)
		f.wantMissing("never")
	}
	// Deadlines that end while they are written must not make a key that lives for ever.
	for i := range 200 {
		f.set(fmt.Sprint("close", i), "1", time.Now().Add(time.Duration(i)*10*time.Microsecond))
	}
	f.until(func() bool {
		for i := range 200 {
			if f.has(fmt.Sprint("close", i)) {
				return false
			}
		}
		return true
	})
}

func testExpire(t *testing.T, f *fixture) {
	f.set("a", "1", time.Time{})
	far := time.Now().Add(time.Hour)
	var first time.Time
	f.inTime(100*time.Millisecond, func(end time.Time) (wrong string) {
		first = end
		f.set("b", "2", end)
		items := []kv.Item{{Key: "a", Expires: far}, {Key: "b", Expires: far}, {Key: "missing", Expires: far}}
		f.do(f.Expire(f.ctx(), items))
		if !items[0].Found || !items[1].Found || items[2].Found {
			return fmt.Sprintf("Expire found %v %v %v, want true true false", items[0].Found, items[1].Found, items[2].Found)
		}
		return ""
	})
	f.wantMissing("missing")
	f.want("a", "1")

	f.inTime(120*time.Millisecond, func(end time.Time) (wrong string) {
		f.set("a", "1", far)
		f.do(f.Expire(f.ctx(), []kv.Item{{Key: "a", Expires: end}}))
		if !f.has("a") {
			return "a key is gone before the deadline that Expire set"
		}
		return ""
	})
	f.until(func() bool { return !f.has("a") && time.Now().After(first) })
	f.want("b", "2")
}

func testExpirePast(t *testing.T, f *fixture) {
	f.set("a", "1", time.Time{})
	f.do(f.Expire(f.ctx(), []kv.Item{{Key: "a", Expires: time.Now().Add(-time.Minute)}}))
	f.wantMissing("a")
}

func testPersist(t *testing.T, f *fixture) {
	f.inTime(100*time.Millisecond, func(end time.Time) (wrong string) {
		f.set("a", "1", end)
		f.set("b", "1", end)
		f.do(f.Expire(f.ctx(), []kv.Item{{Key: "a"}}))
		if !f.has("a") {
			return "a key whose deadline was taken away is gone before it"
		}
		return ""
	})
	f.until(func() bool { return !f.has("b") })
	f.want("a", "1")
}

func testFarDeadline(t *testing.T, f *fixture) {
	for i, end := range []time.Time{
		time.Now().AddDate(1, 0, 0), time.Now().AddDate(150, 0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		key := fmt.Sprint("far", i)
		f.set(key, "1", end)
		f.want(key, "1")
		if !f.Can().Has(kv.CanTTL) {
			continue
		}
		items := []kv.Item{{Key: key}}
		began := time.Now()
		f.do(f.TTL(f.ctx(), items))
		took := time.Since(began)
		if !f.furthest.IsZero() && end.After(f.furthest) {
			end = time.Time{}
		}
		tolerance := time.Second + f.precision + took
		if f.precision > 0 && !end.IsZero() {
			tolerance += time.Until(end) / 100_000 // who counts in seconds need not count far ones
		}
		if items[0].Expires.Sub(end).Abs() > tolerance {
			t.Errorf("deadline of %s is %v, want %v", key, items[0].Expires, end)
		}
	}
}

func testOwnership(t *testing.T, f *fixture) {
	value := []byte("mine")
	items := []kv.Item{{Key: "a", Value: value}}
	f.do(f.Set(f.ctx(), items))
	copy(value, "XXXX")
	items[0] = kv.Item{}
	f.want("a", "mine")
}

func testStableValues(t *testing.T, f *fixture) {
	f.set("a", "before", time.Time{})
	items := []kv.Item{{Key: "a"}}
	f.do(f.Get(f.ctx(), items))
	f.set("a", "AFTER!", time.Time{})
	f.do(f.Clear(f.ctx()))
	if got := string(items[0].Value); got != "before" {
		t.Errorf("a value that was got turned into %q", got)
	}
}

// testConcurrent lets writers, readers and expiry meet on the same keys. A reader must only ever see a value that belongs to
// its key, whole.
func testConcurrent(t *testing.T, f *fixture) {
	const keys, rounds, writers = 16, 300, 4
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				key := fmt.Sprint("key", i%keys)
				value := bytes.Repeat([]byte(key+";"), 1+(i+w)%50)
				var end time.Time
				if i%3 == 0 {
					end = time.Now().Add(time.Duration(i%5) * time.Millisecond)
				}
				if err := f.Set(t.Context(), []kv.Item{{Key: key, Value: value, Expires: end}}); err != nil {
					t.Errorf("Set: %v", err)
					return
				}
				if i%7 == 0 {
					if err := f.Expire(t.Context(), []kv.Item{{Key: key, Expires: time.Now().Add(time.Second)}}); err != nil {
						t.Errorf("Expire: %v", err)
					}
				}
				if i%11 == 0 {
					if err := f.Delete(t.Context(), []kv.Item{{Key: key}}); err != nil {
						t.Errorf("Delete: %v", err)
					}
				}
			}
		})
		wg.Go(func() {
			for i := range rounds {
				key := fmt.Sprint("key", i%keys)
				items := []kv.Item{{Key: key}}
				if err := f.Get(t.Context(), items); err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				v := string(items[0].Value)
				if items[0].Found && (v == "" || strings.ReplaceAll(v, key+";", "") != "") {
					t.Errorf("key %s holds %q", key, v)
				}
			}
		})
	}
	wg.Wait()
}

func testClosed(t *testing.T, f *fixture) {
	f.set("a", "1", time.Time{})
	closeStore(t, f.Store)
	items := []kv.Item{{Key: "a", Value: []byte("2")}}
	for name, err := range map[string]error{
		"Has": f.Has(f.ctx(), items), "Get": f.Get(f.ctx(), items), "TTL": f.TTL(f.ctx(), items), "Set": f.Set(f.ctx(), items),
		"Expire": f.Expire(f.ctx(), items), "Delete": f.Delete(f.ctx(), items), "Clear": f.Clear(f.ctx()),
	} {
		if !errors.Is(err, kv.ErrClosed) {
			t.Errorf("%s of a closed store: %v, want %v", name, err, kv.ErrClosed)
		}
	}
}

// fixture is a store with the helpers of the suite.
type fixture struct {
	kv.Store
	t         *testing.T
	precision time.Duration
	furthest  time.Time
}

func (f *fixture) ctx() context.Context { return f.t.Context() }

func (f *fixture) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) set(key, value string, expires time.Time) {
	f.t.Helper()
	f.do(f.Set(f.ctx(), []kv.Item{{Key: key, Value: []byte(value), Expires: expires}}))
}

func (f *fixture) has(key string) bool {
	f.t.Helper()
	items := []kv.Item{{Key: key}}
	f.do(f.Has(f.ctx(), items))
	return items[0].Found
}

func (f *fixture) want(key, value string) {
	f.t.Helper()
	items := []kv.Item{{Key: key}}
	f.do(f.Get(f.ctx(), items))
	if !items[0].Found {
		f.t.Errorf("key %.50q is missing, want %.50q", key, value)
	} else if diff := cmp.Diff(value, string(items[0].Value)); diff != "" {
		f.t.Errorf("value of %.50q (-want +got):\n%.500s", key, diff)
	}
	if !f.has(key) {
		f.t.Errorf("Has of %.50q is false", key)
	}
}

func (f *fixture) wantMissing(key string) {
	f.t.Helper()
	items := []kv.Item{{Key: key}}
	f.do(f.Get(f.ctx(), items))
	if items[0].Found {
		f.t.Errorf("key %.50q holds %.50q, want it missing", key, items[0].Value)
	}
	if f.has(key) {
		f.t.Errorf("Has of %.50q is true", key)
	}
	if !f.Can().Has(kv.CanTTL) {
		return
	}
	f.do(f.TTL(f.ctx(), items))
	if items[0].Found {
		f.t.Errorf("TTL of %.50q found it", key)
	}
}

func (f *fixture) until(done func() bool) {
	f.t.Helper()
	for end := time.Now().Add(deadline); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("still not so after %s", deadline)
		}
	}
}

// inTime does what has to be done before a deadline, and does it again with a later one when the machine was too slow for that. step says
// what is wrong.
func (f *fixture) inTime(span time.Duration, step func(end time.Time) (wrong string)) {
	f.t.Helper()
	for ; ; span *= 2 {
		end := time.Now().Add(span)
		wrong := step(end)
		if wrong == "" {
			return
		}
		if time.Now().Before(end) || span > deadline {
			f.t.Fatal(wrong)
		}
	}
}

func closeStore(t *testing.T, s kv.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}
