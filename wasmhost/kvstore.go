package wasmhost

import (
	"context"
	"math"
	"time"
	"unsafe"

	"github.com/edge-server/edge/sdk/abi"
)

// This is a Driver as a Store: one operation, one lease.

// with is one operation with a lease of its own.
func (d *Driver) with(ctx context.Context, do func(*Lease) error) error {
	l, err := d.Begin(ctx)
	if err != nil {
		return err
	}
	defer l.End()
	return do(l)
}

func (d *Driver) needs(feature uint32, what string) error {
	if d.Features()&feature == 0 {
		return refusal(abi.ErrUnsupported, "the driver %q has no %s", d.plugin.name, what)
	}
	return nil
}

// text is b without a copy, for the time of a call.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// remaining is a driver's time to live as a duration, 0 without an end. What is longer than three centuries has none.
func remaining(ms int64) time.Duration {
	if ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return 0
	}
	return max(time.Duration(ms)*time.Millisecond, 1)
}

// Get implements Store.
func (d *Driver) Get(ctx context.Context, key string) (Entry, error) {
	l, err := d.Begin(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer l.End()
	r, err := l.Get(key)
	if err != nil || !r.Found {
		return Entry{}, err
	}
	return Entry{Found: true, Value: r.Value, TTL: remaining(r.TTL), Version: r.Version}, nil
}

// Set implements Store.
func (d *Driver) Set(ctx context.Context, key string, value []byte, o SetOptions) error {
	return d.with(ctx, func(l *Lease) error {
		_, err := l.Set(key, value, max(millis(o.TTL), 0), o.Flags, o.Version)
		return err
	})
}

// Delete implements Store.
func (d *Driver) Delete(ctx context.Context, key string, version int64) error {
	return d.with(ctx, func(l *Lease) error {
		_, err := l.Delete(key, version)
		return err
	})
}

// Expire implements Store.
func (d *Driver) Expire(ctx context.Context, key string, ttl time.Duration) (found bool, err error) {
	err = d.with(ctx, func(l *Lease) error {
		found, err = l.Expire(key, max(millis(ttl), 0))
		return err
	})
	return found, err
}

// Incr implements Store.
func (d *Driver) Incr(ctx context.Context, key string, delta int64, ttl time.Duration) (n int64, err error) {
	err = d.with(ctx, func(l *Lease) error {
		n, err = l.Incr(key, delta, max(millis(ttl), 0))
		return err
	})
	return n, err
}

// Scan implements Store.
func (d *Driver) Scan(ctx context.Context, prefix string, cursor []byte, most int) (keys []string, next []byte, err error) {
	err = d.with(ctx, func(l *Lease) error {
		keys, next, err = l.Scan(prefix, cursor, most)
		return err
	})
	return keys, next, err
}

// Batch does many operations in one call of the guest. The results' values are copies.
func (d *Driver) Batch(ctx context.Context, ops []abi.Op) (results []Outcome, err error) {
	err = d.with(ctx, func(l *Lease) error {
		results, err = l.Batch(ops)
		return err
	})
	return results, err
}

// Clear removes every key.
func (d *Driver) Clear(ctx context.Context) error {
	return d.with(ctx, func(l *Lease) error { return l.Clear(ctx) })
}

// Tick lets the driver expire keys and keep connections alive, about once a second.
func (d *Driver) Tick(ctx context.Context, now time.Time) error {
	return d.with(ctx, func(l *Lease) error { return l.tick(now.UnixMilli()) })
}
