package handover

import (
	"context"
	"time"

	"github.com/edge-server/edge/kv"
)

// remote is a store whose driver is in the other process.
type remote struct {
	name string
	can  kv.Can
	link *Link
}

var _ kv.Store = (*remote)(nil)

func (r *remote) call(ctx context.Context, f *frame) (*frame, error) {
	f.Kind, f.Store = isCall, r.name
	a, err := r.link.call(ctx, f, nil)
	if a == nil {
		a = &frame{}
	}
	return a, err
}

func (r *remote) batch(ctx context.Context, op op, items []kv.Item) error {
	a, err := r.call(ctx, &frame{Op: op, Items: items})
	if len(a.Items) != len(items) {
		return err
	}
	for i, filled := range a.Items {
		switch op {
		case opGet:
			items[i].Value, items[i].Found = filled.Value, filled.Found
		case opTTL:
			items[i].Expires, items[i].Found = filled.Expires, filled.Found
		default:
			items[i].Found = filled.Found
		}
	}
	return err
}

func (r *remote) Can() kv.Can { return r.can }

func (r *remote) Has(ctx context.Context, items []kv.Item) error { return r.batch(ctx, opHas, items) }
func (r *remote) Get(ctx context.Context, items []kv.Item) error { return r.batch(ctx, opGet, items) }
func (r *remote) TTL(ctx context.Context, items []kv.Item) error { return r.batch(ctx, opTTL, items) }
func (r *remote) Set(ctx context.Context, items []kv.Item) error { return r.batch(ctx, opSet, items) }
func (r *remote) Expire(ctx context.Context, items []kv.Item) error {
	return r.batch(ctx, opExpire, items)
}
func (r *remote) Delete(ctx context.Context, items []kv.Item) error {
	return r.batch(ctx, opDelete, items)
}
func (r *remote) Add(ctx context.Context, items []kv.Item) error { return r.batch(ctx, opAdd, items) }

func (r *remote) Clear(ctx context.Context) error {
	_, err := r.call(ctx, &frame{Op: opClear})
	return err
}

func (r *remote) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	_, err := r.link.call(ctx, &frame{Kind: isCall, Store: r.name, Op: opUpdate, Key: key}, change)
	return err
}

func (r *remote) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	a, err := r.call(ctx, &frame{Op: opIncrement, Key: key, Number: delta, Time: expires})
	return a.Number, err
}

func (r *remote) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	a, err := r.call(ctx, &frame{Op: opScan, Key: prefix, Text: cursor, Number: int64(limit)})
	if err != nil {
		return nil, "", err
	}
	return a.Names, a.Text, nil
}

func (r *remote) ZAdd(ctx context.Context, key string, members []kv.Ranked) (int64, error) {
	a, err := r.call(ctx, &frame{Op: opZAdd, Key: key, Members: members})
	return a.Number, err
}

func (r *remote) ZIncrement(ctx context.Context, key, member string, delta float64) (float64, error) {
	a, err := r.call(ctx, &frame{Op: opZIncrement, Key: key, Text: member, Score: delta})
	return a.Score, err
}

func (r *remote) ZRemove(ctx context.Context, key string, members []string) (int64, error) {
	a, err := r.call(ctx, &frame{Op: opZRemove, Key: key, Names: members})
	return a.Number, err
}

func (r *remote) ZRange(ctx context.Context, key string, span kv.Span) ([]kv.Ranked, error) {
	a, err := r.call(ctx, &frame{Op: opZRange, Key: key, Span: span})
	return a.Members, err
}

func (r *remote) ZRank(ctx context.Context, key, member string, reverse bool) (int64, bool, error) {
	a, err := r.call(ctx, &frame{Op: opZRank, Key: key, Text: member, Flag: reverse})
	return a.Number, a.Flag, err
}

func (r *remote) ZScore(ctx context.Context, key, member string) (float64, bool, error) {
	a, err := r.call(ctx, &frame{Op: opZScore, Key: key, Text: member})
	return a.Score, a.Flag, err
}

func (r *remote) ZCard(ctx context.Context, key string) (int64, error) {
	a, err := r.call(ctx, &frame{Op: opZCard, Key: key})
	return a.Number, err
}

// Stats are the other process's to tell.
func (r *remote) Stats() kv.Stats { return kv.Stats{Driver: "handed over"} }

// Close has nothing to close.
func (r *remote) Close(context.Context) error { return nil }
