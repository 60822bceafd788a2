package kv

import (
	"context"
	"strings"
	"time"
)

// prefixed is a part of a store: the keys that begin with prefix, which its users do not see.
type prefixed struct {
	Store
	prefix string
}

// WithPrefix returns the part of a store whose keys begin with prefix.
func WithPrefix(s Store, prefix string) Store {
	if prefix == "" {
		return s
	}
	return &prefixed{Store: s, prefix: prefix}
}

// Unwrap is for As.
func (p *prefixed) Unwrap() Store { return p.Store }

// batch runs an operation on items under their long names and takes over what it filled in.
func (p *prefixed) batch(ctx context.Context, items []Item, run func(context.Context, []Item) error) error {
	long := make([]Item, len(items))
	for i := range items {
		long[i] = items[i]
		long[i].Key = p.prefix + items[i].Key
	}
	err := run(ctx, long)
	for i := range items {
		long[i].Key = items[i].Key
		items[i] = long[i]
	}
	return err
}

// Has implements Store.
func (p *prefixed) Has(ctx context.Context, items []Item) error {
	return p.batch(ctx, items, p.Store.Has)
}

// Get implements Store.
func (p *prefixed) Get(ctx context.Context, items []Item) error {
	return p.batch(ctx, items, p.Store.Get)
}

// TTL implements Store.
func (p *prefixed) TTL(ctx context.Context, items []Item) error {
	return p.batch(ctx, items, p.Store.TTL)
}

// Set implements Store.
func (p *prefixed) Set(ctx context.Context, items []Item) error {
	return p.batch(ctx, items, p.Store.Set)
}

// Expire implements Store.
func (p *prefixed) Expire(ctx context.Context, items []Item) error {
	return p.batch(ctx, items, p.Store.Expire)
}

// Delete implements Store.
func (p *prefixed) Delete(ctx context.Context, items []Item) error {
	return p.batch(ctx, items, p.Store.Delete)
}

// Add implements Store.
func (p *prefixed) Add(ctx context.Context, items []Item) error {
	return p.batch(ctx, items, p.Store.Add)
}

// Clear removes the keys with the prefix, which asks for CanScan.
func (p *prefixed) Clear(ctx context.Context) error {
	for cursor := ""; ; {
		keys, next, err := p.Store.Scan(ctx, p.prefix, cursor, 1000)
		if err != nil {
			return err
		}
		items := make([]Item, len(keys))
		for i, key := range keys {
			items[i].Key = key
		}
		if err := p.Store.Delete(ctx, items); err != nil || next == "" {
			return err
		}
		cursor = next
	}
}

// Update implements Store.
func (p *prefixed) Update(ctx context.Context, key string, change func(Item) (Item, error)) error {
	return p.Store.Update(ctx, p.prefix+key, func(old Item) (Item, error) {
		old.Key = key
		return change(old)
	})
}

// Increment implements Store.
func (p *prefixed) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	return p.Store.Increment(ctx, p.prefix+key, delta, expires)
}

// Scan implements Store.
func (p *prefixed) Scan(ctx context.Context, prefix, cursor string, limit int) ([]string, string, error) {
	keys, next, err := p.Store.Scan(ctx, p.prefix+prefix, cursor, limit)
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], p.prefix)
	}
	return keys, next, err
}

// ZAdd implements Store.
func (p *prefixed) ZAdd(ctx context.Context, key string, members []Ranked) (int64, error) {
	return p.Store.ZAdd(ctx, p.prefix+key, members)
}

// ZIncrement implements Store.
func (p *prefixed) ZIncrement(ctx context.Context, key, member string, delta float64) (float64, error) {
	return p.Store.ZIncrement(ctx, p.prefix+key, member, delta)
}

// ZRemove implements Store.
func (p *prefixed) ZRemove(ctx context.Context, key string, members []string) (int64, error) {
	return p.Store.ZRemove(ctx, p.prefix+key, members)
}

// ZRange implements Store.
func (p *prefixed) ZRange(ctx context.Context, key string, span Span) ([]Ranked, error) {
	return p.Store.ZRange(ctx, p.prefix+key, span)
}

// ZRank implements Store.
func (p *prefixed) ZRank(ctx context.Context, key, member string, reverse bool) (int64, bool, error) {
	return p.Store.ZRank(ctx, p.prefix+key, member, reverse)
}

// ZScore implements Store.
func (p *prefixed) ZScore(ctx context.Context, key, member string) (float64, bool, error) {
	return p.Store.ZScore(ctx, p.prefix+key, member)
}

// ZCard implements Store.
func (p *prefixed) ZCard(ctx context.Context, key string) (int64, error) {
	return p.Store.ZCard(ctx, p.prefix+key)
}
