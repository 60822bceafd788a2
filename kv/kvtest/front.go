package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/kv"
)

// frontCases are of what the kv package builds over every driver that can: tags, computations, locks, batches, namespaces.
var frontCases = []testCase{
	{"tags", testTags},
	{"tags and conditional writes", testTagsUpdate},
	{"values that look like envelopes", testLookalikes},
	{"tags are invalidated while values are written", testTagsRace},
	{"a tag is invalidated again and again", testTagsStorm},
	{"one computation for all", testCompute},
	{"computations that fail", testComputeLost},
	{"locks", testLock},
	{"a lock has one holder", testLockRace},
	{"limits", testLimits},
	{"a namespace", testPrefix},
	{"a batch of mixed operations", testBatchCall},
	{"one that fails in a batch", testBatchFails},
}

func (f *fixture) front() *kv.Front { return kv.Wrap("main", f.Store, kv.DefaultLimits()) }

const canLease = kv.CanAdd | kv.CanUpdate

// over returns a fixture for a wrapper of the same store.
func (f *fixture) over(s kv.Store) *fixture {
	return &fixture{Store: s, t: f.t, precision: f.precision}
}

func testTags(t *testing.T, f *fixture) {
	if !f.needs(kv.CanAdd) {
		return
	}
	front := f.front()
	v := f.over(front)
	tagged := func(key, value string, end time.Time, tags ...string) {
		t.Helper()
		f.do(front.SetTagged(t.Context(), kv.Item{Key: key, Value: []byte(value), Expires: end}, tags))
	}
	tagged("a", "1", time.Time{}, "red", "blue")
	tagged("b", "2", time.Now().Add(time.Hour), "red")
	tagged("c", "", time.Time{}, "blue")
	v.set("d", "4", time.Time{})
	v.want("a", "1")
	v.want("b", "2")
	v.want("c", "")
	f.do(front.InvalidateTags(t.Context(), []string{"blue", "never used"}))
	v.wantMissing("a")
	v.want("b", "2")
	v.wantMissing("c")
	v.want("d", "4")

	tagged("a", "again", time.Time{}, "blue")
	v.want("a", "again")
	v.wantMissing("c")
	v.set("c", "plain", time.Time{})
	v.want("c", "plain")
	f.do(front.InvalidateTags(t.Context(), []string{"blue"}))
	v.wantMissing("a")
	v.want("c", "plain") // without tags now

	items := []kv.Item{{Key: "a", Value: []byte("added")}}
	f.do(front.Add(t.Context(), items))
	if items[0].Found && f.needs(kv.CanUpdate) {
		t.Error("Add found a value that is void")
	}
	if f.needs(kv.CanUpdate) {
		v.want("a", "added")
	}
	items = []kv.Item{{Key: "gone", Expires: time.Now().Add(time.Hour)}}
	tagged("gone", "1", time.Time{}, "green")
	f.do(front.InvalidateTags(t.Context(), []string{"green"}))
	f.do(front.Expire(t.Context(), items))
	if items[0].Found {
		t.Error("Expire found a value that is void")
	}
	if f.needs(kv.CanScan) {
		for _, key := range v.scanAll("", 100) {
			if strings.HasPrefix(key, "\x00") {
				t.Errorf("a scan shows the key %q of the store", key)
			}
		}
	}
	// The tag of a value without end outlives one with an end.
	tagged("short", "1", time.Now().Add(50*time.Millisecond), "both")
	tagged("long", "2", time.Time{}, "both")
	v.until(func() bool { return !v.has("short") })
	v.want("long", "2")
}

func testTagsUpdate(t *testing.T, f *fixture) {
	if !f.needs(canLease | kv.CanIncrement) {
		return
	}
	front := f.front()
	v := f.over(front)
	f.do(front.SetTagged(t.Context(), kv.Item{Key: "n", Value: []byte("41")}, []string{"red"}))
	if n, err := front.Increment(t.Context(), "n", 1, time.Time{}); n != 42 || err != nil {
		t.Errorf("Increment of a tagged value: %d %v, want 42", n, err)
	}
	v.want("n", "42")
	f.do(front.InvalidateTags(t.Context(), []string{"red"}))
	v.wantMissing("n")
	if n, err := front.Increment(t.Context(), "n", 1, time.Time{}); n != 1 || err != nil {
		t.Errorf("Increment of a void value: %d %v, want 1", n, err)
	}
	f.do(front.SetTagged(t.Context(), kv.Item{Key: "u", Value: []byte("1")}, []string{"red"}))
	f.do(front.Update(t.Context(), "u", func(old kv.Item) (kv.Item, error) {
		if string(old.Value) != "1" || !old.Found {
			t.Errorf("Update sees %+v", old)
		}
		return kv.Item{Value: []byte("2"), Found: true}, nil
	}))
	v.want("u", "2")
	f.do(front.InvalidateTags(t.Context(), []string{"red"}))
	v.wantMissing("u") // it kept its tags
	f.do(front.Update(t.Context(), "u", func(old kv.Item) (kv.Item, error) {
		if old.Found {
			t.Errorf("Update sees the void value %q", old.Value)
		}
		return kv.Item{Value: []byte("3"), Found: true}, nil
	}))
	v.want("u", "3")
}

func testLookalikes(t *testing.T, f *fixture) {
	v := f.over(f.front())
	for i, value := range []string{"\x00edge\x01", "\x00edge\x01\x00plain", "\x00edge\x01\x01\x03red\x01x12", "\x00edge\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x00edge"} {
		key := fmt.Sprint("k", i)
		v.set(key, value, time.Time{})
		v.want(key, value)
		if f.needs(kv.CanAdd) {
			f.do(v.Add(t.Context(), []kv.Item{{Key: key + "added", Value: []byte(value)}}))
			v.want(key+"added", value)
		}
		if f.needs(kv.CanUpdate) {
			f.do(v.Update(t.Context(), key, func(old kv.Item) (kv.Item, error) {
				if string(old.Value) != value {
					t.Errorf("Update sees %q, want %q", old.Value, value)
				}
				return kv.Item{Value: []byte(value + "!"), Found: true}, nil
			}))
			v.want(key, value+"!")
		}
	}
	// What another program wrote under the same key is what it is.
	f.set("foreign", "\x00edge\x01\xff", time.Time{})
	v.want("foreign", "\x00edge\x01\xff")
}

// testTagsRace: a value that was written after an invalidation had begun may be void, one from before it never is valid after it.
func testTagsRace(t *testing.T, f *fixture) {
	if !f.needs(kv.CanAdd) {
		return
	}
	front := f.front()
	var version atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 40 {
				now := version.Load()
				if err := front.SetTagged(t.Context(), kv.Item{Key: "k", Value: []byte(fmt.Sprint(now))}, []string{"tag"}); err != nil {
					t.Errorf("SetTagged: %v", err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 40 {
			version.Add(1)
			if err := front.InvalidateTags(t.Context(), []string{"tag"}); err != nil {
				t.Errorf("InvalidateTags: %v", err)
			}
		}
	})
	wg.Wait()
	f.do(front.InvalidateTags(t.Context(), []string{"tag"}))
	f.over(front).wantMissing("k")
}

// restless is a store in which somebody invalidates a tag before every batch that is read.
type restless struct {
	kv.Store
	invalidate func() error
}

func (s *restless) Get(ctx context.Context, items []kv.Item) error {
	return errors.Join(s.invalidate(), s.Store.Get(ctx, items))
}

// testTagsStorm: what is written meanwhile is void, and not an error of the writer.
func testTagsStorm(t *testing.T, f *fixture) {
	if !f.needs(kv.CanAdd) {
		return
	}
	calm := f.front()
	stormy := kv.Wrap("main", &restless{f.Store, func() error { return calm.InvalidateTags(t.Context(), []string{"tag"}) }}, kv.DefaultLimits())
	v := f.over(calm)
	f.do(calm.SetTagged(t.Context(), kv.Item{Key: "before", Value: []byte("1")}, []string{"tag"}))
	v.want("before", "1")
	f.do(stormy.SetTagged(t.Context(), kv.Item{Key: "amid", Value: []byte("2")}, []string{"tag", "another"}))
	v.wantMissing("before")
	f.do(calm.SetTagged(t.Context(), kv.Item{Key: "after", Value: []byte("3")}, []string{"tag"}))
	v.wantMissing("amid")
	v.want("after", "3")
}

func testCompute(t *testing.T, f *fixture) {
	if !f.needs(canLease) {
		return
	}
	front := f.front()
	var computed atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := front.GetOrCompute(t.Context(), "k", time.Minute, deadline, []string{"tag"})
			switch {
			case err != nil:
				t.Errorf("GetOrCompute: %v", err)
			case c.Token != "":
				computed.Add(1)
				if ok, err := front.Computed(t.Context(), kv.Item{Key: "k", Value: []byte("42")}, c.Token); !ok || err != nil {
					t.Errorf("Computed: %v %v", ok, err)
				}
			case !c.Found || string(c.Value) != "42":
				t.Errorf("GetOrCompute: %+v, want 42", c)
			}
		})
	}
	wg.Wait()
	if computed.Load() != 1 {
		t.Errorf("%d callers computed, want one", computed.Load())
	}
	f.over(front).want("k", "42")
	f.do(front.InvalidateTags(t.Context(), []string{"tag"}))
	f.over(front).wantMissing("k")

	// What is invalidated while it is computed is not taken for fresh.
	c, err := front.GetOrCompute(t.Context(), "k", time.Minute, deadline, []string{"tag"})
	f.do(err)
	f.do(front.InvalidateTags(t.Context(), []string{"tag"}))
	if _, err := front.Computed(t.Context(), kv.Item{Key: "k", Value: []byte("old")}, c.Token); err != nil {
		t.Errorf("Computed: %v", err)
	}
	f.over(front).wantMissing("k")
}

func testComputeLost(t *testing.T, f *fixture) {
	if !f.needs(canLease) {
		return
	}
	front := f.front()
	first, err := front.GetOrCompute(t.Context(), "k", 50*time.Millisecond, deadline, nil)
	if err != nil || first.Token == "" {
		t.Fatalf("GetOrCompute: %+v %v, want a token", first, err)
	}
	second, err := front.GetOrCompute(t.Context(), "k", time.Minute, deadline, nil) // when the first lease is over
	if err != nil || second.Token == "" || second.Token == first.Token {
		t.Fatalf("GetOrCompute after a lease ended: %+v %v, want a token", second, err)
	}
	if ok, err := front.Computed(t.Context(), kv.Item{Key: "k", Value: []byte("late")}, first.Token); ok || err != nil {
		t.Errorf("Computed with a lease that is over: %v %v, want false", ok, err)
	}
	f.over(front).wantMissing("k")
	if c, err := front.GetOrCompute(t.Context(), "k", time.Minute, time.Millisecond, nil); err != nil || c.Found || c.Token != "" {
		t.Errorf("GetOrCompute that waits a millisecond: %+v %v, want nothing", c, err)
	}
	if ok, err := front.Abandon(t.Context(), "k", second.Token); !ok || err != nil {
		t.Errorf("Abandon: %v %v", ok, err)
	}
	third, err := front.GetOrCompute(t.Context(), "k", time.Minute, deadline, nil)
	if err != nil || third.Token == "" {
		t.Errorf("GetOrCompute after Abandon: %+v %v, want a token", third, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := front.GetOrCompute(ctx, "k", time.Minute, deadline, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("GetOrCompute with a context that ends: %v", err)
	}
}

func testLock(t *testing.T, f *fixture) {
	if !f.needs(canLease) {
		return
	}
	front := f.front()
	token, fence, err := front.Lock(t.Context(), "k", time.Minute, 0)
	if err != nil || token == "" || fence <= 0 {
		t.Fatalf("Lock: %q %d %v", token, fence, err)
	}
	if other, _, err := front.Lock(t.Context(), "k", time.Minute, 10*time.Millisecond); other != "" || err != nil {
		t.Errorf("Lock of a key that is held: %q %v", other, err)
	}
	if ok, err := front.Renew(t.Context(), "k", "not the token", time.Minute); ok || err != nil {
		t.Errorf("Renew with a foreign token: %v %v", ok, err)
	}
	if ok, err := front.Unlock(t.Context(), "k", "not the token"); ok || err != nil {
		t.Errorf("Unlock with a foreign token: %v %v", ok, err)
	}
	if ok, err := front.Renew(t.Context(), "k", token, time.Minute); !ok || err != nil {
		t.Errorf("Renew: %v %v", ok, err)
	}
	f.over(front).wantMissing("k") // the lock is not the key
	if ok, err := front.Unlock(t.Context(), "k", token); !ok || err != nil {
		t.Errorf("Unlock: %v %v", ok, err)
	}
	if ok, err := front.Unlock(t.Context(), "k", token); ok || err != nil {
		t.Errorf("a second Unlock: %v %v", ok, err)
	}
	short, next, err := front.Lock(t.Context(), "k", 50*time.Millisecond, 0)
	if err != nil || next <= fence {
		t.Errorf("the second fence is %d, %v, the first %d", next, err, fence)
	}
	last, after, err := front.Lock(t.Context(), "k", time.Minute, deadline)
	if err != nil || last == "" || after <= next {
		t.Errorf("Lock of a key whose lease ends: %q %d %v, want a fence above %d", last, after, err, next)
	}
	if ok, err := front.Renew(t.Context(), "k", short, time.Minute); ok || err != nil {
		t.Errorf("Renew of a lock that was lost: %v %v", ok, err)
	}
}

func testLockRace(t *testing.T, f *fixture) {
	if !f.needs(canLease) {
		return
	}
	front := f.front()
	var inside, total atomic.Int32
	var highest int64 // guarded by the lock itself
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 5 {
				token, fence, err := front.Lock(t.Context(), "k", time.Minute, deadline)
				if err != nil || token == "" {
					t.Errorf("Lock: %q %v", token, err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				if fence <= highest {
					t.Errorf("fence %d after %d", fence, highest)
				}
				highest = fence
				total.Add(1)
				inside.Add(-1)
				if ok, err := front.Unlock(t.Context(), "k", token); !ok || err != nil {
					t.Errorf("Unlock: %v %v", ok, err)
				}
			}
		})
	}
	wg.Wait()
	if total.Load() != 30 {
		t.Errorf("the lock was held %d times, want 30", total.Load())
	}
}

func testLimits(t *testing.T, f *fixture) {
	front := kv.Wrap("small", f.Store, kv.Limits{MaxKey: 8, MaxValue: 16, MaxItems: 2})
	for name, items := range map[string][]kv.Item{
		"limits.max_key":   {{Key: "ok"}, {Key: "much too long"}},
		"limits.max_value": {{Key: "ok"}, {Key: "k", Value: make([]byte, 17)}},
		"limits.max_items": {{Key: "ok"}, {Key: "b"}, {Key: "c"}},
		"store's own":      {{Key: "ok"}, {Key: "\x00edge:x"}},
	} {
		err := front.Set(t.Context(), items)
		if !errors.Is(err, kv.ErrLimit) || !strings.Contains(err.Error(), name) {
			t.Errorf("Set beyond %s: %v", name, err)
		}
	}
	f.wantMissing("ok") // a call beyond a limit is refused as a whole
	f.do(front.Set(t.Context(), []kv.Item{{Key: "12345678", Value: make([]byte, 16)}}))
}

func testPrefix(t *testing.T, f *fixture) {
	one, two := f.over(kv.WithPrefix(f.Store, "one:")), f.over(kv.WithPrefix(f.Store, "two:"))
	one.set("k", "1", time.Time{})
	two.set("k", "2", time.Time{})
	one.want("k", "1")
	two.want("k", "2")
	f.want("one:k", "1")
	items := []kv.Item{{Key: "k"}}
	f.do(one.Get(t.Context(), items))
	if items[0].Key != "k" {
		t.Errorf("Get names the key %q", items[0].Key)
	}
	if !f.needs(kv.CanScan) {
		return
	}
	if keys := one.scanAll("", 10); len(keys) != 1 || keys[0] != "k" {
		t.Errorf("Scan gave %q, want k", keys)
	}
	f.do(one.Clear(t.Context()))
	one.wantMissing("k")
	two.want("k", "2")
}

func testBatchCall(t *testing.T, f *fixture) {
	service := kv.NewService(map[string]kv.Store{"main": f.front()})
	call := func(op kv.Op) *kv.Result {
		t.Helper()
		op.Storage = "main"
		r, err := service.Call(t.Context(), "Batch", &op)
		f.do(err)
		return r.(*kv.Result)
	}
	r := call(kv.Op{Ops: []kv.Op{
		{Op: "Put", Key: "a", Value: []byte("1")}, {Op: "Put", Key: "b", Value: []byte("2"), TTL: 60_000}, {Op: "Put", Key: ""},
		{Op: "Get", Key: "a"}, {Op: "Get", Key: "missing"}, {Op: "Get", Key: "b"}, {Op: "Remove", Key: "a"}, {Op: "Touch", Key: "a", TTL: 1000},
		{Op: "Get", Key: "a"},
	}})
	got := ""
	for _, one := range r.Results {
		got += fmt.Sprintf("%v,%s,%v ", one.OK, one.Value, one.Error != "")
	}
	if want := "true,,false true,,false false,,true true,1,false false,,false true,2,false true,,false false,,false false,,false "; got != want {
		t.Errorf("the batch answers\n%s, want\n%s", got, want)
	}
	if f.needs(kv.CanIncrement) {
		r = call(kv.Op{Ops: []kv.Op{{Op: "Increment", Key: "n", Delta: 2}, {Op: "Increment", Key: "n", Delta: 3}, {Op: "Get", Key: "n"}}})
		if r.Results[1].Number != 5 || string(r.Results[2].Value) != "5" {
			t.Errorf("increments in a batch: %+v", r.Results)
		}
	}
}

// narrow is a driver that has no room for one key, as a full store has none for one that is too large.
type narrow struct{ kv.Store }

var errNarrow = fmt.Errorf("%w: this one has no room", kv.ErrFull)

func (n narrow) Set(ctx context.Context, items []kv.Item) error {
	for i := range items {
		if strings.HasPrefix(items[i].Key, "large") {
			return errNarrow // what is before it may be done, and is not here
		}
	}
	return n.Store.Set(ctx, items)
}

// testBatchFails: an operation that fails is told from its neighbours, whether the driver says which one it was or not.
func testBatchFails(t *testing.T, f *fixture) {
	for name, store := range map[string]kv.Store{"a driver that does not tell": narrow{f.Store}, "the driver": f.Store} {
		v := f.over(store)
		if name == "the driver" && !f.needs(kv.CanUpdate) {
			continue
		}
		service := kv.NewService(map[string]kv.Store{"main": kv.Wrap("main", store, kv.DefaultLimits())})
		large := "large"
		if name == "the driver" { // some refuse this key: then the others are stored
			large = strings.Repeat("l", 4097)
		}
		r, err := service.Call(t.Context(), "Batch", &kv.Op{Storage: "main", Ops: []kv.Op{
			{Op: "Put", Key: "before", Value: []byte(name)}, {Op: "Put", Key: large, Value: []byte("x")}, {Op: "Put", Key: "after", Value: []byte(name)},
		}})
		f.do(err)
		for i, one := range r.(*kv.Result).Results {
			if failed := i == 1; failed != (one.Error != "") || failed == one.OK {
				t.Errorf("%s: operation %d answers %+v", name, i, one)
			}
		}
		v.want("before", name)
		v.want("after", name)
	}
	service := kv.NewService(map[string]kv.Store{"main": f.front()})
	ops := []kv.Op{{Op: "Put", Key: "here", Storage: "main"}, {Op: "Put", Key: "there", Storage: "other"}}
	if _, err := service.Call(t.Context(), "Batch", &kv.Op{Storage: "main", Ops: ops}); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("a batch with an operation for another store: %v", err)
	}
	f.over(f.Store).wantMissing("here")
}

// testClockSteps: after the clock was set, deadlines mean what the new clock says, and nothing lives for ever or ends at once.
func testClockSteps(t *testing.T, s Suite) {
	for _, step := range []time.Duration{-26 * time.Hour, 3 * time.Hour} {
		var offset atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		store := s.OpenAt(t, now)
		f := &fixture{t: t, Store: store, precision: s.Precision}
		f.set("before", "1", now().Add(time.Hour))
		offset.Store(int64(step))
		f.set("endless", "1", time.Time{})
		f.inTime(80*time.Millisecond, func(end time.Time) (wrong string) {
			f.set("short", "1", end.Add(step))
			if !f.has("short") {
				return "a key is gone before its deadline"
			}
			return ""
		})
		f.set("long", "1", now().Add(time.Hour))
		f.until(func() bool { return !f.has("short") })
		f.want("long", "1")
		f.want("endless", "1")
		f.set("past", "1", now().Add(-time.Second))
		f.wantMissing("past")
		f.do(f.Expire(f.ctx(), []kv.Item{{Key: "before", Expires: now().Add(80 * time.Millisecond)}}))
		f.until(func() bool { return !f.has("before") })
		closeStore(t, store)
	}
}
