package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// Front is what clients of a store meet: it holds the limits, counts and measures, and names the store in errors. Below it are the
// tags, and below these the driver.
type Front struct {
	Store // the tags

	name   string
	limits Limits
	tags   *Tagged
	waits  waiters

	peeker Peeker // the driver, if it is one and right below the tags

	ops           [opCount]opMeter
	hits, misses  atomic.Uint64
	read, written atomic.Uint64
}

// The operations that are measured, in the order of opNames.
const (
	opHas = iota
	opGet
	opTTL
	opSet
	opExpire
	opDelete
	opClear
	opUpdate
	opAdd
	opIncrement
	opScan
	opSorted
	opTagged
	opLease
	opLock
	opCount
)

var opNames = [opCount]string{
	"has", "get", "ttl", "set", "expire", "delete", "clear", "update", "add", "increment", "scan", "sorted", "tagged", "lease", "lock",
}

// LatencyBounds are the upper ends of the buckets in which the time of operations is counted; one more is for what took longer.
var LatencyBounds = [...]time.Duration{
	2 * time.Microsecond, 10 * time.Microsecond, 50 * time.Microsecond, 250 * time.Microsecond, time.Millisecond, 5 * time.Millisecond,
	25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond,
}

type opMeter struct {
	buckets       [len(LatencyBounds) + 1]atomic.Uint64
	nanos, failed atomic.Uint64
}

func (m *opMeter) done(began time.Time, err error) {
	took := time.Since(began)
	at := 0
	for at < len(LatencyBounds) && took > LatencyBounds[at] {
		at++
	}
	m.buckets[at].Add(1)
	m.nanos.Add(uint64(took))
	if err != nil {
		m.failed.Add(1)
	}
}

// Metrics is a snapshot of what a Front has counted.
type Metrics struct {
	Ops          map[string]OpMetrics // those that were used
	BytesRead    uint64
	BytesWritten uint64
	Near         *Stats // those of the copies in the memory of this server, where there are such
}

// OpMetrics are those of one operation. Buckets has one number for each of LatencyBounds and one for the rest.
type OpMetrics struct {
	Buckets []uint64
	Calls   uint64
	Failed  uint64
	Took    time.Duration
}

// Wrap puts a Front and tags over a driver. name is that of the store in the configuration.
func Wrap(name string, driver Store, limits Limits) *Front {
	tags := WithTags(driver)
	peeker, _ := driver.(Peeker)
	return &Front{Store: tags, tags: tags, name: name, limits: limits, peeker: peeker}
}

// Unwrap is for As.
func (f *Front) Unwrap() Store { return f.Store }

// Metrics returns a snapshot.
func (f *Front) Metrics() Metrics {
	m := Metrics{Ops: map[string]OpMetrics{}, BytesRead: f.read.Load(), BytesWritten: f.written.Load()}
	if tiers, ok := As[interface {
		Store
		Near() Stats
	}](f.Store); ok {
		near := tiers.Near()
		m.Near = &near
	}
	for i := range f.ops {
		op := OpMetrics{Buckets: make([]uint64, len(f.ops[i].buckets)), Failed: f.ops[i].failed.Load(), Took: time.Duration(f.ops[i].nanos.Load())}
		for at := range op.Buckets {
			op.Buckets[at] = f.ops[i].buckets[at].Load()
			op.Calls += op.Buckets[at]
		}
		if op.Calls > 0 {
			m.Ops[opNames[i]] = op
		}
	}
	return m
}

// Stats implements Store. What clients found is counted here, since a driver is also asked for the keys of the store itself.
func (f *Front) Stats() Stats {
	s := f.Store.Stats()
	s.Hits, s.Misses = f.hits.Load(), f.misses.Load()
	return s
}

// unsupported is an ErrUnsupported that says of what.
type unsupported struct{ store, driver, op, why string }

func (e unsupported) Error() string {
	text := fmt.Sprintf("unsupported: the storage %q (driver %s) has no %s", e.store, e.driver, e.op)
	if e.why != "" {
		text += ": " + e.why
	}
	return text
}

func (e unsupported) Is(target error) bool { return target == ErrUnsupported }

// done ends an operation: it is measured, and ErrUnsupported gets names.
func (f *Front) done(op int, began time.Time, err error) error {
	f.ops[op].done(began, err)
	if err != nil {
		return f.named(opNames[op], err)
	}
	return nil
}

func (f *Front) named(op string, err error) error {
	var known unsupported
	if errors.Is(err, ErrUnsupported) && !errors.As(err, &known) {
		why := strings.Trim(strings.Replace(err.Error(), ErrUnsupported.Error()+": ", "", 1), ": ")
		if why == ErrUnsupported.Error() {
			why = ""
		}
		return unsupported{store: f.name, driver: f.Store.Stats().Driver, op: op, why: why}
	}
	return err
}

// check holds the limits for items.
func (f *Front) check(items []Item) error {
	if len(items) > f.limits.MaxItems {
		return fmt.Errorf("%w: %d items in one call, limits.max_items of the storage %q is %d", ErrLimit, len(items), f.name, f.limits.MaxItems)
	}
	for i := range items {
		if err := f.checkKey(items[i].Key); err != nil {
			return err
		}
		if err := f.checkValue(items[i].Key, items[i].Value); err != nil {
			return err
		}
	}
	return nil
}

func (f *Front) checkKey(key string) error {
	if int64(len(key)) > int64(f.limits.MaxKey) {
		return fmt.Errorf("%w: the key %.32q… has %d bytes, limits.max_key of the storage %q is %s", ErrLimit, key, len(key), f.name, f.limits.MaxKey)
	}
	if strings.HasPrefix(key, reserved) {
		return fmt.Errorf("%w: keys that begin with %q are the store's own", ErrLimit, reserved)
	}
	return nil
}

func (f *Front) checkValue(key string, value []byte) error {
	if int64(len(value)) > int64(f.limits.MaxValue) {
		return fmt.Errorf("%w: the value of key %.32q has %d bytes, limits.max_value of the storage %q is %s",
			ErrLimit, key, len(value), f.name, f.limits.MaxValue)
	}
	return nil
}

// batch runs an operation on items within the limits.
func (f *Front) batch(ctx context.Context, op int, items []Item, run func(context.Context, []Item) error) error {
	began := time.Now()
	err := f.check(items)
	if err == nil {
		err = run(ctx, items)
	}
	return f.done(op, began, err)
}

// Has implements Store.
func (f *Front) Has(ctx context.Context, items []Item) error {
	return f.batch(ctx, opHas, items, f.tags.Has)
}

// Get implements Store.
func (f *Front) Get(ctx context.Context, items []Item) error {
	began := time.Now()
	err := f.check(items)
	if err == nil {
		err = f.tags.Get(ctx, items)
	}
	if err == nil {
		var hits, size uint64
		for i := range items {
			if items[i].Found {
				hits++
				size += uint64(len(items[i].Value))
			}
		}
		f.hits.Add(hits)
		f.misses.Add(uint64(len(items)) - hits)
		f.read.Add(size)
	}
	return f.done(opGet, began, err)
}

// peek is Get of one key. When it reports false, it is for Get to tell what is there, or what is wrong.
func (f *Front) peek(key string) (value []byte, found, ok bool) {
	if f.peeker == nil || f.checkKey(key) != nil {
		return nil, false, false
	}
	began := time.Now()
	value, found, ok = f.peeker.Peek(key)
	if !ok || isEnvelope(value) {
		return nil, false, false
	}
	if found {
		f.hits.Add(1)
		f.read.Add(uint64(len(value)))
	} else {
		f.misses.Add(1)
	}
	f.ops[opGet].done(began, nil)
	return value, found, true
}

// TTL implements Store.
func (f *Front) TTL(ctx context.Context, items []Item) error {
	return f.batch(ctx, opTTL, items, f.tags.TTL)
}

// Set implements Store.
func (f *Front) Set(ctx context.Context, items []Item) error {
	err := f.batch(ctx, opSet, items, f.tags.Set)
	f.wrote(items, err)
	return err
}

func (f *Front) wrote(items []Item, err error) {
	if err != nil {
		return
	}
	var size uint64
	for i := range items {
		size += uint64(len(items[i].Value))
	}
	f.written.Add(size)
}

// Expire implements Store.
func (f *Front) Expire(ctx context.Context, items []Item) error {
	return f.batch(ctx, opExpire, items, f.tags.Expire)
}

// Delete implements Store.
func (f *Front) Delete(ctx context.Context, items []Item) error {
	return f.batch(ctx, opDelete, items, f.tags.Delete)
}

// Clear implements Store.
func (f *Front) Clear(ctx context.Context) error {
	began := time.Now()
	return f.done(opClear, began, f.tags.Clear(ctx))
}

// Update implements Store. An error of change is none of the store's.
func (f *Front) Update(ctx context.Context, key string, change func(Item) (Item, error)) error {
	began := time.Now()
	if err := f.checkKey(key); err != nil {
		return f.done(opUpdate, began, err)
	}
	var own error
	err := f.tags.Update(ctx, key, func(old Item) (changed Item, err error) {
		if changed, own = change(old); own == nil && changed.Found {
			own = f.checkValue(key, changed.Value)
		}
		return changed, own
	})
	if err != nil && own != nil {
		f.done(opUpdate, began, nil) //nolint:errcheck // it returns what it is given
		return err
	}
	return f.done(opUpdate, began, err)
}

// Add implements Store.
func (f *Front) Add(ctx context.Context, items []Item) error {
	err := f.batch(ctx, opAdd, items, f.tags.Add)
	f.wrote(items, err)
	return err
}

// Increment implements Store.
func (f *Front) Increment(ctx context.Context, key string, delta int64, expires time.Time) (n int64, err error) {
	began := time.Now()
	if err = f.checkKey(key); err == nil {
		n, err = f.tags.Increment(ctx, key, delta, expires)
	}
	return n, f.done(opIncrement, began, err)
}

// Scan implements Store.
func (f *Front) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	began := time.Now()
	keys, next, err = f.tags.Scan(ctx, prefix, cursor, limit)
	return keys, next, f.done(opScan, began, err)
}

// sorted runs an operation on a sorted set.
func sorted[T any](f *Front, key string, run func() (T, error)) (T, error) {
	began := time.Now()
	if err := f.checkKey(key); err != nil {
		var none T
		return none, f.done(opSorted, began, err)
	}
	answer, err := run()
	return answer, f.done(opSorted, began, err)
}

func (f *Front) checkMembers(count int, member func(int) string) error {
	if count > f.limits.MaxItems {
		return fmt.Errorf("%w: %d members in one call, limits.max_items of the storage %q is %d", ErrLimit, count, f.name, f.limits.MaxItems)
	}
	for i := range count {
		if name := member(i); int64(len(name)) > int64(f.limits.MaxKey) {
			return fmt.Errorf("%w: the member %.32q… has %d bytes, limits.max_key of the storage %q is %s", ErrLimit, name, len(name), f.name, f.limits.MaxKey)
		}
	}
	return nil
}

// ZAdd implements Store.
func (f *Front) ZAdd(ctx context.Context, key string, members []Ranked) (int64, error) {
	return sorted(f, key, func() (int64, error) {
		if err := f.checkMembers(len(members), func(i int) string { return members[i].Member }); err != nil {
			return 0, err
		}
		return f.tags.ZAdd(ctx, key, members)
	})
}

// ZIncrement implements Store.
func (f *Front) ZIncrement(ctx context.Context, key, member string, delta float64) (float64, error) {
	return sorted(f, key, func() (float64, error) {
		if err := f.checkMembers(1, func(int) string { return member }); err != nil {
			return 0, err
		}
		return f.tags.ZIncrement(ctx, key, member, delta)
	})
}

// ZRemove implements Store.
func (f *Front) ZRemove(ctx context.Context, key string, members []string) (int64, error) {
	return sorted(f, key, func() (int64, error) {
		if err := f.checkMembers(len(members), func(i int) string { return members[i] }); err != nil {
			return 0, err
		}
		return f.tags.ZRemove(ctx, key, members)
	})
}

// ZRange implements Store.
func (f *Front) ZRange(ctx context.Context, key string, span Span) ([]Ranked, error) {
	return sorted(f, key, func() ([]Ranked, error) { return f.tags.ZRange(ctx, key, span) })
}

// ZRank implements Store.
func (f *Front) ZRank(ctx context.Context, key, member string, reverse bool) (rank int64, found bool, err error) {
	_, err = sorted(f, key, func() (none struct{}, err error) {
		rank, found, err = f.tags.ZRank(ctx, key, member, reverse)
		return none, err
	})
	return rank, found, err
}

// ZScore implements Store.
func (f *Front) ZScore(ctx context.Context, key, member string) (score float64, found bool, err error) {
	_, err = sorted(f, key, func() (none struct{}, err error) {
		score, found, err = f.tags.ZScore(ctx, key, member)
		return none, err
	})
	return score, found, err
}

// ZCard implements Store.
func (f *Front) ZCard(ctx context.Context, key string) (int64, error) {
	return sorted(f, key, func() (int64, error) { return f.tags.ZCard(ctx, key) })
}
