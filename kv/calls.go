package kv

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// A call is a method beyond RoadRunner's seven: it reads an Op and fills in a Result.
type call struct {
	needs  Can // of the driver
	keyed  bool
	alone  bool // not in a batch: it waits, or is a batch itself
	tagged bool // reads tags
	run    func(ctx context.Context, f *Front, op *Op, r *Result) error
}

// Bounds of waits and leases, in milliseconds.
const (
	maxWait          = 60_000
	defaultWait      = 10_000
	defaultLease     = 10_000
	defaultLockLease = 30_000
	maxLease         = 24 * 3600 * 1000
	maxPage          = 1000
	defaultPage      = 100
)

func newCalls() map[string]*call {
	return map[string]*call{
		"Get":            {keyed: true, run: callGet},
		"Put":            {keyed: true, tagged: true, run: callPut},
		"Add":            {keyed: true, tagged: true, needs: CanAdd, run: callAdd},
		"CompareAndSwap": {keyed: true, needs: CanUpdate, run: callSwap},
		"Increment":      {keyed: true, needs: CanIncrement, run: callIncrement},
		"Touch":          {keyed: true, run: callTouch},
		"Expiry":         {keyed: true, needs: CanTTL, run: callExpiry},
		"Remove":         {keyed: true, run: callRemove},
		"Scan":           {needs: CanScan, run: callScan},
		"ZAdd":           {keyed: true, needs: CanSorted, run: callZAdd},
		"ZIncrement":     {keyed: true, needs: CanSorted, run: callZIncrement},
		"ZRemove":        {keyed: true, needs: CanSorted, run: callZRemove},
		"ZRange":         {keyed: true, needs: CanSorted, run: callZRange},
		"ZRank":          {keyed: true, needs: CanSorted, run: callZRank},
		"ZScore":         {keyed: true, needs: CanSorted, run: callZScore},
		"ZCard":          {keyed: true, needs: CanSorted, run: callZCard},
		"SetTagged":      {keyed: true, tagged: true, needs: CanAdd, run: callPut},
		"InvalidateTags": {tagged: true, needs: CanAdd, run: callInvalidate},
		"GetOrCompute":   {keyed: true, tagged: true, alone: true, needs: CanAdd | CanUpdate, run: callGetOrCompute},
		"Computed":       {keyed: true, needs: CanAdd | CanUpdate, run: callComputed},
		"Abandon":        {keyed: true, needs: CanAdd | CanUpdate, run: callAbandon},
		"Lock":           {keyed: true, alone: true, needs: CanAdd | CanUpdate, run: callLock},
		"Renew":          {keyed: true, needs: CanAdd | CanUpdate, run: callRenew},
		"Unlock":         {keyed: true, needs: CanAdd | CanUpdate, run: callUnlock},
		"Stats":          {run: callStats},
		"Batch":          {alone: true}, // see Service.batch
	}
}

// check refuses what the method cannot mean.
func (c *call) check(method string, f *Front, op *Op) error {
	if !f.Can().Has(c.needs) {
		return unsupported{store: f.name, driver: f.Store.Stats().Driver, op: method}
	}
	if c.keyed && op.Key == "" {
		return errEmptyKey
	}
	if len(op.Tags) > 0 && !c.tagged {
		return fmt.Errorf("%s reads no tags: use SetTagged, Put, Add or GetOrCompute", method)
	}
	return nil
}

// farthest is the end of the year 9999 in milliseconds since 1970, the last that texts of times can say.
const farthest = 253_402_300_799_000

// deadline of a time to live in milliseconds. One that no calendar has is for ever far away.
func deadline(ttl int64) time.Time {
	switch now := time.Now().UnixMilli(); {
	case ttl == 0:
		return time.Time{}
	case ttl < 0:
		return time.UnixMilli(1)
	default:
		return time.UnixMilli(min(now+min(ttl, farthest), farthest))
	}
}

// left is the inverse of deadline: at least a millisecond for a key that lives.
func left(end time.Time) int64 {
	if end.IsZero() {
		return 0
	}
	return max(1, end.UnixMilli()-time.Now().UnixMilli())
}

func (o *Op) item() Item { return Item{Key: o.Key, Value: o.Value, Expires: deadline(o.TTL)} }

func callGet(ctx context.Context, f *Front, op *Op, r *Result) error {
	op.items[0] = Item{Key: op.Key}
	if err := f.Get(ctx, op.items[:]); err != nil {
		return err
	}
	r.got(op.items[0])
	return nil
}

func (r *Result) got(it Item) {
	if r.OK, r.Found = it.Found, it.Found; it.Found {
		r.Value, r.Version = it.Value, Version(it.Value)
	}
}

func callPut(ctx context.Context, f *Front, op *Op, r *Result) error {
	r.OK = true
	if len(op.Tags) > 0 {
		if !f.Can().Has(CanAdd) {
			return unsupported{store: f.name, driver: f.Store.Stats().Driver, op: "tags"}
		}
		return f.SetTagged(ctx, op.item(), op.Tags)
	}
	return f.Set(ctx, []Item{op.item()})
}

func callAdd(ctx context.Context, f *Front, op *Op, r *Result) error {
	items := []Item{op.item()}
	if len(op.Tags) > 0 {
		added, err := f.AddTagged(ctx, items[0], op.Tags)
		r.OK, r.Found = added, !added && err == nil
		return err
	}
	err := f.Add(ctx, items)
	r.OK, r.Found = err == nil && !items[0].Found, items[0].Found
	return err
}

// errNotAsExpected ends the update of a CompareAndSwap that swaps nothing.
var errNotAsExpected = errors.New("the key is not as expected")

func callSwap(ctx context.Context, f *Front, op *Op, r *Result) error {
	if op.Absent && (op.Version != 0 || op.Expected != nil) || op.Version != 0 && op.Expected != nil {
		return errors.New("CompareAndSwap: say one of version, absent and expected")
	}
	next := op.item()
	next.Found = true
	err := f.Update(ctx, op.Key, func(old Item) (Item, error) {
		r.Found, r.Version = old.Found, 0
		if old.Found {
			r.Version = Version(old.Value)
		}
		var same bool
		switch {
		case op.Absent:
			same = !old.Found
		case op.Version != 0:
			same = old.Found && r.Version == op.Version
		default:
			same = old.Found && string(old.Value) == string(op.Expected)
		}
		if !same {
			return old, errNotAsExpected
		}
		if op.KeepTTL && old.Found {
			next.Expires = old.Expires
		}
		return next, nil
	})
	if errors.Is(err, errNotAsExpected) {
		return nil
	}
	if r.OK = err == nil; r.OK {
		r.Found, r.Version = true, Version(op.Value)
	}
	return err
}

func callIncrement(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	r.Number, err = f.Increment(ctx, op.Key, op.Delta, deadline(op.TTL))
	r.OK = err == nil
	return err
}

func callTouch(ctx context.Context, f *Front, op *Op, r *Result) error {
	items := []Item{op.item()}
	err := f.Expire(ctx, items)
	r.OK, r.Found = items[0].Found, items[0].Found
	return err
}

func callExpiry(ctx context.Context, f *Front, op *Op, r *Result) error {
	items := []Item{{Key: op.Key}}
	err := f.TTL(ctx, items)
	if r.OK, r.Found = items[0].Found, items[0].Found; r.Found {
		r.TTL = left(items[0].Expires)
	}
	return err
}

func callRemove(ctx context.Context, f *Front, op *Op, r *Result) error {
	items := []Item{{Key: op.Key}}
	err := f.Delete(ctx, items)
	r.OK, r.Found = err == nil, items[0].Found
	return err
}

func callScan(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	limit := op.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	r.Keys, r.Cursor, err = f.Scan(ctx, op.Prefix, op.Cursor, int(min(limit, maxPage)))
	r.OK = err == nil
	return err
}

func isFinite(score float64) bool { return !math.IsNaN(score) && !math.IsInf(score, 0) }

// sayable is a score as JSON can say it. One grows beyond all numbers by ZIncrement, or comes from another client of the server.
func sayable(score float64) float64 { return max(-math.MaxFloat64, min(math.MaxFloat64, score)) }

func callZAdd(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	for _, m := range op.Members {
		if !isFinite(m.Score) {
			return fmt.Errorf("the score of member %.32q must be a finite number", m.Member)
		}
	}
	if len(op.Members) == 0 {
		return errors.New("ZAdd: members is empty")
	}
	if op.TTL != 0 {
		return errors.New("ZAdd: a set lives until it is removed: leave ttl out, and set one by kv.Touch")
	}
	r.Number, err = f.ZAdd(ctx, op.Key, op.Members)
	r.OK = err == nil
	return err
}

func callZIncrement(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	if !isFinite(op.By) {
		return errors.New("ZIncrement: by must be a finite number")
	}
	r.Score, err = f.ZIncrement(ctx, op.Key, op.Member, op.By)
	r.Score, r.OK = sayable(r.Score), err == nil
	return err
}

func callZRemove(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	names := make([]string, len(op.Members))
	for i, m := range op.Members {
		names[i] = m.Member
	}
	if op.Member != "" {
		names = append(names, op.Member)
	}
	r.Number, err = f.ZRemove(ctx, op.Key, names)
	r.OK = err == nil
	return err
}

func callZRange(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	span := Span{Start: op.Start, Stop: op.Stop, Reverse: op.Reverse, ByScore: op.ByScore}
	if span.Min, span.Max = bounds(op.Min, op.Max); math.IsNaN(span.Min) || math.IsNaN(span.Max) {
		return errors.New("ZRange: min and max must be numbers")
	}
	members, err := f.ZRange(ctx, op.Key, span)
	if len(members) > maxItems {
		return fmt.Errorf("ZRange: the span has %d members, one answer has at most %d: ask for a part", len(members), maxItems)
	}
	for i := range members {
		members[i].Score = sayable(members[i].Score)
	}
	r.Members, r.OK = members, err == nil
	return err
}

func callZRank(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	r.Number, r.Found, err = f.ZRank(ctx, op.Key, op.Member, op.Reverse)
	r.OK = r.Found
	return err
}

func callZScore(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	r.Score, r.Found, err = f.ZScore(ctx, op.Key, op.Member)
	r.Score, r.OK = sayable(r.Score), r.Found
	return err
}

func callZCard(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	r.Number, err = f.ZCard(ctx, op.Key)
	r.OK = err == nil
	return err
}

func callInvalidate(ctx context.Context, f *Front, op *Op, r *Result) error {
	if len(op.Tags) == 0 {
		return errors.New("InvalidateTags: tags is empty")
	}
	err := f.InvalidateTags(ctx, op.Tags)
	r.OK = err == nil
	return err
}

// span of milliseconds within bounds: fallback for 0.
func within(what string, ms, fallback, most int64) (time.Duration, error) {
	if ms < 0 || ms > most {
		return 0, fmt.Errorf("%s must be between 1 and %d milliseconds, got %d", what, most, ms)
	}
	if ms == 0 {
		ms = fallback
	}
	return time.Duration(ms) * time.Millisecond, nil
}

func callGetOrCompute(ctx context.Context, f *Front, op *Op, r *Result) error {
	lease, err := within("lease", op.Lease, defaultLease, maxLease)
	if err != nil {
		return err
	}
	wait, err := within("wait", op.Wait, defaultWait, maxWait)
	if err != nil {
		return err
	}
	c, err := f.GetOrCompute(ctx, op.Key, lease, wait, op.Tags)
	r.OK, r.Found, r.Value, r.Token = c.Found, c.Found, c.Value, c.Token
	return err
}

func callComputed(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	r.OK, err = f.Computed(ctx, op.item(), op.Token)
	return err
}

func callAbandon(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	r.OK, err = f.Abandon(ctx, op.Key, op.Token)
	return err
}

func callLock(ctx context.Context, f *Front, op *Op, r *Result) error {
	lease, err := within("lease", op.Lease, defaultLockLease, maxLease)
	if err != nil {
		return err
	}
	wait, err := within("wait", op.Wait, 0, maxWait)
	if err != nil {
		return err
	}
	if r.Token, r.Fence, err = f.Lock(ctx, op.Key, lease, wait); r.Token == "" {
		r.Fence = 0
	}
	r.OK = r.Token != ""
	return err
}

func callRenew(ctx context.Context, f *Front, op *Op, r *Result) error {
	lease, err := within("lease", op.Lease, defaultLockLease, maxLease)
	if err != nil {
		return err
	}
	r.OK, err = f.Renew(ctx, op.Key, op.Token, lease)
	return err
}

func callUnlock(ctx context.Context, f *Front, op *Op, r *Result) (err error) {
	r.OK, err = f.Unlock(ctx, op.Key, op.Token)
	return err
}

func callStats(_ context.Context, f *Front, _ *Op, r *Result) error {
	s := f.Stats()
	r.OK = true
	r.Stats = &StatsMsg{
		Driver: s.Driver, Keys: s.Keys, Bytes: s.Bytes, MaxBytes: s.MaxBytes, Hits: s.Hits, Misses: s.Misses, Sets: s.Sets,
		Refused: s.Refused, Expired: s.Expired, Evicted: s.Evicted, Can: f.Can().Names(),
	}
	return nil
}

// canNames are the words for the flags of Can, in their order.
var canNames = []string{"update", "add", "increment", "ttl", "scan", "sorted", "shared", "persist", "evict"}

// Names returns the words for the flags that are set.
func (c Can) Names() []string {
	var names []string
	for i, name := range canNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String joins Names.
func (c Can) String() string { return strings.Join(c.Names(), ",") }
