package kv_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/kv"
)

// op calls a method beyond the seven.
func (f *fixture) op(method string, op kv.Op) (kv.Result, error) {
	f.Helper()
	if op.Storage == "" {
		op.Storage = "main"
	}
	req, ok := f.service.NewRequest(method)
	if !ok {
		f.Fatalf("no method %s", method)
	}
	if err := req.(*kv.Op).ParseProto(op.AppendProto(nil)); err != nil {
		f.Fatal(err)
	}
	resp, err := f.service.Call(f.Context(), method, req)
	var r kv.Result
	if err == nil {
		if err := r.ParseProto(resp.(*kv.Result).AppendProto(nil)); err != nil {
			f.Fatal(err)
		}
	}
	f.service.Release(req, resp)
	return r, err
}

func (f *fixture) done(method string, op kv.Op) kv.Result {
	f.Helper()
	r, err := f.op(method, op)
	if err != nil {
		f.Fatalf("%s: %v", method, err)
	}
	return r
}

// TestCalls is a walk through the methods as a client sees them.
// TestScoresBeyondNumbers: a score can grow beyond all numbers, which JSON cannot say; its set must still be read.
func TestScoresBeyondNumbers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.done("ZAdd", kv.Op{Key: "z", Members: kv.RankList{{Member: "m", Score: 1e308}, {Member: "low", Score: -1}}})
	if r := s.done("ZIncrement", kv.Op{Key: "z", Member: "m", By: math.MaxFloat64}); r.Score != math.MaxFloat64 {
		t.Errorf("ZIncrement: %+v", r)
	}
	if r := s.done("ZScore", kv.Op{Key: "z", Member: "m"}); r.Score != math.MaxFloat64 {
		t.Errorf("ZScore: %+v", r)
	}
	r := s.done("ZRange", kv.Op{Key: "z", Stop: -1})
	if _, err := json.Marshal(r); err != nil || len(r.Members) != 2 || r.Members[1].Score != math.MaxFloat64 {
		t.Errorf("ZRange: %+v, %v", r, err)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	s := setup(t)
	if r := s.done("Add", kv.Op{Key: "a", Value: []byte("1")}); !r.OK || r.Found {
		t.Errorf("Add: %+v", r)
	}
	if r := s.done("Add", kv.Op{Key: "a", Value: []byte("2")}); r.OK || !r.Found {
		t.Errorf("a second Add: %+v", r)
	}
	got := s.done("Get", kv.Op{Key: "a"})
	if !got.Found || string(got.Value) != "1" || got.Version == 0 {
		t.Errorf("Get: %+v", got)
	}
	if r := s.done("CompareAndSwap", kv.Op{Key: "a", Version: got.Version + 1, Value: []byte("x")}); r.OK || r.Version != got.Version {
		t.Errorf("CompareAndSwap with another version: %+v", r)
	}
	if r := s.done("CompareAndSwap", kv.Op{Key: "a", Version: got.Version, Value: []byte("2"), TTL: 60_000}); !r.OK || r.Version == got.Version {
		t.Errorf("CompareAndSwap: %+v", r)
	}
	if r := s.done("CompareAndSwap", kv.Op{Key: "a", Expected: []byte("2"), Value: []byte("3"), KeepTTL: true}); !r.OK {
		t.Errorf("CompareAndSwap by value: %+v", r)
	}
	if r := s.done("Expiry", kv.Op{Key: "a"}); !r.Found || r.TTL < 50_000 || r.TTL > 60_000 {
		t.Errorf("Expiry: %+v, want the deadline kept", r)
	}
	if r := s.done("CompareAndSwap", kv.Op{Key: "a", Absent: true, Value: []byte("3")}); r.OK || !r.Found {
		t.Errorf("CompareAndSwap of an absent key that is there: %+v", r)
	}
	if r := s.done("CompareAndSwap", kv.Op{Key: "b", Absent: true, Value: []byte("3")}); !r.OK {
		t.Errorf("CompareAndSwap of an absent key: %+v", r)
	}
	if r := s.done("Increment", kv.Op{Key: "b", Delta: -5}); r.Number != -2 {
		t.Errorf("Increment: %+v", r)
	}
	if r := s.done("Touch", kv.Op{Key: "b", TTL: 1234}); !r.OK {
		t.Errorf("Touch: %+v", r)
	}
	if r := s.done("Expiry", kv.Op{Key: "b"}); r.TTL < 1 || r.TTL > 1234 {
		t.Errorf("Expiry: %+v, want milliseconds", r)
	}
	if r := s.done("Touch", kv.Op{Key: "b", TTL: -1}); !r.OK {
		t.Errorf("Touch that ends: %+v", r)
	}
	if r := s.done("Touch", kv.Op{Key: "b"}); r.OK {
		t.Errorf("Touch of what is gone: %+v", r)
	}
	if r := s.done("Put", kv.Op{Key: "far", TTL: 1 << 62}); !r.OK {
		t.Errorf("Put for half of eternity: %+v", r)
	}
	if r := s.done("Scan", kv.Op{Prefix: "a"}); len(r.Keys) != 1 || r.Keys[0] != "a" || r.Cursor != "" {
		t.Errorf("Scan: %+v", r)
	}
	s.done("ZAdd", kv.Op{Key: "z", Members: kv.RankList{{Member: "x", Score: 3}, {Member: "y", Score: 1}}})
	if r := s.done("ZIncrement", kv.Op{Key: "z", Member: "y", By: 4}); r.Score != 5 {
		t.Errorf("ZIncrement: %+v", r)
	}
	low := 4.0
	if r := s.done("ZRange", kv.Op{Key: "z", ByScore: true, Min: &low}); len(r.Members) != 1 || r.Members[0].Member != "y" {
		t.Errorf("ZRange by score: %+v", r)
	}
	if r := s.done("ZRange", kv.Op{Key: "z", Stop: -1, Reverse: true}); len(r.Members) != 2 || r.Members[0].Member != "y" {
		t.Errorf("ZRange: %+v", r)
	}
	if r := s.done("ZRank", kv.Op{Key: "z", Member: "y"}); !r.Found || r.Number != 1 {
		t.Errorf("ZRank: %+v", r)
	}
	if r := s.done("ZScore", kv.Op{Key: "z", Member: "nobody"}); r.Found {
		t.Errorf("ZScore: %+v", r)
	}
	if r := s.done("ZRemove", kv.Op{Key: "z", Members: kv.RankList{{Member: "x"}}}); r.Number != 1 {
		t.Errorf("ZRemove: %+v", r)
	}
	if r := s.done("ZCard", kv.Op{Key: "z"}); r.Number != 1 {
		t.Errorf("ZCard: %+v", r)
	}
	if r := s.done("Remove", kv.Op{Key: "a"}); !r.OK {
		t.Errorf("Remove: %+v", r)
	}
	if r := s.done("Stats", kv.Op{}); r.Stats == nil || r.Stats.Driver != "memory" || r.Stats.Hits == 0 || !strings.Contains(strings.Join(r.Stats.Can, " "), "sorted") {
		t.Errorf("Stats: %+v", r.Stats)
	}
}

// TestTaggedSeenByTheSeven: RoadRunner's methods see the bare value, or a miss.
func TestTaggedSeenByTheSeven(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.done("SetTagged", kv.Op{Key: "a", Value: []byte("1"), Tags: kv.TextList{"red", "blue"}, TTL: 60_000})
	s.call("Set", msg("b", "\x00edge\x01looks like one", ""))
	s.wantItems("MGet", items("a", "b"), msg("a", "1", ""), msg("b", "\x00edge\x01looks like one", ""))
	s.done("InvalidateTags", kv.Op{Tags: kv.TextList{"blue"}})
	s.wantItems("MGet", items("a", "b"), msg("b", "\x00edge\x01looks like one", ""))
	s.wantItems("Has", items("a", "b"), msg("b", "", ""))
	s.wantItems("TTL", items("a"))
	if r := s.done("Add", kv.Op{Key: "a", Value: []byte("2"), Tags: kv.TextList{"red"}}); !r.OK {
		t.Errorf("Add over a void value: %+v", r)
	}
	if r := s.done("Add", kv.Op{Key: "a", Value: []byte("3"), Tags: kv.TextList{"red"}}); r.OK {
		t.Errorf("Add over a tagged value: %+v", r)
	}
	s.wantItems("MGet", items("a"), msg("a", "2", ""))
}

func TestCallErrors(t *testing.T) {
	t.Parallel()
	s := setup(t)
	nan := 0.0
	nan /= nan
	for _, c := range []struct {
		method string
		op     kv.Op
		want   string
	}{
		{"Get", kv.Op{Storage: "nope", Key: "a"}, "kv.Get: no such storage: nope (there are: main)"},
		{"Get", kv.Op{}, "kv.Get: key can't be empty string"},
		{"Get", kv.Op{Key: "\x00edge:x"}, "are the store's own"},
		{"Put", kv.Op{Key: strings.Repeat("k", 5000)}, "limits.max_key of the storage \"main\" is 4KiB"},
		{"Touch", kv.Op{Key: "a", Tags: kv.TextList{"x"}}, "Touch reads no tags"},
		{"CompareAndSwap", kv.Op{Key: "a", Version: 1, Absent: true}, "say one of version, absent and expected"},
		{"ZAdd", kv.Op{Key: "z"}, "members is empty"},
		{"ZAdd", kv.Op{Key: "z", TTL: 1000, Members: kv.RankList{{Member: "m", Score: 1}}}, "leave ttl out"},
		{"ZAdd", kv.Op{Key: "z", Members: kv.RankList{{Member: "m", Score: nan}}}, "must be a finite number"},
		{"ZIncrement", kv.Op{Key: "z", Member: "m", By: math.Inf(1)}, "must be a finite number"},
		{"ZRange", kv.Op{Key: "z", ByScore: true, Min: &nan}, "must be numbers"},
		{"Scan", kv.Op{Cursor: "x"}, "not a cursor of this store"},
		{"InvalidateTags", kv.Op{}, "tags is empty"},
		{"SetTagged", kv.Op{Key: "a", Tags: kv.TextList{""}}, "a tag cannot be empty"},
		{"Lock", kv.Op{Key: "a", Wait: 60_001}, "wait must be between 1 and 60000 milliseconds, got 60001"},
		{"Lock", kv.Op{Key: "a", Lease: -1}, "lease must be between"},
		{"Batch", kv.Op{}, "ops is empty"},
		{"Batch", kv.Op{Ops: kv.OpList{{Op: "Get", Key: "a"}, {Op: "Lock", Key: "a"}}}, `ops[1]: "Lock" is not an operation of a batch`},
		{"Batch", kv.Op{Ops: kv.OpList{{Op: "Batch"}}}, `"Batch" is not an operation`},
	} {
		_, err := s.op(c.method, c.op)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.method, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "_plugin_ttl") {
			t.Errorf("%s: PHP would read %q as a driver without TTL", c.method, err)
		}
	}
	req, _ := s.service.NewRequest("Get")
	if _, err := s.service.Call(t.Context(), "Get", req); err == nil || err.Error() != "kv.Get: no storage provided" {
		t.Errorf("a call without storage: %v", err)
	}
}

// poor makes a driver of the base alone.
type poor struct{ store kv.Store }

func (p poor) Can() kv.Can                                       { return 0 }
func (p poor) Has(ctx context.Context, items []kv.Item) error    { return p.store.Has(ctx, items) }
func (p poor) Get(ctx context.Context, items []kv.Item) error    { return p.store.Get(ctx, items) }
func (p poor) TTL(context.Context, []kv.Item) error              { return kv.ErrUnsupported }
func (p poor) Set(ctx context.Context, items []kv.Item) error    { return p.store.Set(ctx, items) }
func (p poor) Expire(ctx context.Context, items []kv.Item) error { return p.store.Expire(ctx, items) }
func (p poor) Delete(ctx context.Context, items []kv.Item) error { return p.store.Delete(ctx, items) }
func (p poor) Clear(ctx context.Context) error                   { return p.store.Clear(ctx) }
func (p poor) Stats() kv.Stats                                   { return kv.Stats{Driver: "poor"} }
func (p poor) Close(ctx context.Context) error                   { return p.store.Close(ctx) }

type poorStore struct {
	poor
	kv.Base
}

// TestUnsupportedIsNamed: what a driver cannot do is said with the names of the storage, the driver and the method.
func TestUnsupportedIsNamed(t *testing.T) {
	t.Parallel()
	rich := setup(t)
	store := poorStore{poor: poor{rich.store}}
	s := &fixture{TB: t, service: kv.NewService(map[string]kv.Store{"main": store})}
	for _, method := range []string{
		"Add", "CompareAndSwap", "Increment", "Expiry", "Scan", "ZAdd", "ZIncrement", "ZRemove", "ZRange", "ZRank", "ZScore", "ZCard",
		"SetTagged", "InvalidateTags", "GetOrCompute", "Computed", "Abandon", "Lock", "Renew", "Unlock",
	} {
		_, err := s.op(method, kv.Op{Key: "k", Member: "m"})
		if want := fmt.Sprintf(`kv.%s: unsupported: the storage "main" (driver poor) has no %s`, method, method); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if !errors.Is(err, kv.ErrUnsupported) {
			t.Errorf("%v is not %v", err, kv.ErrUnsupported)
		}
	}
	s.done("Put", kv.Op{Key: "k", Value: []byte("1")})
	if r := s.done("Batch", kv.Op{Ops: kv.OpList{{Op: "Get", Key: "k"}, {Op: "Increment", Key: "k"}}}); string(r.Results[0].Value) != "1" || !strings.Contains(r.Results[1].Error, "unsupported") {
		t.Errorf("Batch: %+v", r.Results)
	}
	if _, err := s.op("Put", kv.Op{Key: "k", Tags: kv.TextList{"t"}}); !errors.Is(err, kv.ErrUnsupported) {
		t.Errorf("Put with tags: %v", err)
	}
}

// TestGetOrComputeAcrossWorkers: many callers over RPC, one computation.
func TestGetOrComputeAcrossWorkers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var wg sync.WaitGroup
	tokens := make(chan string, 32)
	for range 16 {
		wg.Go(func() {
			r, err := s.op("GetOrCompute", kv.Op{Key: "page", Wait: 30_000, Tags: kv.TextList{"t"}})
			if err != nil {
				t.Error(err)
			} else if r.Token != "" {
				tokens <- r.Token
				if r, err := s.op("Computed", kv.Op{Key: "page", Token: r.Token, Value: []byte("<html>"), TTL: 60_000}); err != nil || !r.OK {
					t.Errorf("Computed: %+v %v", r, err)
				}
			} else if string(r.Value) != "<html>" {
				t.Errorf("GetOrCompute: %+v", r)
			}
		})
	}
	wg.Wait()
	if n := len(tokens); n != 1 {
		t.Errorf("%d computed, want one", n)
	}
	if r := s.done("Lock", kv.Op{Key: "job"}); !r.OK || r.Fence == 0 {
		t.Errorf("Lock: %+v", r)
	} else if second := s.done("Lock", kv.Op{Key: "job"}); second.OK || second.Fence != 0 {
		t.Errorf("a second Lock: %+v", second)
	} else if r := s.done("Unlock", kv.Op{Key: "job", Token: r.Token}); !r.OK {
		t.Errorf("Unlock: %+v", r)
	}
}

// TestMetrics: every operation is counted and measured, with its errors and bytes.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := setup(t)
	front := kv.Wrap("main", s.store, kv.DefaultLimits())
	s.service = kv.NewService(map[string]kv.Store{"main": front})
	s.call("Set", msg("a", "12345", ""))
	s.call("MGet", items("a", "missing")...)
	s.done("Increment", kv.Op{Key: "n"})
	if _, err := s.op("Increment", kv.Op{Key: "a\x00", Delta: 1}); err != nil {
		t.Fatal(err)
	}
	s.call("Set", msg("word", "x", ""))
	if _, err := s.op("Increment", kv.Op{Key: "word"}); !errors.Is(err, kv.ErrNumber) {
		t.Errorf("Increment of a word: %v", err)
	}
	s.done("Add", kv.Op{Key: "tagged", Value: []byte("123"), Tags: kv.TextList{"red"}})
	lease := s.done("GetOrCompute", kv.Op{Key: "page"})
	s.done("Computed", kv.Op{Key: "page", Token: lease.Token, Value: []byte("1234")})
	m, st := front.Metrics(), front.Stats()
	if m.BytesRead != 5 || m.BytesWritten != 6+3+4 || st.Hits != 1 || st.Misses != 1 {
		t.Errorf("bytes %d read %d written, %d hits %d misses", m.BytesRead, m.BytesWritten, st.Hits, st.Misses)
	}
	if op := m.Ops["increment"]; op.Calls != 3 || op.Failed != 1 || op.Took <= 0 {
		t.Errorf("increments: %+v", op)
	}
	if _, used := m.Ops["scan"]; used {
		t.Error("an operation that was not used is there")
	}
}

// TestKeysOfAnyBytes: what sdk/php stores and scans it can read again, and JSON, which has no such texts, says so.
func TestKeysOfAnyBytes(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, key := range []string{"bin\xff1", "bin\xfe1"} {
		s.done("Put", kv.Op{Key: key, Value: []byte(key)})
		s.done("ZAdd", kv.Op{Key: "z" + key, Members: kv.RankList{{Member: key, Score: 1}}})
		s.done("SetTagged", kv.Op{Key: "t" + key, Value: []byte(key), Tags: kv.TextList{key}})
		if r := s.done("ZScore", kv.Op{Key: "z" + key, Member: key}); !r.Found {
			t.Errorf("no member %q", key)
		}
	}
	s.done("InvalidateTags", kv.Op{Tags: kv.TextList{"bin\xff1"}})
	if r := s.done("Get", kv.Op{Key: "tbin\xfe1"}); !r.Found {
		t.Error("the invalidation of another tag took the key")
	}
	if r := s.done("Scan", kv.Op{Prefix: "bin\xff"}); len(r.Keys) != 1 || r.Keys[0] != "bin\xff1" {
		t.Errorf("a scan answers %q", r.Keys)
	}
	for _, key := range []string{"bin\xff1", "bin\xfe1"} {
		sent := kv.Request{Storage: "main", Items: kv.Messages{{Key: key}}}
		var req kv.Request
		if err := req.ParseProto(sent.AppendProto(nil)); err != nil || req.Items[0].Key != key {
			t.Fatalf("%q: %v", req.Items, err)
		}
		if got := s.call("MGet", req.Items...); len(got) != 1 || string(got[0].Value) != key {
			t.Errorf("MGet of %q: %v", key, got)
		}
		for _, how := range []string{"1", "2"} {
			r, _ := s.service.NewRequest("Fetch")
			f := r.(*kv.Fetch)
			if err := f.ParseRaw([]byte(how + "main\x00" + key)); err != nil {
				t.Fatalf("kv.Fetch of %q: %v", key, err)
			}
			if _, err := s.service.Call(t.Context(), "Fetch", f); err != nil || !strings.Contains(string(f.AppendRaw(nil)), key) {
				t.Errorf("kv.Fetch of %q: %q, %v", key, f.AppendRaw(nil), err)
			}
		}
		if got, ok := s.service.Shortcut("Fetch")(nil, []byte("2main\x00"+key)); !ok || string(got) != key {
			t.Errorf("the shortcut answers %q %v for %q", got, ok, key)
		}
	}
	err := new(kv.Request).NotUTF8([]byte(`{"storage":"main","items":[{"key":"k` + "\xff" + `tail","value":"MQ=="}]}`))
	if err == nil || !strings.Contains(err.Error(), `"k\xfftail" is not UTF-8`) {
		t.Errorf("JSON: %v", err)
	}
}

// walled is a driver that says why it cannot clear.
type walled struct{ kv.Store }

func (walled) Clear(context.Context) error {
	return fmt.Errorf("redis at x: %w: the store has no prefix; write redis.clear: flushdb", kv.ErrUnsupported)
}

// TestUnsupportedSaysWhy: what the driver says of it, and the way out, reaches who called.
func TestUnsupportedSaysWhy(t *testing.T) {
	t.Parallel()
	s := setup(t)
	err := kv.Wrap("main", walled{s.store}, kv.DefaultLimits()).Clear(t.Context())
	if !errors.Is(err, kv.ErrUnsupported) || !strings.Contains(err.Error(), `"main"`) || !strings.Contains(err.Error(), "write redis.clear: flushdb") {
		t.Errorf("%v", err)
	}
}

// TestMaxSizeIsOfMemory: a key that would do nothing is refused, with what bounds the store instead.
func TestMaxSizeIsOfMemory(t *testing.T) {
	t.Parallel()
	for driver, want := range map[string]string{"boltdb": "boltdb.max_file_size", "redis": "max_size: only a memory store"} {
		cfg := kv.DefaultConfig()
		cfg.Driver, cfg.MaxSize = driver, 1<<20
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", driver, err)
		}
	}
}
