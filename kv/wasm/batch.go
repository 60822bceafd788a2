package wasm

import (
	"context"
	"errors"

	"github.com/edge-server/edge/kv"
)

const (
	maxOps   = 1000    // of one batch
	maxBytes = 1 << 20 // of its keys and values, unless one alone has more
)

// batches reports whether items are worth a batch: where each operation asks somebody else, all of them are one way there and back.
func (s *Store) batches(items []kv.Item) bool {
	if len(items) < 2 || !s.can.Has(kv.CanShared) {
		return false
	}
	return s.driver.Features().Batch
}

// batch does an operation with every item, as many as fit in one call of the plugin.
func (s *Store) batch(ctx context.Context, items []kv.Item, op func(*kv.Item) Op, done func(*kv.Item, Entry)) error {
	session, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer session.End()
	for len(items) > 0 {
		ops := fill(items, op)
		results, err := session.Batch(ops)
		if errors.Is(err, kv.ErrLimit) && len(ops) > 1 { // the answers are too large together
			results, err = oneByOne(session, ops)
		}
		if err != nil {
			return s.because(ctx, err)
		}
		for i, r := range results {
			if r.Err != nil {
				return s.because(ctx, r.Err)
			}
			done(&items[i], r.Entry)
		}
		if items = items[len(ops):]; len(items) > 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// fill takes operations from items until the batch is full.
func fill(items []kv.Item, op func(*kv.Item) Op) []Op {
	ops, size := make([]Op, 0, min(len(items), maxOps)), 0
	for i := range items {
		o := op(&items[i])
		o.Key = items[i].Key
		size += len(o.Key) + len(o.Value)
		if len(ops) == maxOps || len(ops) > 0 && size > maxBytes {
			break
		}
		ops = append(ops, o)
	}
	return ops
}

func oneByOne(session Session, ops []Op) ([]Result, error) {
	results := make([]Result, len(ops))
	for i, o := range ops {
		var err error
		switch o.Do {
		case Get:
			results[i].Entry, err = session.Get(o.Key)
		case Set:
			_, err = session.Set(o.Key, o.Value, How{TTL: o.TTL})
		case Delete:
			results[i].Found, err = session.Delete(o.Key, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}
