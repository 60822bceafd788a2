package kv

import (
	"context"
	"errors"
	"fmt"
)

// A bulk is an operation of which a row in a batch is one call to the driver.
type bulk struct {
	run  func(f *Front, ctx context.Context, items []Item) error
	fill func(r *Result, item Item)
	once bool // doing it again would answer something else
}

func newBulks() map[string]bulk {
	return map[string]bulk{
		"Get": {run: (*Front).Get, fill: (*Result).got},
		"Put": {run: (*Front).Set, fill: func(r *Result, _ Item) { r.OK = true }},
		"Add": {run: (*Front).Add, once: true, fill: func(r *Result, it Item) { r.OK, r.Found = !it.Found, it.Found }},
		"Touch": {run: (*Front).Expire, fill: func(r *Result, it Item) {
			r.OK, r.Found = it.Found, it.Found
		}},
		"Remove": {run: (*Front).Delete, fill: func(r *Result, it Item) { r.OK, r.Found = true, it.Found }},
	}
}

// batch runs operations in order. One that fails says so in its result; the others are done.
func (s *Service) batch(ctx context.Context, f *Front, ops []Op, r *Result) error {
	if len(ops) == 0 {
		return errors.New("ops is empty")
	}
	if len(ops) > f.limits.MaxItems {
		return fmt.Errorf("%w: %d operations in one batch, limits.max_items of the storage %q is %d", ErrLimit, len(ops), f.name, f.limits.MaxItems)
	}
	for i := range ops {
		if c := s.calls[ops[i].Op]; c == nil || c.alone {
			return fmt.Errorf("ops[%d]: %q is not an operation of a batch", i, ops[i].Op)
		}
		if other := ops[i].Storage; other != "" && other != f.name {
			return fmt.Errorf("ops[%d]: a batch is for one storage, and this one is for %q: send operations on %q in a batch of their own", i, f.name, other)
		}
	}
	r.OK = true
	r.Results = make([]Result, len(ops))
	size := 0
	for at := 0; at < len(ops); {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := s.row(ops[at:])
		if row > 1 {
			s.runRow(ctx, f, ops[at:at+row], r.Results[at:at+row])
		} else {
			s.runOne(ctx, f, &ops[at], &r.Results[at])
		}
		for i := at; i < at+row; i++ {
			size += r.Results[i].weight()
		}
		if size > maxAnswer {
			return errAnswerSize
		}
		at += row
	}
	return nil
}

// weight is what an answer takes, about.
func (r *Result) weight() int {
	n := len(r.Value)
	for i := range r.Members {
		n += len(r.Members[i].Member) + 16
	}
	for i := range r.Keys {
		n += len(r.Keys[i]) + 16
	}
	return n
}

// row is how many operations at the beginning of ops are one call to the driver.
func (s *Service) row(ops []Op) int {
	if _, ok := s.bulks[ops[0].Op]; !ok {
		return 1
	}
	n := 0
	for n < len(ops) && ops[n].Op == ops[0].Op && len(ops[n].Tags) == 0 {
		n++
	}
	return max(n, 1)
}

func (s *Service) runOne(ctx context.Context, f *Front, op *Op, r *Result) {
	c := s.calls[op.Op]
	err := c.check(op.Op, f, op)
	if err == nil {
		err = c.run(ctx, f, op, r)
	}
	if err != nil {
		*r = Result{Error: f.named(op.Op, err).Error()}
	}
}

func (s *Service) runRow(ctx context.Context, f *Front, ops []Op, results []Result) {
	c, b := s.calls[ops[0].Op], s.bulks[ops[0].Op]
	items, places := make([]Item, 0, len(ops)), make([]int, 0, len(ops))
	for i := range ops {
		item := ops[i].item()
		err := c.check(ops[i].Op, f, &ops[i])
		if err == nil {
			err = f.check([]Item{item})
		}
		if err != nil {
			results[i].Error = err.Error()
			continue
		}
		items, places = append(items, item), append(places, i)
	}
	if len(items) == 0 {
		return
	}
	s.runItems(ctx, f, c, b, items, func(i int) (*Op, *Result) { return &ops[places[i]], &results[places[i]] })
}

// runItems gives a row to the driver. When one of it fails, the others are not to say so, too: where the driver tells which one it
// was, the row goes on behind it; and else each that may be done twice is done alone.
func (s *Service) runItems(ctx context.Context, f *Front, c *call, b bulk, items []Item, at func(int) (*Op, *Result)) {
	for from := 0; from < len(items); {
		err := b.run(f, ctx, items[from:])
		done, failed := len(items), ItemError{}
		switch {
		case errors.As(err, &failed) && failed.At >= 0 && failed.At < len(items)-from:
			done = from + failed.At
			_, r := at(done)
			r.Error = err.Error()
		case err != nil && len(items) == 1:
			_, r := at(0)
			r.Error = err.Error()
			return
		case err != nil:
			for i := from; i < len(items); i++ {
				op, r := at(i)
				if b.once && !errors.Is(err, ErrLimit) || ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, ErrUnavailable) {
					r.Error = err.Error()
				} else if err := c.run(ctx, f, op, r); err != nil {
					*r = Result{Error: f.named(op.Op, err).Error()}
				}
			}
			return
		}
		for i := from; i < done; i++ {
			_, r := at(i)
			b.fill(r, items[i])
		}
		from = done + 1
	}
}
