package kvtest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/edge-server/edge/kv"
)

var sortedCases = []testCase{
	{"sorted sets", testSorted},
	{"sorted sets against a model", testSortedModel},
	{"sorted sets are keys", testSortedKeys},
	{"concurrent members", testSortedRace},
}

func (f *fixture) zrange(key string, span kv.Span) []kv.Ranked {
	f.t.Helper()
	got, err := f.ZRange(f.ctx(), key, span)
	f.do(err)
	return got
}

func (f *fixture) wantRanks(key string, span kv.Span, want ...kv.Ranked) {
	f.t.Helper()
	if diff := gocmp.Diff(want, f.zrange(key, span), cmpopts.EquateEmpty()); diff != "" {
		f.t.Errorf("ZRange %+v (-want +got):\n%s", span, diff)
	}
}

func testSorted(t *testing.T, f *fixture) {
	if !f.needs(kv.CanSorted) {
		return
	}
	ann, bob, cid, dan := kv.Ranked{Member: "ann", Score: 10}, kv.Ranked{Member: "bob", Score: 20}, kv.Ranked{Member: "cid", Score: 20}, kv.Ranked{Member: "dan", Score: -1.5}
	if n, err := f.ZAdd(f.ctx(), "z", []kv.Ranked{bob, ann, dan, cid, ann}); err != nil || n != 4 {
		t.Errorf("ZAdd: %d %v, want 4", n, err)
	}
	all := kv.Span{Start: 0, Stop: -1}
	f.wantRanks("z", all, dan, ann, bob, cid)
	f.wantRanks("z", kv.Span{Start: 0, Stop: -1, Reverse: true}, cid, bob, ann, dan)
	f.wantRanks("z", kv.Span{Start: 0, Stop: 0}, dan)
	f.wantRanks("z", kv.Span{Start: -2, Stop: -1}, bob, cid)
	f.wantRanks("z", kv.Span{Start: 0, Stop: 1, Reverse: true}, cid, bob)
	f.wantRanks("z", kv.Span{Start: 2, Stop: 1})
	f.wantRanks("z", kv.Span{Start: 9, Stop: 20})
	f.wantRanks("z", kv.Span{Start: -100, Stop: 100}, dan, ann, bob, cid)
	f.wantRanks("z", kv.Span{ByScore: true, Min: 10, Max: 20}, ann, bob, cid)
	f.wantRanks("z", kv.Span{ByScore: true, Min: math.Inf(-1), Max: math.Inf(1), Start: 1, Stop: 2}, ann, bob)
	f.wantRanks("z", kv.Span{ByScore: true, Min: 10, Max: 20, Reverse: true}, cid, bob, ann)
	f.wantRanks("z", kv.Span{ByScore: true, Min: 10, Max: 20, Reverse: true, Start: 1, Stop: 1}, bob)
	f.wantRanks("missing", all)

	if rank, found, err := f.ZRank(f.ctx(), "z", "bob", false); rank != 2 || !found || err != nil {
		t.Errorf("ZRank of bob: %d %v %v, want 2", rank, found, err)
	}
	if rank, found, err := f.ZRank(f.ctx(), "z", "bob", true); rank != 1 || !found || err != nil {
		t.Errorf("ZRank of bob from the top: %d %v %v, want 1", rank, found, err)
	}
	if _, found, err := f.ZRank(f.ctx(), "z", "nobody", false); found || err != nil {
		t.Errorf("ZRank of nobody: %v %v", found, err)
	}
	if score, err := f.ZIncrement(f.ctx(), "z", "dan", 100); score != 98.5 || err != nil {
		t.Errorf("ZIncrement: %v %v, want 98.5", score, err)
	}
	if score, err := f.ZIncrement(f.ctx(), "z", "eve", 1); score != 1 || err != nil {
		t.Errorf("ZIncrement of a new member: %v %v, want 1", score, err)
	}
	if score, found, err := f.ZScore(f.ctx(), "z", "dan"); score != 98.5 || !found || err != nil {
		t.Errorf("ZScore: %v %v %v", score, found, err)
	}
	if _, found, err := f.ZScore(f.ctx(), "missing", "dan"); found || err != nil {
		t.Errorf("ZScore in a set that is not there: %v %v", found, err)
	}
	if n, err := f.ZRemove(f.ctx(), "z", []string{"ann", "nobody", "ann"}); n != 1 || err != nil {
		t.Errorf("ZRemove: %d %v, want 1", n, err)
	}
	if n, err := f.ZCard(f.ctx(), "z"); n != 4 || err != nil {
		t.Errorf("ZCard: %d %v, want 4", n, err)
	}
	if n, err := f.ZRemove(f.ctx(), "z", []string{"bob", "cid", "dan", "eve"}); n != 4 || err != nil {
		t.Errorf("ZRemove of the rest: %d %v", n, err)
	}
	if f.has("z") {
		t.Error("a set without members is there")
	}
}

// testSortedModel compares with a map that is sorted when asked.
func testSortedModel(t *testing.T, f *fixture) {
	if !f.needs(kv.CanSorted) {
		return
	}
	rng := rand.New(rand.NewPCG(1, 2))
	scores := map[string]float64{}
	for step := range 1500 {
		member := fmt.Sprint("m", rng.IntN(700))
		switch rng.IntN(5) {
		case 0:
			n, err := f.ZRemove(f.ctx(), "z", []string{member})
			f.do(err)
			if _, there := scores[member]; there != (n == 1) {
				t.Fatalf("step %d: ZRemove of %s: %d, want %v", step, member, n, there)
			}
			delete(scores, member)
		case 1:
			sum, err := f.ZIncrement(f.ctx(), "z", member, 2)
			f.do(err)
			if scores[member] += 2; sum != scores[member] {
				t.Fatalf("step %d: ZIncrement: %v, want %v", step, sum, scores[member])
			}
		default:
			score := float64(rng.IntN(50))
			_, err := f.ZAdd(f.ctx(), "z", []kv.Ranked{{Member: member, Score: score}})
			f.do(err)
			scores[member] = score
		}
	}
	want := make([]kv.Ranked, 0, len(scores))
	for member, score := range scores {
		want = append(want, kv.Ranked{Member: member, Score: score})
	}
	slices.SortFunc(want, func(a, b kv.Ranked) int {
		return cmp.Or(cmp.Compare(a.Score, b.Score), strings.Compare(a.Member, b.Member))
	})
	f.wantRanks("z", kv.Span{Start: 0, Stop: -1}, want...)
	f.wantRanks("z", kv.Span{Start: 100, Stop: 120}, want[100:121]...)
	for i := 0; i < len(want); i += 37 {
		if rank, found, err := f.ZRank(f.ctx(), "z", want[i].Member, false); rank != int64(i) || !found || err != nil {
			t.Errorf("ZRank of %s: %d %v %v, want %d", want[i].Member, rank, found, err, i)
		}
	}
}

func testSortedKeys(t *testing.T, f *fixture) {
	if !f.needs(kv.CanSorted) {
		return
	}
	_, err := f.ZAdd(f.ctx(), "z", []kv.Ranked{{Member: "m", Score: 1}})
	f.do(err)
	items := []kv.Item{{Key: "z"}}
	f.do(f.Get(f.ctx(), items))
	if items[0].Found {
		t.Error("Get found a sorted set")
	}
	if !f.has("z") {
		t.Error("Has does not find a sorted set")
	}
	if f.needs(kv.CanUpdate) {
		if err := f.Update(f.ctx(), "z", func(old kv.Item) (kv.Item, error) { return old, nil }); !errors.Is(err, kv.ErrKind) {
			t.Errorf("Update of a sorted set: %v, want %v", err, kv.ErrKind)
		}
	}
	if f.needs(kv.CanIncrement) {
		if _, err := f.Increment(f.ctx(), "z", 1, time.Time{}); !errors.Is(err, kv.ErrKind) {
			t.Errorf("Increment of a sorted set: %v, want %v", err, kv.ErrKind)
		}
	}
	if f.needs(kv.CanAdd) {
		items := []kv.Item{{Key: "z", Value: []byte("1")}}
		if err := f.Add(f.ctx(), items); err != nil || !items[0].Found {
			t.Errorf("Add over a sorted set: %v found %v, want it found", err, items[0].Found)
		}
	}
	f.set("v", "1", time.Time{})
	if _, err := f.ZAdd(f.ctx(), "v", []kv.Ranked{{Member: "m", Score: 1}}); !errors.Is(err, kv.ErrKind) {
		t.Errorf("ZAdd to a value: %v, want %v", err, kv.ErrKind)
	}
	if _, err := f.ZCard(f.ctx(), "v"); !errors.Is(err, kv.ErrKind) {
		t.Errorf("ZCard of a value: %v, want %v", err, kv.ErrKind)
	}
	f.inTime(60*time.Millisecond, func(end time.Time) (wrong string) {
		f.do(f.Delete(f.ctx(), []kv.Item{{Key: "z"}}))
		_, err := f.ZAdd(f.ctx(), "z", []kv.Ranked{{Member: "m", Score: 1}})
		f.do(err)
		f.do(f.Expire(f.ctx(), []kv.Item{{Key: "z", Expires: end}}))
		_, err = f.ZAdd(f.ctx(), "z", []kv.Ranked{{Member: "n", Score: 1}}) // keeps the deadline
		f.do(err)
		if time.Now().After(end) {
			return "the machine is too slow"
		}
		return ""
	})
	f.until(func() bool { return !f.has("z") })
	_, err = f.ZAdd(f.ctx(), "z", []kv.Ranked{{Member: "m", Score: 1}})
	f.do(err)
	f.set("z", "a value now", time.Time{})
	f.want("z", "a value now")
	f.do(f.Delete(f.ctx(), []kv.Item{{Key: "z"}}))
	f.wantMissing("z")
}

func testSortedRace(t *testing.T, f *fixture) {
	if !f.needs(kv.CanSorted) {
		return
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 60 {
				if _, err := f.ZIncrement(f.ctx(), "z", fmt.Sprint("m", i%7), 1); err != nil {
					t.Error(err)
				}
				if _, err := f.ZAdd(f.ctx(), "z", []kv.Ranked{{Member: fmt.Sprint("own", w, i), Score: float64(i)}}); err != nil {
					t.Error(err)
				}
				if _, err := f.ZRange(f.ctx(), "z", kv.Span{Start: 0, Stop: 10}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sum := 0.0
	for _, m := range f.zrange("z", kv.Span{Start: 0, Stop: -1}) {
		if strings.HasPrefix(m.Member, "m") {
			sum += m.Score
		}
	}
	if n, err := f.ZCard(f.ctx(), "z"); n != 4*60+7 || err != nil || sum != 4*60 {
		t.Errorf("%d members %v whose increments sum up to %v, want %d and %d", n, err, sum, 4*60+7, 4*60)
	}
}
